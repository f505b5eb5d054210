"""Writes files and folders so that they are there whole, or not at all.

What a person sees under the name they chose is complete and on the disk. Until
then it lies in a folder beside it, which is removed whatever goes wrong.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
            hint="Choose another --out, or remove it yourself first.",
        )


def check_room(path: Path, wanted_bytes: int) -> None:
    """Check that the disk on which ``path`` would lie has room for so many bytes.

    Raises:
        StorageFaultError: It has not; nothing was tried.
    """
    place = next(each for each in path.absolute().parents if each.exists())
    free_bytes = shutil.disk_usage(place).free
    if wanted_bytes > free_bytes:
        raise StorageFaultError(
            "not enough room",
            where=str(path),
            expected=f"{wanted_bytes} bytes free",
            actual=str(free_bytes),
            hint="Free space on this file system, or choose another place.",
        )


def write_new_file(path: Path, data: bytes, *, mode: int) -> None:
    """Write ``data`` to ``path``, which did not exist, and to the disk.

    Missing folders on the way are made.

    Raises:
        ConflictError: Something is there already.
        StorageFaultError: It cannot be written; nothing was left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        check_absent(path)
        raise fault(error, where=path) from error
    except OSError as error:
        raise fault(error, where=path) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise fault(error, where=path) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill; at the end of the block it becomes ``path``.

    If the block raises, or is interrupted, nothing is left of it.

    Raises:
        ConflictError: Something lies at ``path``, before or by the end.
        StorageFaultError: The disk is full or cannot be written.
    """
    check_absent(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise fault(error, where=path) from error
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o755)
        _sync_tree(partial)
        check_absent(path)
        partial.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise fault(error, where=path) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """Write ``data`` to a file inside a folder that ``new_folder`` gave."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def fault(error: OSError, *, where: Path) -> StorageFaultError:
    """Return the error of our tree that says the same as ``error``."""
    return StorageFaultError(
        "cannot be written", where=str(where), actual=error.strerror or str(error)
    )


def _sync_tree(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            _sync(Path(place, name), os.O_RDONLY)
        _sync_folder(Path(place))


def _sync_folder(folder: Path) -> None:
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
