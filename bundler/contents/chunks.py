"""Copies what a bundle delivers into chunk files, hashing it on the way."""

import hashlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from bundleformat.artifact import Chunk
from bundleformat.digest import BLOCK_BYTES, Sha256
from bundleformat.layout import chunk_path
from bundleformat.manifest import Digest
from bundler.sources.opened import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A source that lies in chunks now, or whose chunks lie elsewhere."""

    sha256: Sha256
    size_bytes: int
    chunks: tuple[Chunk, ...]
    sha384: str | None = None


class Hash(Protocol):
    """What is asked of a state of ``hashlib``."""

    def update(self, data: bytes, /) -> None:
        """Take ``data`` in."""

    def hexdigest(self) -> str:
        """Return the digest of everything taken in."""


class Hashes:
    """SHA-256 of everything taken in, and SHA-384 where it is wanted."""

    def __init__(self, digest: Digest) -> None:
        self._short: Hash = hashlib.sha256()
        self._long: Hash | None = hashlib.sha384() if digest == "sha384" else None

    def update(self, block: bytes) -> None:
        """Take ``block`` in."""
        self._short.update(block)
        if self._long is not None:
            self._long.update(block)

    @property
    def sha256(self) -> Sha256:
        """The SHA-256."""
        return Sha256(self._short.hexdigest())

    @property
    def sha384(self) -> str | None:
        """The SHA-384, or None where it is not wanted."""
        return None if self._long is None else self._long.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkFolder:
    """Where chunks are put, and how.

    Attributes:
        folder: The folder of the bundle.
        chunk_bytes: Largest chunk.
        digest: Which digests are taken.
        elsewhere: Chunks that the reader of the bundle has already; they are
            hashed like all others and not kept.
    """

    folder: Path
    chunk_bytes: int
    digest: Digest = "sha256"
    elsewhere: AbstractSet[Sha256] = frozenset()


def store_in_chunks(
    source: Source, into: ChunkFolder, *, progress: Callable[[int], object]
) -> Stored:
    """Copy ``source`` into chunk files, and return what they are.

    A chunk that is there already, from this or another source, is kept once.

    Raises:
        ConflictError: The source changed meanwhile.
    """
    source.file.seek(0)
    stored = _store(source.file, into, size_bytes=source.size_bytes, progress=progress)
    source.check_unchanged()
    return stored


def store_bytes(file: BinaryIO, into: ChunkFolder, *, size_bytes: int) -> Stored:
    """Copy what was made in memory into chunk files, and return what they are."""
    return _store(file, into, size_bytes=size_bytes, progress=_unseen)


def _unseen(_: int) -> None:
    """Show no progress; the bytes are few."""


def _store(
    file: BinaryIO,
    into: ChunkFolder,
    *,
    size_bytes: int,
    progress: Callable[[int], object],
) -> Stored:
    whole = Hashes(into.digest)
    chunks: list[Chunk] = []
    remaining = size_bytes
    while remaining:
        chunk = _store_chunk(
            file,
            into,
            size_bytes=min(into.chunk_bytes, remaining),
            take=(whole.update, progress),
        )
        if not chunk.size_bytes:
            break
        remaining -= chunk.size_bytes
        chunks.append(chunk)
    return Stored(
        sha256=whole.sha256,
        sha384=whole.sha384,
        size_bytes=size_bytes - remaining,
        chunks=tuple(chunks),
    )


def _store_chunk(
    file: BinaryIO,
    into: ChunkFolder,
    *,
    size_bytes: int,
    take: tuple[Callable[[bytes], object], Callable[[int], object]],
) -> Chunk:
    own = Hashes(into.digest)
    update_whole, progress = take
    copied = 0
    partial = into.folder / "chunk.partial"
    with partial.open("wb") as out:
        while block := file.read(min(BLOCK_BYTES, size_bytes - copied)):
            own.update(block)
            update_whole(block)
            out.write(block)
            copied += len(block)
            progress(len(block))
    _keep(partial, into, own.sha256)
    return Chunk(sha256=own.sha256, size_bytes=copied, sha384=own.sha384)


def _keep(partial: Path, into: ChunkFolder, sha256: Sha256) -> None:
    if sha256 in into.elsewhere:
        partial.unlink()
        return
    place = into.folder / chunk_path(sha256)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(place)
