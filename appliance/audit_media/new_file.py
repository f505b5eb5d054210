"""A file for somebody to take away: there whole and on disk, or not at all."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.durable import sync_folder
from bundleformat.errors import StorageFaultError


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Yield a private folder on the file system of ``path``, and remove it.

    Raises:
        StorageFaultError: The disk refused, here or within the ``with`` block.
    """
    final = path.absolute()
    scratch = final.with_name(f".{final.name}.{secrets.token_hex(4)}.partial")
    try:
        scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise StorageFaultError(
            "the export cannot be written",
            where=str(path),
            actual=str(error.strerror),
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
