"""Room on the disk that is kept back, so that a full disk can still be recorded.

A file whose blocks are really there. It is given up when the ledger halts for want of
room, and made again before the ledger is released.
Source: posix_fallocate(3); the free-space reserve of NIST SP 800-53 AU-4 and AU-5.
"""

import contextlib
import os
from pathlib import Path

from appliance.durable import sync_folder


class Ballast:
    """The file at ``path`` of ``size_bytes``."""

    def __init__(self, path: Path, *, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._path.parent

    @property
    def size_bytes(self) -> int:
        """What it takes. Unit: bytes."""
        return self._size_bytes

    @property
    def held(self) -> bool:
        """Whether the file is there and its blocks are."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        whole = found.st_size == self._size_bytes
        return whole and found.st_blocks * 512 >= self._size_bytes

    def hold(self) -> None:
        """Make the file, durably, unless it is there; one of another size gives way.

        Raises:
            OSError: The disk refused, or is too full; nothing of it is left then.
        """
        if self.held:
            return
        self._path.unlink(missing_ok=True)
        partial = self._path.with_name(f"{self._path.name}.partial")
        partial.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(partial, flags, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._size_bytes)
            os.fsync(descriptor)
            partial.rename(self._path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        sync_folder(self._path.parent)

    def become(self, path: Path) -> None:
        """Give the file another name, empty; that takes no room, not even an inode.

        Raises:
            OSError: There is no file, or the disk refused.
        """
        self._path.rename(path)
        with contextlib.suppress(OSError):
            os.truncate(path, 0)

    def give_up(self) -> None:
        """Leave its room to whoever writes next; harmless when repeated."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            sync_folder(self._path.parent)
