"""Files that hold a secret: written whole or not at all, read only if private."""

import os
import secrets
import stat
from pathlib import Path

from appliance.durable import sync_folder
from appliance.errors import HostNotReadyError
from bundleformat.errors import ConflictError, StorageFaultError

MODE = 0o600
"""Permissions of a secret; a file that others may read is refused."""

MAX_BYTES = 4_096
"""Largest secret that is read."""


def write_private_file(path: Path, data: bytes) -> None:
    """Make ``path`` hold ``data``, readable by its owner alone, durably.

    Raises:
        ConflictError: A file of that name is there.
        StorageFaultError: The disk refused; nothing of it is left.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _write(partial, data)
            _give_name(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageFaultError(
            "the secret cannot be written", where=str(path), actual=str(error.strerror)
        ) from error


def read_private_file(path: Path, *, size_bytes: int | None = None) -> bytes:
    """Return what ``path`` holds; exactly ``size_bytes``, if that is given.

    Raises:
        HostNotReadyError: It is missing, no regular file, of another size, or others
            may read it.
    """
    # Without O_NONBLOCK a FIFO in the place of a secret would make this wait.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_BYTES) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise HostNotReadyError(
            "a secret of this host cannot be read",
            where=str(path),
            actual=str(error.strerror),
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise HostNotReadyError(
            "a secret of this host may be read by others",
            where=str(path),
            expected=f"{MODE:o}",
            actual=f"{stat.S_IMODE(mode):o}",
            hint="Find out who read it before changing its permissions.",
        )
    if size_bytes is not None and len(data) != size_bytes:
        raise HostNotReadyError(
            "a secret of this host has another size",
            where=str(path),
            expected=f"{size_bytes} bytes",
            actual=f"{len(data)} bytes",
            hint="Put it back from a backup; it is made once and never changes.",
        )
    return data


def _give_name(partial: Path, path: Path) -> None:
    """Name the complete file; unlike a rename, a link never replaces another."""
    try:
        os.link(partial, path)
    except FileExistsError as error:
        raise ConflictError("a secret is already there", where=str(path)) from error


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
