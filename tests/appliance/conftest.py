"""A small signed bundle, and a host that trusts its publisher."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gguf_writer import TinyModel, write_model
from tests.support.importing import CHUNK_BYTES, Host, new_host
from tests.support.publisher import Published, publish_bundle


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return write_model(folder / "tiny.gguf", TinyModel(weights="q8_0"))


@pytest.fixture
def bundle(tmp_path: Path, tiny: Path) -> Published:
    return publish_bundle(
        tmp_path / "bundle",
        models=[("tiny", tiny, None)],
        policies=[("local", b"// a policy\n")],
        chunk_bytes=CHUNK_BYTES,
    )


@pytest.fixture
def host(tmp_path: Path, bundle: Published) -> Iterator[Host]:
    host = new_host(tmp_path / "home", bundle)
    yield host
    host.close()
