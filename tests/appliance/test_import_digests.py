"""Both digests of a bundle whose signatures use SHA-384, and models of many files."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bundleformat.digest import Sha256
from bundleformat.errors import DigestMismatchError
from bundleformat.layout import chunk_path
from bundleformat.manifest import Artifact, Chunk
from tests.support.importing import Host, import_bundle, refuse, verify_bundle
from tests.support.publisher import Published, republish


def with_sha384(bundle: Published, folder: Path, *, wrong: str = "") -> Published:
    """Publish the bundle with SHA-384, ``wrong`` of a chunk or of the whole."""

    def read(sha256: Sha256) -> bytes:
        return (bundle.folder / chunk_path(sha256)).read_bytes()

    def digest(data: bytes, place: str) -> str:
        return hashlib.sha384(data + (b"x" if place == wrong else b"")).hexdigest()

    def chunk(old: Chunk) -> Chunk:
        return replace(old, sha384=digest(read(old.sha256), "chunk"))

    def artifact(old: Artifact) -> Artifact:
        whole = b"".join(read(each.sha256) for each in old.chunks)
        chunks = tuple(map(chunk, old.chunks))
        return replace(old, chunks=chunks, sha384=digest(whole, "whole"))

    manifest = replace(
        bundle.manifest,
        digest="sha384",
        artifacts=tuple(map(artifact, bundle.manifest.artifacts)),
    )
    return republish(bundle, folder, manifest=manifest)


@pytest.mark.parametrize("wrong", ["chunk", "whole"])
def test_bytes_that_have_the_signed_sha256_and_another_sha384_are_refused(
    host: Host, bundle: Published, tmp_path: Path, wrong: str
) -> None:
    forged = with_sha384(bundle, tmp_path / "forged", wrong=wrong)
    with pytest.raises(DigestMismatchError) as seen:
        verify_bundle(host.parts(), forged.folder)
    assert seen.value.expected.startswith("sha384 ")
    error = refuse(host, forged.folder, DigestMismatchError)
    assert error.expected.startswith("sha384 ")


def test_a_bundle_of_sha384_is_imported_and_its_receipt_says_so(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    stronger = with_sha384(bundle, tmp_path / "stronger")
    assert verify_bundle(host.parts(), stronger.folder).whole
    import_bundle(host.parts(), stronger.folder)
    assert host.active() == {"main": 1}
    (receipt,) = map(json.loads, host.events("bundle.imported"))
    assert receipt["digest"] == "sha384"
