"""A file that lies inside another file, in one or several runs of bytes.

Readers of images and archives give these out. Every read is a ``pread`` at a
checked place, so that files opened from one image never move each other, and
memory is bounded by what the caller asks for at once.
"""

import io
import os
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from bundleformat.errors import LimitExceededError, StorageFaultError

_BUFFER_BYTES: Final = 65_536
"""What small reads fetch at once. Unit: bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """A run of bytes of an image; its reader checked that it lies inside."""

    offset: int
    size_bytes: int


def total_bytes(extents: tuple[Extent, ...]) -> int:
    """Return the length of the file that ``extents`` make."""
    return sum(extent.size_bytes for extent in extents)


def open_extents(image_fd: int, extents: tuple[Extent, ...]) -> BinaryIO:
    """Return the file that ``extents`` of the image make, open from its start.

    It stays readable when ``image_fd`` is closed.
    """
    return io.BufferedReader(_ExtentsFile(os.dup(image_fd), extents), _BUFFER_BYTES)


def read_extents(
    image_fd: int, extents: tuple[Extent, ...], *, max_bytes: int, where: str
) -> bytes:
    """Return the whole file that ``extents`` make.

    Raises:
        LimitExceededError: Longer than ``max_bytes``; it was not read.
        StorageFaultError: The image cannot be read.
    """
    size_bytes = total_bytes(extents)
    if size_bytes > max_bytes:
        raise LimitExceededError(
            "too long",
            where=where,
            expected=f"at most {max_bytes} bytes",
            actual=f"{size_bytes} bytes",
        )
    return b"".join(
        read_exactly(image_fd, extent.offset, extent.size_bytes, where=where)
        for extent in extents
    )


def read_exactly(image_fd: int, offset: int, size_bytes: int, *, where: str) -> bytes:
    """Return ``size_bytes`` bytes of the image. The caller MUST have capped them.

    Raises:
        StorageFaultError: They cannot be read, or the image became shorter.
    """
    blocks: list[bytes] = []
    try:
        while size_bytes:
            block = os.pread(image_fd, size_bytes, offset)
            if not block:
                raise StorageFaultError("became shorter while it was read", where=where)
            blocks.append(block)
            offset += len(block)
            size_bytes -= len(block)
    except OSError as error:
        raise StorageFaultError(
            "cannot be read", where=where, actual=error.strerror or str(error)
        ) from error
    return b"".join(blocks)


class _ExtentsFile(io.RawIOBase):
    """Reads forward through extents of an image; owns its descriptor."""

    def __init__(self, image_fd: int, extents: tuple[Extent, ...]) -> None:
        super().__init__()
        self._fd = image_fd
        self._extents = extents
        self._number = self._inside = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, target: Any, /) -> int:  # noqa: ANN401 - 3.11 has no name for a buffer
        """Read up to the end of the current extent."""
        view = memoryview(target).cast("B")
        while self._number < len(self._extents):
            extent = self._extents[self._number]
            wanted = min(len(view), extent.size_bytes - self._inside)
            if wanted or not len(view):
                return self._read(view[:wanted], extent.offset + self._inside)
            self._number, self._inside = self._number + 1, 0
        return 0

    def _read(self, view: memoryview, offset: int) -> int:
        count = os.preadv(self._fd, [view], offset) if len(view) else 0
        self._inside += count
        return count

    def close(self) -> None:
        """Close the file's own descriptor."""
        if not self.closed:
            os.close(self._fd)
        super().close()
