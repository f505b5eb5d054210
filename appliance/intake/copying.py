"""One artifact's copy: filled chunk by chunk, in any order, hashed as it is written.

The digests are taken of the very bytes that are written, on other threads, while
they are written and while the disk already takes earlier ones. A chunk is in the
journal when the disk has it. What an earlier run left is hashed again from the
copy before it counts. While the chunks come in their order, the digest of the
whole grows with them; what is left of it is read from the copy once, at the end.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from io import FileIO
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Final

from appliance.intake.hashing import Digests, Hashers, signed_blocks
from appliance.intake.journal import Journal, open_private, write_all
from bundleformat.digest import BLOCK_BYTES
from bundleformat.errors import (
    DigestMismatchError,
    MalformedError,
    MissingError,
    StorageFaultError,
)
from bundleformat.manifest import Artifact, Chunk

WRITE_BACK_BYTES: Final = 64 * 2**20
"""After so many bytes the disk is told to take what it was given."""

Progress = Callable[[int], None]
"""Called with the bytes that were just dealt with; negative if they were not good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a chunk can be read.

    Attributes:
        where: The place, as messages call it.
        open: Opens it there.
        from_medium: It lies on a medium and not on this host.
        optional: What is there and is not the chunk is passed over, as of a file
            of this host that may have decayed. Otherwise it is refused.
    """

    where: str
    open: Callable[[], BinaryIO]
    from_medium: bool = True
    optional: bool = False


Find = Callable[[Chunk], Iterable[Source]]
"""Says where a chunk can be read, the best place first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Files:
    """The open files of one copy."""

    part: FileIO
    journal: Journal
    disk: "_WriteBack"


class ArtifactCopy:
    """The copy of one artifact, and what is known of it. No file stays open.

    Attributes:
        artifact: The artifact.
        path: Where its copy lies.
        medium_bytes: Bytes of the chunks that came from a medium.
        reused_bytes: Bytes of those that came from elsewhere on this host.
    """

    def __init__(
        self, artifact: Artifact, *, path: Path, journal: Path, hashers: Hashers
    ) -> None:
        self.artifact = artifact
        self.path = path
        self.medium_bytes = 0
        self.reused_bytes = 0
        self._journal = journal
        self._hashers = hashers
        sizes = (chunk.size_bytes for chunk in artifact.chunks)
        self._offsets = tuple(accumulate(sizes, initial=0))
        self._good: set[int] = set()
        # Of the first `_prefix` chunks, and in the end of the whole.
        self._whole = Digests.of(artifact)
        self._prefix = 0

    def fill(self, find: Find, *, progress: Progress) -> tuple[Chunk, ...]:
        """Copy every chunk that can be found, and return those that cannot.

        When all are there, their whole is checked, too.

        Raises:
            DigestMismatchError: A chunk on the medium, or the whole, is not what
                was signed.
            MissingError: A chunk is not where the medium says it is.
            StorageFaultError: The medium cannot be read, or the disk refused; good
                chunks stay for a later run.
        """
        try:
            with open_private(self.path) as part:
                lacking = self._fill_open(part, find, progress)
                if not lacking:
                    self._check_whole(part)
        except OSError as error:
            raise StorageFaultError(
                "cannot be copied to this host",
                where=str(self.path),
                actual=error.strerror or "",
                hint="Free space or repair the disk, then run this again: what was "
                "copied so far is kept.",
            ) from error
        return lacking

    def _fill_open(
        self, part: FileIO, find: Find, progress: Progress
    ) -> tuple[Chunk, ...]:
        journal = Journal(self._journal)
        disk = _WriteBack(part, hashers=self._hashers)
        files = _Files(part=part, journal=journal, disk=disk)
        try:
            lacking = tuple(
                chunk
                for index, chunk in enumerate(self.artifact.chunks)
                if not self._get(index, files, find=find, progress=progress)
            )
            disk.wait()
        finally:
            # Nobody may sync or write a number that another file could have next.
            disk.settle()
            journal.close()
        return lacking

    def _get(
        self, index: int, files: _Files, *, find: Find, progress: Progress
    ) -> bool:
        """Return whether the copy has a chunk now."""
        if index in self._good:
            return True
        chunk = self.artifact.chunks[index]
        if index in files.journal.claimed and self._holds(index, files.part):
            self._good.add(index)
            progress(chunk.size_bytes)
            return True
        for source in find(chunk):
            if self._copy(index, files, source=source, progress=progress):
                self._good.add(index)
                files.disk.then(lambda: files.journal.add(index))
                self._count(chunk, source)
                return True
        return False

    def _count(self, chunk: Chunk, source: Source) -> None:
        if source.from_medium:
            self.medium_bytes += chunk.size_bytes
        else:
            self.reused_bytes += chunk.size_bytes

    def _holds(self, index: int, part: FileIO) -> bool:
        """Return whether the copy has a chunk already, reading it again."""
        blocks = self._kept(index, part)
        try:
            self._hash(index, blocks, where=str(self.path), sink=_drop)
        except DigestMismatchError:
            return False
        return True

    def _kept(self, index: int, part: FileIO) -> Iterator[bytes]:
        offset, end = self._offsets[index : index + 2]
        while offset < end:
            block = os.pread(part.fileno(), min(BLOCK_BYTES, end - offset), offset)
            if not block:
                return
            yield block
            offset += len(block)

    def _copy(
        self, index: int, files: _Files, *, source: Source, progress: Progress
    ) -> bool:
        """Return whether ``source`` gave the chunk; what is not optional must."""
        chunk = self.artifact.chunks[index]
        files.part.seek(self._offsets[index])
        counted = 0

        def keep(block: bytes) -> None:
            nonlocal counted
            write_all(files.part, block)
            files.disk.wrote(len(block))
            progress(len(block))
            counted += len(block)

        try:
            with source.open() as opened:
                blocks = signed_blocks(
                    _Reading(opened, source.where),
                    size_bytes=chunk.size_bytes,
                    where=source.where,
                )
                self._hash(index, blocks, where=source.where, sink=keep)
        except (
            DigestMismatchError,
            MalformedError,
            MissingError,
            StorageFaultError,
        ):
            if not source.optional:
                raise
            progress(-counted)
            return False
        return True

    def _hash(
        self,
        index: int,
        blocks: Iterable[bytes],
        *,
        where: str,
        sink: Callable[[bytes], object],
    ) -> None:
        """Hash a chunk, and with it the whole if it is the whole's next one."""
        chunk = self.artifact.chunks[index]
        alone = Digests.of(chunk)
        # Of one chunk, the chunk's digest is the whole's: it is taken once.
        only = len(self.artifact.chunks) == 1
        whole = alone if only else self._whole.copy()
        both = index == self._prefix and not only
        digests = (alone, whole) if both else (alone,)
        self._hashers.run(blocks, digests, sink=sink)
        alone.check(chunk, where=where)
        if index == self._prefix:
            self._whole = whole
            self._prefix += 1

    def _check_whole(self, part: FileIO) -> None:
        count = len(self.artifact.chunks)
        for index in range(self._prefix, count):
            self._hashers.run(self._kept(index, part), (self._whole,), sink=_drop)
        self._prefix = count
        part.truncate(self.artifact.size_bytes)
        self._whole.check(self.artifact, where=self.artifact.path)


