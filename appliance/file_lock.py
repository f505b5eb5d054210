"""Locks between processes, released by the kernel when their holder dies.

A lock is taken on a folder itself or on a small file that stays; its presence
says nothing, only the lock does, so none can be left behind.

Source: flock(2).
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from bundleformat.errors import Error, StorageFaultError

_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def exclusive_lock(path: Path, *, busy: Error) -> Iterator[None]:
    """Hold the lock on the file ``path``, made if it is new, for a ``with`` block.

    Raises:
        Error: ``busy`` itself, if another process holds the lock.
        StorageFaultError: The file cannot be made, opened or locked.
    """
    with _held(path, _FILE, busy=busy):
        yield


@contextlib.contextmanager
def exclusive_folder_lock(folder: Path, *, busy: Error) -> Iterator[None]:
    """Hold the lock on ``folder``, which must exist, for a ``with`` block.

    Raises:
        Error: ``busy`` itself, if another process holds the lock.
        StorageFaultError: The folder cannot be opened or locked.
    """
    with _held(folder, _FOLDER, busy=busy):
        yield


@contextlib.contextmanager
def _held(path: Path, flags: int, *, busy: Error) -> Iterator[None]:
    descriptor = _open(path, flags)
    try:
        # Only the lock itself is translated: what the block raises is its own.
        _lock(descriptor, path, busy=busy)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        raise _fault("the lock cannot be opened", path, error) from error


def _lock(descriptor: int, path: Path, *, busy: Error) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise busy from error
    except OSError as error:
        raise _fault("the lock cannot be taken", path, error) from error


def _fault(problem: str, path: Path, error: OSError) -> StorageFaultError:
    return StorageFaultError(problem, where=str(path), actual=str(error.strerror))
