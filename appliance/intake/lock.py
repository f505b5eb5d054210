"""One import at a time on a host, by a lock the kernel releases at death.

The lock is taken on the staging folder itself, because whoever holds it owns
what lies there; no lock file is made, and none can be left behind.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import HostNotReadyError
from bundleformat.errors import StorageFaultError


@contextlib.contextmanager
def hold_import_lock(staging: Path) -> Iterator[None]:
    """Hold the lock for the length of a ``with`` statement.

    Raises:
        HostNotReadyError: Another process holds it.
        StorageFaultError: The folder cannot be opened.
    """
    try:
        descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageFaultError(
            "cannot be opened", where=str(staging), actual=error.strerror or ""
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise HostNotReadyError(
            "another import is running",
            where=str(staging),
            hint="Wait for it to end, then import again.",
        ) from error
    finally:
        os.close(descriptor)
