"""The files of a verified bundle, and copies of its chunks that are hashed on the way.

Split, join and the single file all write a bundle again from a medium that may
change under them. Metadata is therefore taken from what was verified, and a chunk
is hashed while it is copied; what differs from the signed digest is never kept.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from bundleformat.digest import check_reader
from bundleformat.errors import StorageFaultError
from bundleformat.layout import (
    INSTALLER_PATH,
    MANIFEST_PATH,
    METADATA_FOLDER,
    NOTE_PATH,
    TIMESTAMP_PATH,
    chunk_path,
    parse_root_version,
    root_path,
    snapshot_path,
    targets_path,
)
from bundleformat.limits import Limits
from bundleformat.manifest import Chunk
from bundleformat.paths import ArchivePath
from bundleformat.verify import VerifiedBundle
from bundleformat.verify_volume import VolumeContents, list_volume
from bundleformat.volume_set import VolumeSet
from bundler.pack import fault

COMPANIONS: Final = (NOTE_PATH, INSTALLER_PATH)
"""Unsigned files for people, which are carried along as they are."""

File = tuple[ArchivePath, bytes]


def shared_files(
    volumes: VolumeSet, bundle: VerifiedBundle, *, limits: Limits
) -> tuple[File, ...]:
    """Return every file of ``bundle`` that each volume repeats, ascending by path.

    Raises:
        RefusalError: A root or a companion breaks its limit or its format.
        StorageFaultError: A volume cannot be read.
    """
    version = bundle.bundle_version
    files = {
        **_roots(volumes, bundle, limits),
        TIMESTAMP_PATH: _verified(bundle, "timestamp.json"),
        snapshot_path(version): _verified(bundle, "snapshot.json"),
        targets_path(version): _verified(bundle, "targets.json"),
        MANIFEST_PATH: bundle.manifest_bytes,
    }
    for path in COMPANIONS:
        if volumes.exists(path):
            files[path] = volumes.read(path, max_bytes=limits.text_bytes)
    return tuple(sorted(files.items()))


def _roots(
    volumes: VolumeSet, bundle: VerifiedBundle, limits: Limits
) -> dict[ArchivePath, bytes]:
    names = volumes.names(METADATA_FOLDER, max_entries=limits.root_files + 64)
    versions = filter(None, map(parse_root_version, names))
    return {
        root_path(version): volumes.read(
            root_path(version), max_bytes=limits.root_bytes
        )
        for version in versions
        if version <= bundle.root_version
    }


def _verified(bundle: VerifiedBundle, name: str) -> bytes:
    data = bundle.state.file(name)
    if data is None:
        raise StorageFaultError("the trust state lacks a file", where=name)
    return data


def check_complete(
    volumes: VolumeSet, bundle: VerifiedBundle, *, limits: Limits
) -> VolumeContents:
    """Return which chunks are at hand, which are all that the volumes hold.

    Raises:
        VolumesMissingError: Not all volumes are at hand.
        RefusalError, StorageFaultError: As ``list_volume``.
    """
    contents = list_volume(volumes, bundle, limits=limits)
    if contents.missing and volumes.wanted():
        raise volumes.missing(where=volumes.label)
    return contents


def chunks_at_hand(
    bundle: VerifiedBundle, contents: VolumeContents
) -> tuple[Chunk, ...]:
    """Return the chunks of ``bundle`` at hand in manifest order, each once."""
    present = frozenset(contents.present)
    chunks = (c for artifact in bundle.manifest.artifacts for c in artifact.chunks)
    return tuple(dict.fromkeys(c for c in chunks if c.sha256 in present))


def copy_chunk(
    volumes: VolumeSet,
    chunk: Chunk,
    *,
    write: Callable[[bytes], object],
    target: Path,
    progress: Callable[[int], object],
) -> None:
    """Hand every byte of ``chunk`` to ``write``; afterwards they are the signed ones.

    ``target`` is where they go, for messages. The caller MUST discard what was
    written if this raises.

    Raises:
        DigestMismatchError: The chunk differs from what was signed.
        MissingError, MalformedError: It is not where it was.
        StorageFaultError: It cannot be read, or not be written.
    """
    path = chunk_path(chunk.sha256)

    def take(block: bytes) -> None:
        try:
            write(block)
        except OSError as error:
            raise fault(error, where=target) from error
        progress(len(block))

    try:
        with volumes.open(path) as file:
            check_reader(
                file,
                sha256=chunk.sha256,
                size_bytes=chunk.size_bytes,
                where=path,
                sha384=chunk.sha384,
                sink=take,
            )
    except OSError as error:
        raise StorageFaultError(
            "cannot be read", where=path, actual=error.strerror or str(error)
        ) from error
