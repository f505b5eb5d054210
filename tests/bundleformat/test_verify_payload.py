"""Attacks on the payload: one per test, then what is left."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import (
    DigestMismatchError,
    MalformedError,
    MissingError,
    RefusalError,
)
from bundleformat.layout import chunk_path
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import Artifact
from bundleformat.verify import verify_chunks, verify_metadata
from bundleformat.volume import Volume
from tests.support.bundle_host import BundleHost
from tests.support.publisher import NOW, Published, republish


def chunk_files(published: Published) -> list[str]:
    return [
        chunk_path(chunk.sha256)
        for artifact in published.manifest.artifacts
        for chunk in artifact.chunks
    ]


def test_verify_accepts_a_whole_bundle_and_counts_every_byte(
    published: Published, host: BundleHost
) -> None:
    bundle = host.look(published.folder)
    counted: list[int] = []
    with Volume(published.folder) as volume:
        verify_chunks(volume, bundle, progress=counted.append)
    assert sum(counted) == sum(a.size_bytes for a in published.manifest.artifacts)
    assert bundle.manifest == published.manifest
    assert bundle.fresh
    assert (bundle.root_version, bundle.bundle_version) == (1, 1)
    assert bundle.signed_by == (
        published.keys.release.public_key.keyid,
        published.keys.bundler.public_key.keyid,
    )


@pytest.mark.parametrize("index", [0, 1, -1], ids=["first", "middle", "last"])
@pytest.mark.parametrize("position", [0, -1], ids=["first-byte", "last-byte"])
def test_verify_refuses_a_bundle_when_one_bit_of_a_chunk_changes(
    published: Published, host: BundleHost, index: int, position: int
) -> None:
    path = chunk_files(published)[index]
    data = bytearray((published.folder / path).read_bytes())
    data[position] ^= 1
    (published.folder / path).write_bytes(data)
    host.refuses(published.folder, DigestMismatchError, where=path)


def test_verify_refuses_a_chunk_longer_than_signed(
    published: Published, host: BundleHost
) -> None:
    path = chunk_files(published)[0]
    with (published.folder / path).open("ab") as file:
        file.write(b"x")
    host.refuses(published.folder, DigestMismatchError, where=path)


def test_verify_refuses_a_truncated_chunk(
    published: Published, host: BundleHost
) -> None:
    path = chunk_files(published)[0]
    os.truncate(published.folder / path, 10)
    host.refuses(published.folder, DigestMismatchError, where=path)


def test_verify_refuses_an_absent_chunk(published: Published, host: BundleHost) -> None:
    path = chunk_files(published)[0]
    (published.folder / path).unlink()
    host.refuses(published.folder, MissingError, where=path)


def _link(path: Path, aside: Path) -> None:
    shutil.move(path, aside)
    path.symlink_to(aside)


def _link_folder(path: Path, aside: Path) -> None:
    shutil.move(path.parent, aside)
    path.parent.symlink_to(aside, target_is_directory=True)


def _fifo(path: Path, _: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path, _: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("replaced", [_link, _link_folder, _fifo, _folder])
@pytest.mark.parametrize("target", ["chunk", "manifest", "timestamp"])
def test_verify_refuses_what_is_no_regular_file(
    published: Published,
    host: BundleHost,
    tmp_path: Path,
    replaced: Callable[[Path, Path], None],
    target: str,
) -> None:
    paths = {
        "chunk": chunk_files(published)[0],
        "manifest": "targets/manifest.json",
        "timestamp": "metadata/timestamp.json",
    }
    replaced(published.folder / paths[target], tmp_path / "aside")
    host.refuses(published.folder, MalformedError)


def test_verify_refuses_a_manifest_changed_after_signing(
    published: Published, host: BundleHost
) -> None:
    path = published.folder / "targets" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"in-blr", b"in-bom"))
    host.refuses(published.folder, DigestMismatchError, where="targets/manifest.json")


def test_verify_refuses_an_absent_manifest(
    published: Published, host: BundleHost
) -> None:
    (published.folder / "targets" / "manifest.json").unlink()
    host.refuses(published.folder, MissingError, where="targets/manifest.json")


def _other_digest(artifact: Artifact) -> Artifact:
    return replace(artifact, sha256=sha256_of(b"something else"))


def _swapped_chunks(artifact: Artifact) -> Artifact:
    return replace(artifact, chunks=tuple(reversed(artifact.chunks)))


@pytest.mark.parametrize("change", [_other_digest, _swapped_chunks])
def test_verify_refuses_signed_chunks_that_do_not_make_the_signed_artifact(
    published: Published,
    host: BundleHost,
    tmp_path: Path,
    change: Callable[[Artifact], Artifact],
) -> None:
    first, *others = published.manifest.artifacts
    manifest = replace(published.manifest, artifacts=(change(first), *others))
    again = republish(published, tmp_path / "again", manifest=manifest)
    host.refuses(again.folder, DigestMismatchError, where="models/m.gguf")


def test_verify_ignores_files_that_nobody_signed(
    published: Published, host: BundleHost
) -> None:
    (published.folder / "autorun.inf").write_text("not ours")
    (published.folder / "c" / "00").mkdir(exist_ok=True)
    (published.folder / "c" / "00" / ("0" * 64)).write_text("not ours")
    assert host.look(published.folder).manifest == published.manifest


def test_metadata_is_verified_without_reading_any_chunk(
    published: Published, host: BundleHost
) -> None:
    shutil.rmtree(published.folder / "c")
    with Volume(published.folder) as volume:
        bundle = verify_metadata(
            volume,
            state=host.state,
            floor=None,
            now=NOW,
            scratch=host.scratch,
            limits=DEFAULT_LIMITS,
        )
    assert bundle.manifest == published.manifest


def test_a_refusal_names_the_digest_that_was_signed(
    published: Published, host: BundleHost
) -> None:
    chunk = published.manifest.artifacts[0].chunks[0]
    path = published.folder / chunk_path(chunk.sha256)
    path.write_bytes(bytes(chunk.size_bytes))
    with pytest.raises(RefusalError) as caught:
        host.look(published.folder)
    assert caught.value.expected == f"sha256 {chunk.sha256}"
    assert caught.value.actual == f"sha256 {Sha256(sha256_of(bytes(2_000)))}"