class _WriteBack:
    """Has the disk take what was written, on another thread, early and often.

    Nothing waits for it but the journal: the copy as a whole is made durable when
    the store admits it.
    """

    def __init__(self, file: FileIO, *, hashers: Hashers) -> None:
        self._fd = file.fileno()
        self._pool = hashers.disk
        self._pending: deque[Future[object]] = deque()
        self._unsynced_bytes = 0

    def wrote(self, count: int) -> None:
        """Count what was written, and have it taken when it is much."""
        self._unsynced_bytes += count
        if self._unsynced_bytes >= WRITE_BACK_BYTES:
            self._unsynced_bytes = 0
            self._raise_early()
            self._pending.append(self._pool.submit(os.fdatasync, self._fd))

    def then(self, action: Callable[[], object]) -> None:
        """Do ``action`` when the disk has everything that was written so far.

        What is little is done at once: a power cut costs a copy of it at most.
        """
        if not self._pending:
            action()
            return
        self._pending.append(self._pool.submit(os.fdatasync, self._fd))
        self._pending.append(self._pool.submit(action))
        self._unsynced_bytes = 0

    def wait(self) -> None:
        """Wait for the disk.

        Raises:
            OSError: It refused.
        """
        while self._pending:
            self._pending.popleft().result()

    def settle(self) -> None:
        """Wait for the disk, whatever it says."""
        while self._pending:
            self._pending.popleft().exception()

    def _raise_early(self) -> None:
        while self._pending and self._pending[0].done():
            self._pending.popleft().result()


class _Reading:
    """Tells a medium that refuses to read from a disk that refuses to write."""

    def __init__(self, opened: BinaryIO, where: str) -> None:
        self._opened = opened
        self._where = where

    def read(self, size: int, /) -> bytes:
        try:
            return self._opened.read(size)
        except OSError as error:
            raise StorageFaultError(
                "cannot be read from the medium",
                where=self._where,
                actual=error.strerror or "",
                hint="Clean or replace the medium, then run this again: what was "
                "copied so far is kept.",
            ) from error


def _drop(_: bytes) -> None:
    """Keep nothing."""
