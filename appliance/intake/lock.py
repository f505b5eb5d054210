"""One import, collection or rollback at a time on a host.

The lock is taken on the staging folder itself, because whoever holds it owns
what lies there.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import HostNotReadyError
from appliance.file_lock import exclusive_folder_lock


@contextlib.contextmanager
def hold_import_lock(staging: Path) -> Iterator[None]:
    """Hold the lock for the length of a ``with`` statement.

    Raises:
        HostNotReadyError: Another process holds it.
        StorageFaultError: The folder cannot be opened or locked.
    """
    busy = HostNotReadyError(
        "another import, collection or rollback is running",
        where=str(staging),
        hint="Wait for it to end, then run this again.",
    )
    with exclusive_folder_lock(staging, busy=busy):
        yield
