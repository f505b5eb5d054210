"""A medium inside one file or block device, whose index was read when it opened.

A subclass reads the index of its format, checks that every file lies inside the
image, and hands over where. From then on a name only answers the question whether
a wanted file is there; nothing is ever written under a name from an image.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from bundleformat.errors import (
    LimitExceededError,
    MalformedError,
    MissingError,
    StorageFaultError,
)
from bundleformat.extents import Extent, open_extents, read_extents
from bundleformat.paths import ArchivePath

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

Index = Mapping[str, tuple[Extent, ...]]
"""Where the bytes of every file lie, by path."""


class ImageFile:
    """An open image; a context manager that closes it.

    Attributes:
        label: How messages call it: the path given.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path`` and read its index.

        Raises:
            MissingError: There is no such file.
            MalformedError: Neither a regular file nor a block device, or one that
                breaks its format in any bit of its structure.
            LimitExceededError: It has too many files, or a file too large.
            StorageFaultError: It cannot be read.
        """
        self.label = str(path)
        self._fd = open_image(path)
        try:
            self._files = self._read_index(self._fd)
        except BaseException:
            self.close()
            raise

    def _read_index(self, image_fd: int) -> Index:
        """Return where every file lies, all of them inside the image."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the image; files opened from it stay open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

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
        """Return whether a file of that path is inside."""
        return path in self._files

    def open(self, path: ArchivePath) -> BinaryIO:
        """Return the file at ``path``, open for reading from its start.

        Raises:
            MissingError: It is not inside.
        """
        return open_extents(self._fd, self._find(path))

    def read(self, path: ArchivePath, *, max_bytes: int) -> bytes:
        """Return the whole file at ``path``.

        Raises:
            LimitExceededError: Longer than ``max_bytes``; it was not read.
            MissingError: It is not inside.
            StorageFaultError: It cannot be read.
        """
        return read_extents(self._fd, self._find(path), max_bytes=max_bytes, where=path)

    def names(self, folder: ArchivePath, *, max_entries: int) -> tuple[str, ...]:
        """Return the names directly below ``folder``, ascending.

        Raises:
            MissingError: Nothing lies below it.
            LimitExceededError: More than ``max_entries``.
        """
        prefix = f"{folder}/"
        found = {
            path.removeprefix(prefix).split("/")[0]
            for path in self._files
            if path.startswith(prefix)
        }
        if not found:
            raise _missing(folder, label=self.label)
        if len(found) > max_entries:
            raise LimitExceededError(
                "too many files", where=folder, expected=f"at most {max_entries}"
            )
        return tuple(sorted(found))

    def _find(self, path: ArchivePath) -> tuple[Extent, ...]:
        try:
            return self._files[path]
        except KeyError:
            raise _missing(path, label=self.label) from None


def open_image(path: Path) -> int:
    """Return a descriptor of ``path``, which may itself be reached through links.

    Raises:
        MissingError: There is no such file.
        MalformedError: It is neither a regular file nor a block device.
        StorageFaultError: It cannot be read.
    """
    try:
        # Asked before opening, because opening a device can have effects; asked
        # again afterwards, because the name may have been swapped.
        _check_kind(path.stat(), where=str(path))
        descriptor = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError("no such file", where=str(path)) from error
    except OSError as error:
        raise _fault(error, where=str(path)) from error
    try:
        _check_kind(os.fstat(descriptor), where=str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def size_of(descriptor: int, *, where: str) -> int:
    """Return the length of an open file or block device. Unit: bytes.

    Raises:
        StorageFaultError: It cannot be asked.
    """
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    except OSError as error:
        raise _fault(error, where=where) from error


def _check_kind(status: os.stat_result, *, where: str) -> None:
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISBLK(status.st_mode):
        raise MalformedError(
            "not a medium",
            where=where,
            expected="a folder, a .mbundle file, an ISO image or a disc's device",
            actual=stat.filemode(status.st_mode),
        )


def _missing(path: ArchivePath, *, label: str) -> MissingError:
    return MissingError(
        "not on this medium",
        where=path,
        actual=f"no such file in {label}",
        hint="Check that this is the whole bundle, or name its other volumes, too.",
    )


def _fault(error: OSError, *, where: str) -> StorageFaultError:
    return StorageFaultError(
        "cannot be read", where=where, actual=error.strerror or str(error)
    )
