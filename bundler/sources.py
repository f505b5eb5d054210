"""Opens source files once, and copies them into chunks while hashing.

A source stays open from its inspection to the end of its copy, and must not
change in between: what was inspected is what is signed.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from bundleformat.digest import BLOCK_BYTES, Sha256
from bundleformat.errors import ConflictError, LimitExceededError, MissingError
from bundleformat.layout import chunk_path
from bundleformat.manifest import Chunk
from bundler.errors import SpecError


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A source that lies in chunks now."""

    sha256: Sha256
    size_bytes: int
    chunks: tuple[Chunk, ...]


class Source:
    """An open source file; a context manager that closes it.

    Attributes:
        path: Where it was opened, for messages.
        file: The open file.
        size_bytes: Its size when it was opened.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Open ``path``.

        Raises:
            MissingError: No such file.
            SpecError: Not a regular file, empty, or unreadable.
            LimitExceededError: Larger than an artifact may be.
        """
        self.path = path
        try:
            self.file: BinaryIO = path.open("rb")
        except FileNotFoundError as error:
            raise MissingError(
                "no such file", where=str(path), hint="Correct its path in the spec."
            ) from error
        except OSError as error:
            raise SpecError(
                "cannot be read", where=str(path), actual=error.strerror or str(error)
            ) from error
        self._opened = os.fstat(self.file.fileno())
        self.size_bytes = self._opened.st_size
        try:
            self._check(max_bytes)
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.file.close()

    def _check(self, max_bytes: int) -> None:
        if not stat.S_ISREG(self._opened.st_mode) or not self.size_bytes:
            raise SpecError("not a file with content", where=str(self.path))
        if self.size_bytes > max_bytes:
            raise LimitExceededError(
                "too large for an artifact",
                where=str(self.path),
                expected=f"at most {max_bytes} bytes",
                actual=f"{self.size_bytes} bytes",
            )

    def check_unchanged(self) -> None:
        """Check that nobody wrote to the file since it was opened.

        Raises:
            ConflictError: Its size or its modification time changed.
        """
        now = os.fstat(self.file.fileno())
        before = self._opened
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise ConflictError(
                "the file changed while it was read",
                where=str(self.path),
                hint="Build again when nothing writes to it.",
            )


def store_in_chunks(
    source: Source,
    folder: Path,
    *,
    chunk_bytes: int,
    progress: Callable[[int], object],
) -> Stored:
    """Copy ``source`` into chunk files below ``folder``, and return what they are.

    A chunk that is there already, from this or another source, is kept once.

    Raises:
        ConflictError: The source changed meanwhile.
    """
    whole = hashlib.sha256()
    chunks: list[Chunk] = []
    source.file.seek(0)
    remaining = source.size_bytes
    while remaining:
        chunk = _store_chunk(
            source.file,
            folder,
            size_bytes=min(chunk_bytes, remaining),
            take=(whole.update, progress),
        )
        if not chunk.size_bytes:
            break
        remaining -= chunk.size_bytes
        chunks.append(chunk)
    source.check_unchanged()
    return Stored(
        sha256=Sha256(whole.hexdigest()),
        size_bytes=source.size_bytes - remaining,
        chunks=tuple(chunks),
    )


def _store_chunk(
    file: BinaryIO,
    folder: Path,
    *,
    size_bytes: int,
    take: tuple[Callable[[bytes], object], Callable[[int], object]],
) -> Chunk:
    state = hashlib.sha256()
    update_whole, progress = take
    copied = 0
    partial = folder / "chunk.partial"
    with partial.open("wb") as out:
        while block := file.read(min(BLOCK_BYTES, size_bytes - copied)):
            state.update(block)
            update_whole(block)
            out.write(block)
            copied += len(block)
            progress(len(block))
    sha256 = Sha256(state.hexdigest())
    place = folder / chunk_path(sha256)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(place)
    return Chunk(sha256=sha256, size_bytes=copied)
