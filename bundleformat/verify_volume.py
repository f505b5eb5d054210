"""Verifies the chunks that lie on one volume, or on some volumes, of a bundle.

Steps 11 and 12 of FORMAT.md for what is there: volumes are verified alone, in any
order, on different days. The result says what lies elsewhere. That a chunk may lie
elsewhere is the volume's own account; an import wants every chunk.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bundleformat.bad_chunk import naming
from bundleformat.digest import Sha256, check_digest, check_reader
from bundleformat.errors import (
    LimitExceededError,
    MissingError,
    RefusalError,
    StorageFaultError,
)
from bundleformat.layout import chunk_path
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.manifest import Artifact, Chunk
from bundleformat.paths import ArchivePath
from bundleformat.verify import VerifiedBundle
from bundleformat.volume_set import CHUNKS_FOLDER, VolumeSet

MAX_CHUNK_FOLDERS: Final = 512
"""Most entries of ``c``; chunks need 256 folders."""

_HEX_DIGITS: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeContents:
    """Which chunks of a bundle lie on the volumes at hand, and which do not.

    Attributes:
        present: Digests of the chunks at hand, ascending.
        missing: Digests of the chunks of the bundle that lie elsewhere, ascending.
        foreign: Digests of chunks at hand that are not of this bundle, ascending.
            They are never read.
        payload_bytes: What hashing the chunks at hand reads, each once for every
            artifact it is part of.
    """

    present: tuple[Sha256, ...]
    missing: tuple[Sha256, ...]
    foreign: tuple[Sha256, ...]
    payload_bytes: int

    @property
    def whole(self) -> bool:
        """Whether every chunk of the bundle is at hand."""
        return not self.missing


def list_volume(
    volumes: VolumeSet, bundle: VerifiedBundle, *, limits: Limits = DEFAULT_LIMITS
) -> VolumeContents:
    """Return which chunks of ``bundle`` lie on ``volumes``; none is read.

    Raises:
        MissingError: A chunk is at hand nowhere, and the volumes do not say that
            it lies elsewhere.
        MalformedError: A link or special file lies in the place of a chunk.
        LimitExceededError: Too many files lie among the chunks.
        StorageFaultError: A volume cannot be read.
    """
    chunks = [c for artifact in bundle.manifest.artifacts for c in artifact.chunks]
    present = {chunk.sha256 for chunk in chunks if volumes.present(chunk)}
    missing = {chunk.sha256 for chunk in chunks} - present
    _check_elsewhere(volumes, missing)
    return VolumeContents(
        present=tuple(sorted(present)),
        missing=tuple(sorted(missing)),
        foreign=tuple(sorted(_found(volumes, limits) - present)),
        payload_bytes=sum(c.size_bytes for c in chunks if c.sha256 in present),
    )


def verify_volume(
    volumes: VolumeSet,
    bundle: VerifiedBundle,
    *,
    contents: VolumeContents,
    progress: Callable[[int], object],
) -> None:
    """Hash every chunk of ``bundle`` that lies on ``volumes``.

    ``progress`` is given the bytes of each block. As with ``verify_chunks``, what
    was verified here MUST NOT be read again and used.

    Raises:
        DigestMismatchError: A chunk or an artifact differs from what was signed.
        MissingError: A chunk of ``contents`` is gone.
        MalformedError: A link or special file lies in the place of a chunk.
        StorageFaultError: A volume cannot be read.
    """
    present = frozenset(contents.present)
    for artifact in bundle.manifest.artifacts:
        _verify_artifact(volumes, artifact, present=present, progress=progress)


def _verify_artifact(
    volumes: VolumeSet,
    artifact: Artifact,
    *,
    present: frozenset[Sha256],
    progress: Callable[[int], object],
) -> None:
    whole: list[tuple[str, str | None, Any]] = []
    if all(chunk.sha256 in present for chunk in artifact.chunks):
        whole.append(("sha256", artifact.sha256, hashlib.sha256()))
        if artifact.sha384 is not None:
            whole.append(("sha384", artifact.sha384, hashlib.sha384()))

    def take(block: bytes) -> None:
        for _, _, state in whole:
            state.update(block)
        progress(len(block))

    # Step 11: Every chunk has its signed length and digest.
    for chunk in artifact.chunks:
        if chunk.sha256 in present:
            try:
                _verify_chunk(volumes, chunk, take=take)
            except RefusalError as error:
                raise naming(error, artifact, volumes) from error
    # Step 12: The chunks, in their order, are the artifact.
    for name, expected, state in whole:
        check_digest(expected, state.hexdigest(), where=artifact.path, name=name)


def _verify_chunk(
    volumes: VolumeSet, chunk: Chunk, *, take: Callable[[bytes], object]
) -> None:
    path = chunk_path(chunk.sha256)
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


def _check_elsewhere(volumes: VolumeSet, missing: set[Sha256]) -> None:
    claimed = {
        chunk for hint in volumes.hints if hint is not None for chunk in hint.chunks
    }
    elsewhere = bool(volumes.wanted()) or volumes.since is not None
    absent = missing & claimed if elsewhere else missing
    for sha256 in sorted(absent):
        raise MissingError(
            "not on this medium, which should have it",
            where=chunk_path(sha256),
            actual=f"no such file in {volumes.label}",
            hint="Copy the bundle again from its source; the medium is incomplete.",
        )


def _found(volumes: VolumeSet, limits: Limits) -> set[Sha256]:
    """Return the digests by which files among the chunks are named."""
    found: set[Sha256] = set()
    try:
        folders = volumes.names(CHUNKS_FOLDER, max_entries=MAX_CHUNK_FOLDERS)
    except MissingError:
        return found
    most = 2 * limits.chunks
    for folder in folders:
        if len(folder) != 2 or not set(folder) <= _HEX_DIGITS:
            continue
        below = ArchivePath(f"{CHUNKS_FOLDER}/{folder}")
        found.update(
            Sha256(name)
            for name in volumes.names(below, max_entries=most)
            if len(name) == 64 and name[:2] == folder and set(name) <= _HEX_DIGITS
        )
        if len(found) > most:
            raise LimitExceededError(
                "too many files", where=below, expected=f"at most {most} chunks"
            )
    return found
