"""A medium, opened so that nothing on it can lead anywhere else.

Every path is walked from one folder descriptor, part by part, without following
links; only regular files are opened. A symbolic link, FIFO, socket, device or
folder in the place of a file is refused, and a FIFO cannot make the reader wait.
This module reads; it decides nothing about what it read.
"""

import errno
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from bundleformat.errors import (
    LimitExceededError,
    MalformedError,
    MissingError,
    StorageFaultError,
)
from bundleformat.paths import ArchivePath

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Volume:
    """An open folder; a context manager that closes it.

    Attributes:
        folder: The folder.
        label: How messages call it: the path given.
    """

    def __init__(self, folder: Path) -> None:
        """Open ``folder``, which may itself be reached through links.

        Raises:
            MissingError: There is no such folder.
            StorageFaultError: It cannot be read.
        """
        self.folder = folder
        self.label = str(folder)
        try:
            self._root_fd = os.open(folder, _FOLDER_FLAGS)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingError(
                "no such folder",
                where=str(folder),
                hint="Name the folder that holds metadata/ and c/.",
            ) from error
        except OSError as error:
            raise _fault(error, where=str(folder)) from error

    def close(self) -> None:
        """Close the medium; files opened from it stay open."""
        if self._root_fd >= 0:
            os.close(self._root_fd)
            self._root_fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def exists(self, path: ArchivePath) -> bool:
        """Return whether a regular file lies at ``path``.

        Raises:
            MalformedError: Something else lies there.
        """
        try:
            self.open(path).close()
        except MissingError:
            return False
        return True

    def open(self, path: ArchivePath) -> BinaryIO:
        """Return the file at ``path``, open for reading from its start.

        Raises:
            MissingError: Nothing lies there.
            MalformedError: It, or a folder on the way, is not what it should be.
            StorageFaultError: The medium cannot be read.
        """
        *folders, name = path.split("/")
        folder_fd = self._open_folder(folders, where=path)
        try:
            # Asked before opening, because opening a device can have effects;
            # asked again afterwards, because the name may have been swapped.
            _check_regular(
                os.stat(name, dir_fd=folder_fd, follow_symlinks=False), where=path
            )
            file_fd = os.open(name, _FILE_FLAGS, dir_fd=folder_fd)
        except OSError as error:
            raise _translated(error, where=path) from error
        finally:
            os.close(folder_fd)
        try:
            _check_regular(os.fstat(file_fd), where=path)
            return os.fdopen(file_fd, "rb")
        except BaseException:
            os.close(file_fd)
            raise

    def read(self, path: ArchivePath, *, max_bytes: int) -> bytes:
        """Return the whole file at ``path``.

        Raises:
            LimitExceededError: Longer than ``max_bytes``; it was not read.
            MissingError, MalformedError, StorageFaultError: As ``open``.
        """
        try:
            with self.open(path) as file:
                size_bytes = os.fstat(file.fileno()).st_size
                data = b"" if size_bytes > max_bytes else file.read(max_bytes + 1)
        except OSError as error:
            raise _fault(error, where=path) from error
        if max(size_bytes, len(data)) > max_bytes:
            raise LimitExceededError(
                "too long",
                where=path,
                expected=f"at most {max_bytes} bytes",
                actual=f"{max(size_bytes, len(data))} bytes",
            )
        return data

    def names(self, folder: ArchivePath, *, max_entries: int) -> tuple[str, ...]:
        """Return the names in ``folder``, ascending. They are not checked names.

        Raises:
            MissingError: There is no such folder.
            LimitExceededError: More than ``max_entries``.
        """
        folder_fd = self._open_folder(folder.split("/"), where=folder)
        found: list[str] = []
        try:
            with os.scandir(folder_fd) as entries:
                for entry in entries:
                    found.append(entry.name)
                    if len(found) > max_entries:
                        raise LimitExceededError(
                            "too many files",
                            where=folder,
                            expected=f"at most {max_entries}",
                        )
        except OSError as error:
            raise _fault(error, where=folder) from error
        finally:
            os.close(folder_fd)
        return tuple(sorted(found))

    def _open_folder(self, parts: list[str], *, where: str) -> int:
        current = os.dup(self._root_fd)
        try:
            for part in parts:
                below = os.open(part, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=current)
                os.close(current)
                current = below
        except OSError as error:
            os.close(current)
            raise _translated(error, where=where) from error
        return current


def _check_regular(status: os.stat_result, *, where: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise MalformedError(
            "not a regular file",
            where=where,
            expected="a regular file",
            actual=stat.filemode(status.st_mode),
            hint="Links and special files have no place in a bundle; do not use "
            "this medium.",
        )


def _translated(
    error: OSError, *, where: str
) -> MissingError | MalformedError | StorageFaultError:
    if error.errno == errno.ENOENT:
        return MissingError(
            "not on this medium",
            where=where,
            hint="Check that the whole bundle was copied, and that this is its folder.",
        )
    # Without O_NOFOLLOW's ELOOP, Linux says ENOTDIR of a link to a folder.
    if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
        return MalformedError("a link or special file on the way", where=where)
    return _fault(error, where=where)


def _fault(error: OSError, *, where: str) -> StorageFaultError:
    return StorageFaultError(
        "cannot be read", where=where, actual=error.strerror or str(error)
    )
