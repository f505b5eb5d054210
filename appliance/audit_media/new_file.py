"""A file for somebody to take away: there whole and on disk, or not at all."""

import errno
import os
import tempfile
from pathlib import Path

from appliance.durable import sync_folder
from bundleformat.errors import ConflictError, StorageFaultError


def check_absent(path: Path) -> None:
    """Check that nothing lies at ``path``.

    Raises:
        ConflictError: Something does; it is never overwritten.
    """
    if os.path.lexists(path):
        raise ConflictError(
            "already there",
            where=str(path),
            hint="Name a file that does not exist yet.",
        )


def write_new_file(path: Path, data: bytes) -> None:
    """Make ``path`` hold ``data``, as ``publish`` does; nothing was there.

    Raises:
        ConflictError: Something is.
        StorageFaultError: The disk refused; nothing of it is left.
    """
    check_absent(path)
    try:
        number, name = tempfile.mkstemp(dir=path.parent, prefix=".sallyport-")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
            publish(Path(name), path)
        finally:
            Path(name).unlink(missing_ok=True)
    except FileExistsError as error:
        raise ConflictError("already there", where=str(path)) from error
    except OSError as error:
        raise StorageFaultError(
            "the file cannot be written", where=str(path), actual=error.strerror or ""
        ) from error


def publish(made: Path, path: Path) -> None:
    """Give the file ``made`` the name ``path`` once all of it is on disk.

    Only its owner may read it, where the file system knows owners.

    Raises:
        OSError: The disk refused, or something of that name is there.
    """
    made.chmod(0o600)
    with made.open("rb") as file:
        os.fsync(file.fileno())
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    made.rename(path)
    sync_folder(path.absolute().parent)
