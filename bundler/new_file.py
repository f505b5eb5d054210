"""Writes one large file so that it is there whole, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bundler.pack import check_absent, fault


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write; at the end of the block it becomes ``path``.

    If the block raises, or is interrupted, nothing is left of it.

    Raises:
        ConflictError: Something lies at ``path``, before or by the end.
        StorageFaultError: The disk is full or cannot be written.
    """
    check_absent(path)
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        check_absent(path)
        partial.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise fault(error, where=path) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
