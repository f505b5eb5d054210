"""Makes names survive power loss.

Syncing a file makes its bytes durable; its name lives in the folder, which has
to be synced too. Source: fsync(2), "Notes".
"""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive power loss.

    Raises:
        OSError: The disk refused; the caller knows what that means.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
