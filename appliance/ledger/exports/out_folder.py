"""A folder for somebody to take away: there complete and on disk, or not at all.

Nothing that exists is ever written into or over.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from appliance.durable import sync_folder
from appliance.scratch import scratch_beside
from bundleformat.errors import ConflictError, MissingError


def check_place(folder: Path) -> None:
    """Check that ``folder`` is not there and could be.

    Raises:
        ConflictError: Something of that name is there.
        MissingError: The folder it should lie in is not.
    """
    if os.path.lexists(folder):
        raise ConflictError(
            "something of that name is there",
            where=str(folder),
            hint="Name a folder that does not exist yet.",
        )
    if not folder.absolute().parent.is_dir():
        raise MissingError(
            "the folder it should lie in does not exist",
            where=str(folder.absolute().parent),
        )


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder that becomes ``folder`` on success and vanishes on failure.

    Raises:
        StorageFaultError: The disk refused, here or within the ``with`` block.
    """
    final = folder.absolute()
    with scratch_beside(folder) as partial:
        yield partial
        sync_folder(partial)
        partial.rename(final)
        sync_folder(final.parent)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file whose bytes are on disk afterwards.

    Raises:
        OSError: The disk refused, or a file of that name is there.
    """
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_new(path: Path, data: bytes) -> None:
    """Write a new file whose bytes are on disk afterwards.

    Raises:
        OSError: The disk refused, or a file of that name is there.
    """
    with new_file(path) as file:
        file.write(data)
