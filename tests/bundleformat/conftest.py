from pathlib import Path

import pytest

from tests.support.bundle_host import BundleHost
from tests.support.publisher import TERMS, Published, publish_bundle


@pytest.fixture
def published(tmp_path: Path) -> Published:
    source = tmp_path / "m.gguf"
    source.write_bytes(bytes(range(256)) * 20)
    return publish_bundle(
        tmp_path / "bundle",
        models=[("m", source, TERMS)],
        policies=[("site", b"permit (principal, action, resource);\n")],
        chunk_bytes=2_000,
    )


@pytest.fixture
def host(tmp_path: Path, published: Published) -> BundleHost:
    return BundleHost(tmp_path / "scratch", published.state())
