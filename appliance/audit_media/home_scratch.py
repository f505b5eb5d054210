"""A scratch folder in the host's home, for what no medium is to hold as it is.

Who carries a stick away can read what was deleted from it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from appliance.file_lock import exclusive_lock
from appliance.home import Home
from appliance.scratch import scratch_beside
from bundleformat.errors import ConflictError, StorageFaultError

NAME: Final = "export"
"""What the scratch folders are called, between a dot and what makes each another."""


@contextmanager
def scratch_at_home(home: Home) -> Iterator[Path]:
    """Yield a private folder in the home, and remove it; one process at a time.

    What a process left that was killed at it is removed first.

    Raises:
        ConflictError: Another process is at it.
        StorageFaultError: The disk refused.
    """
    with _cleared(home), scratch_beside(home.root / NAME) as scratch:
        yield scratch


def clear_scratch(home: Home) -> None:
    """Remove what exports left that were killed; one that is being made is let be.

    Raises:
        StorageFaultError: The disk refused.
    """
    with suppress(ConflictError), _cleared(home):
        pass


@contextmanager
def _cleared(home: Home) -> Iterator[None]:
    busy = ConflictError(
        "another encrypted export is being made on this host",
        where=str(home.root),
        hint="Wait until it is done, then export again.",
    )
    with exclusive_lock(home.run / "export.lock", busy=busy):
        for left in home.root.glob(f".{NAME}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)
            if left.exists():
                raise StorageFaultError(
                    "what a killed export left cannot be removed", where=str(left)
                )
        yield
