"""A file for somebody to take away: there whole and on disk, or not at all."""

import errno
import os
from pathlib import Path

from appliance.durable import sync_folder


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
