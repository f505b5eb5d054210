"""Copies artifacts from a medium while hashing them, and can be interrupted.

An artifact grows in ``staging/<sha256>.part``. When a chunk is on disk, its
number goes into ``staging/<sha256>.journal``. The journal only says where to
look: a resumed copy hashes every journalled chunk again from the staging file,
and copies again what does not match. The medium is read once; everything that
happens later happens to the copy, which is hashed as a whole before it is used.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from bundleformat.digest import BLOCK_BYTES, Sha256, check_reader
from bundleformat.errors import StorageFaultError
from bundleformat.layout import chunk_path
from bundleformat.manifest import Artifact, Chunk
from bundleformat.volume import Volume

PART = ".part"
JOURNAL = ".journal"

MAX_JOURNAL_BYTES = 2**20
"""More than the numbers of all chunks a manifest may list take. Unit: bytes."""

Progress = Callable[[int], None]
"""Called with the bytes that were just copied or found to be there already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Staged:
    """A whole copy whose bytes, read back from the disk, are the signed ones.

    Only ``Staging.copy`` makes one.
    """

    sha256: Sha256
    path: Path


class Staging:
    """The folder of unfinished copies. The caller MUST hold the import lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def staged_bytes(self, artifact: Artifact) -> int:
        """Return the bytes a resumed copy of ``artifact`` already takes on disk.

        Raises:
            StorageFaultError: The disk could not be asked.
        """
        part = self._part(artifact.sha256)
        try:
            return part.stat().st_blocks * 512 if part.is_file() else 0
        except OSError as error:
            raise StorageFaultError(
                "cannot be read", where=str(part), actual=error.strerror or ""
            ) from error

    def free_bytes(self) -> int:
        """Return the room on this file system for somebody without privileges.

        Raises:
            StorageFaultError: The disk could not be asked.
        """
        try:
            status = os.statvfs(self._folder)
        except OSError as error:
            raise StorageFaultError(
                "cannot be read", where=str(self._folder), actual=error.strerror or ""
            ) from error
        return status.f_bavail * status.f_frsize

    def copy(self, volume: Volume, artifact: Artifact, *, progress: Progress) -> Staged:
        """Copy ``artifact`` from ``volume``, resuming an interrupted copy.

        Raises:
            DigestMismatchError: A chunk, or the whole, is not what was signed.
            MissingError: A chunk is not on the volume.
            StorageFaultError: The disk refused; good chunks stay for a resumed copy.
        """
        part = self._part(artifact.sha256)
        journal = self._journal(artifact.sha256)
        try:
            with _open_private(part) as copy, _open_private(journal) as log:
                _copy_chunks(volume, artifact, copy=copy, log=log, progress=progress)
            with part.open("rb") as copy:
                # Forget the pages just written, so that this reads the disk.
                os.posix_fadvise(copy.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                check_reader(
                    copy,
                    sha256=artifact.sha256,
                    size_bytes=artifact.size_bytes,
                    where=artifact.path,
                )
        except OSError as error:
            raise StorageFaultError(
                "cannot be copied to this host",
                where=str(part),
                actual=error.strerror or "",
                hint="Free space or repair the disk, then import again: what was "
                "copied so far is kept.",
            ) from error
        return Staged(sha256=artifact.sha256, path=part)

    def purge(self, *, keep: Collection[Sha256] = ()) -> None:
        """Remove everything but the unfinished copies of ``keep``.

        Raises:
            StorageFaultError: The disk refused.
        """
        kept = {path for sha in keep for path in (self._part(sha), self._journal(sha))}
        try:
            for path in self._folder.iterdir():
                if path not in kept:
                    _remove(path)
        except OSError as error:
            raise StorageFaultError(
                "cannot be emptied",
                where=str(self._folder),
                actual=error.strerror or "",
            ) from error

    def _part(self, sha256: Sha256) -> Path:
        return self._folder / f"{sha256}{PART}"

    def _journal(self, sha256: Sha256) -> Path:
        return self._folder / f"{sha256}{JOURNAL}"


def _copy_chunks(
    volume: Volume,
    artifact: Artifact,
    *,
    copy: FileIO,
    log: FileIO,
    progress: Progress,
) -> None:
    done = _journalled(log)
    offset = 0
    for index, chunk in enumerate(artifact.chunks):
        if index in done and _holds(copy, chunk, offset=offset):
            progress(chunk.size_bytes)
        else:
            copy.seek(offset)
            _copy_chunk(volume, chunk, copy=copy, progress=progress)
            _write_all(log, f"{index}\n".encode())
            os.fsync(log.fileno())
        offset += chunk.size_bytes
    copy.truncate(offset)
    os.fsync(copy.fileno())


def _copy_chunk(
    volume: Volume, chunk: Chunk, *, copy: FileIO, progress: Progress
) -> None:
    where = chunk_path(chunk.sha256)

    def keep(block: bytes) -> None:
        try:
            _write_all(copy, block)
        except OSError as error:
            raise _WriteError(error) from error
        progress(len(block))

    with volume.open(where) as source:
        try:
            check_reader(
                source,
                sha256=chunk.sha256,
                size_bytes=chunk.size_bytes,
                where=where,
                sink=keep,
            )
        except OSError as error:
            raise StorageFaultError(
                "cannot be read from the medium",
                where=where,
                actual=error.strerror or "",
                hint="Clean or replace the medium, then import again: what was "
                "copied so far is kept.",
            ) from error
        except _WriteError as error:
            raise error.cause from error
    os.fsync(copy.fileno())


class _WriteError(Exception):
    """Keeps a disk that refuses to write apart from a medium that refuses to read."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause)
        self.cause = cause


def _open_private(path: Path) -> FileIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _journalled(log: FileIO) -> frozenset[int]:
    """Return the chunks said to be on disk; a last line cut by a crash is ignored.

    The cut line is cut off, so that the next one starts at its beginning.
    """
    data = log.read(MAX_JOURNAL_BYTES)
    whole = data[: data.rfind(b"\n") + 1]
    log.seek(len(whole))
    log.truncate()
    return frozenset(int(line) for line in whole.split() if line.isdigit())


def _holds(copy: FileIO, chunk: Chunk, *, offset: int) -> bool:
    state = hashlib.sha256()
    end = offset + chunk.size_bytes
    while offset < end:
        block = os.pread(copy.fileno(), min(BLOCK_BYTES, end - offset), offset)
        if not block:
            return False
        state.update(block)
        offset += len(block)
    return state.hexdigest() == chunk.sha256


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
