"""Artifacts beyond 4 GiB, and media that fail in the middle of a chunk."""

import hashlib
import io
import json
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from appliance.intake.copying import Source
from appliance.intake.hashing import Hashers
from appliance.intake.staging import Staging
from bundleformat.digest import BLOCK_BYTES, Sha256
from bundleformat.errors import StorageFaultError
from bundleformat.gguf import ModelFacts
from bundleformat.layout import chunk_path
from bundleformat.manifest import Artifact, Chunk
from bundleformat.paths import ArchivePath, Name
from tests.support.importing import Host, import_bundle, new_host
from tests.support.publisher import TERMS, publish_bundle

GIB = 2**30


class Broken(io.RawIOBase):
    """A medium that gives some bytes and then an error, as a bad sector does."""

    def __init__(self, good_bytes: int) -> None:
        super().__init__()
        self._left = good_bytes

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if not self._left:
            raise OSError(5, "Input/output error")
        given = min(size, self._left)
        self._left -= given
        return bytes(given)


def zeros(count: int, size_bytes: int) -> Artifact:
    """Return an artifact of zeros in ``count`` chunks."""
    sha256 = Sha256(hashlib.sha256(bytes(size_bytes)).hexdigest())
    return Artifact(
        kind="model",
        name=Name("zeros"),
        path=ArchivePath("models/zeros.gguf"),
        size_bytes=count * size_bytes,
        sha256=Sha256(hashlib.sha256(bytes(count * size_bytes)).hexdigest()),
        chunks=(Chunk(sha256=sha256, size_bytes=size_bytes),) * count,
        model=TERMS,
    )


def test_a_read_error_in_the_middle_of_a_chunk_is_a_fault_and_keeps_earlier_chunks(
    tmp_path: Path,
) -> None:
    size_bytes = 3 * BLOCK_BYTES
    wanted = zeros(2, size_bytes)
    opened = iter([io.BytesIO(bytes(size_bytes)), Broken(BLOCK_BYTES)])

    def find(_: Chunk) -> Iterator[Source]:
        yield Source(where="c/00/0", open=lambda: cast("BinaryIO", next(opened)))

    counted: list[int] = []
    with Hashers() as hashers:
        copy = Staging(tmp_path).copy_of(wanted, hashers=hashers)
        with pytest.raises(StorageFaultError) as caught:
            copy.fill(find, progress=counted.append)
        assert caught.value.where == "c/00/0"
        assert (tmp_path / f"{wanted.sha256}.journal").read_bytes() == b"0\n"
        again = Staging(tmp_path).copy_of(wanted, hashers=hashers)
        whole = iter([io.BytesIO(bytes(size_bytes))])

        def find_one(_: Chunk) -> Iterator[Source]:
            yield Source(where="c/00/0", open=lambda: next(whole))

        assert again.fill(find_one, progress=counted.append) == ()
    assert again.medium_bytes == size_bytes
    assert (tmp_path / f"{wanted.sha256}.part").read_bytes() == bytes(2 * size_bytes)


def facts_of(*_: Path, where: str) -> ModelFacts:
    """Stand for an examiner that finds what the manifest says."""
    assert where
    return ModelFacts(
        version=3,
        architecture=TERMS.architecture,
        name="large",
        licence="",
        file_type=None,
        context_length=TERMS.context_length,
        block_count=1,
        embedding_length=1,
        vocab_size=1,
        tokenizer_model="none",
        chat_template=None,
        tensor_count=1,
        parameter_count=1,
        data_bytes=1,
        alignment=32,
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_artifact_beyond_four_gib_is_imported_whole_in_bounded_memory(
    tmp_path: Path,
) -> None:
    large = tmp_path / "large.gguf"
    with large.open("wb") as file:
        file.truncate(4 * GIB + 12_345)
        file.seek(4 * GIB + 1)
        file.write(b"beyond")
    bundle = publish_bundle(
        tmp_path / "bundle", models=[("large", large, TERMS)], chunk_bytes=GIB
    )
    host: Host = new_host(tmp_path / "home", bundle)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    import_bundle(replace(host.parts(), examine=facts_of), bundle.folder)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 32 * 1024
    (model,) = bundle.manifest.artifacts
    stored = host.store.path_of(model.sha256)
    assert stored.stat().st_size == 4 * GIB + 12_345
    with stored.open("rb") as file:
        file.seek(4 * GIB + 1)
        assert file.read(6) == b"beyond"
    (receipt,) = map(json.loads, host.events("bundle.imported"))
    assert receipt["size_bytes"] == 4 * GIB + 12_345
    assert (bundle.folder / chunk_path(model.chunks[-1].sha256)).exists()
    host.close()
