"""Changes a folder in use: one command at a time, one rename at a time.

Whoever looks at the folder meanwhile, or after a power cut, sees each file as it
was or as it is now, and never a part of it.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundleformat.errors import ConflictError, MissingError
from bundler.pack import fault


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, so that no other command changes it meanwhile.

    Raises:
        ConflictError: Another command holds it.
        MissingError: There is no such folder.
        StorageFaultError: It cannot be locked.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError("no such folder", where=str(folder)) from error
    except OSError as error:
        raise fault(error, where=folder) from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` by one rename, so that it is there whole or not.

    Raises:
        StorageFaultError: It cannot be written; what was there is as it was.
    """
    partial: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        partial.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise fault(error, where=path) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConflictError(
            "another command is changing this folder",
            where=str(folder),
            hint="Wait until it has ended, and try again.",
        ) from error
    except OSError as error:
        raise fault(error, where=folder) from error
