"""What the guides admit: it is so, and a guide that says otherwise is out of date.

That one bad chunk drops what other volumes brought, and that another bundle clears
an unfinished copy, is tested in ``tests/appliance/test_import_volumes.py``.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bundleformat.errors import LimitExceededError, VolumesMissingError
from tests.support.gguf_writer import TinyModel, write_model
from tests.support.import_volumes import split
from tests.support.importing import CHUNK_BYTES, Host, import_bundle, new_host
from tests.support.publisher import Published, publish_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Published:
    model = write_model(tmp_path / "tiny.gguf", TinyModel(weights="q8_0"))
    return publish_bundle(
        tmp_path / "bundle", models=[("tiny", model, None)], chunk_bytes=CHUNK_BYTES
    )


@pytest.fixture
def host(tmp_path: Path, bundle: Published) -> Iterator[Host]:
    host = new_host(tmp_path / "home", bundle)
    yield host
    host.close()


def test_a_receipt_counts_the_last_run_alone(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    first, second = split(bundle, tmp_path / "volumes", of=2)
    with pytest.raises(VolumesMissingError):
        import_bundle(host.parts(), first)
    import_bundle(host.parts(), second)
    (receipt,) = map(json.loads, host.events("bundle.imported"))
    assert receipt["media"] == 1
    assert receipt["copied_bytes"] < receipt["size_bytes"]


def test_the_quota_of_the_store_does_not_count_environments(
    host: Host, bundle: Published
) -> None:
    place = host.home / "environments" / "a-large-one"
    place.mkdir(parents=True)
    sizes = sum(each.size_bytes for each in bundle.manifest.artifacts)
    (place / "library.so").write_bytes(bytes(sizes))
    parts = host.parts()
    small = replace(
        parts, settings=parts.settings.model_copy(update={"store_bytes": sizes - 1})
    )
    with pytest.raises(LimitExceededError):
        import_bundle(small, bundle.folder)
    exact = replace(
        parts, settings=parts.settings.model_copy(update={"store_bytes": sizes})
    )
    import_bundle(exact, bundle.folder)
    assert host.active() == {"main": 1}
