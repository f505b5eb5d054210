"""Reads a ``.mbundle``: a whole volume in one uncompressed ustar file.

Its files lie in one order (``order_of``): metadata, targets, the files beside
them, then chunks ascending by digest. So no name can be there twice, and a host
has all metadata before the first chunk. Headers have one spelling (``ustar.py``),
padding is zero, two zero blocks end the file, and nothing follows them. All of
that is read once, when the file is opened, under a cap on entries; payload is
then read where it lies.
"""

import re
from pathlib import Path
from typing import Final

from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.extents import Extent, read_exactly
from bundleformat.image_file import ImageFile, Index, size_of
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.ustar import BLOCK_BYTES, END, Header, decode_header, padding_of

MAX_OTHER_FILES: Final = 1_024
"""Most files of a ``.mbundle`` that are no chunks."""

_CHUNK = re.compile(r"c/([0-9a-f]{2})/\1[0-9a-f]{62}")
_FOLDERS: Final = {"metadata": 0, "targets": 1}


class SingleFile(ImageFile):
    """An open ``.mbundle``; a context manager that closes it."""

    def __init__(self, path: Path, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        super().__init__(path)

    def _read_index(self, image_fd: int) -> Index:
        reader = _Reader(image_fd, label=self.label, limits=self._limits)
        return {entry.path: (extent,) for entry, extent in reader.entries()}


class _Reader:
    """Walks the headers of an open file once, from its start to its end."""

    def __init__(self, image_fd: int, *, label: str, limits: Limits) -> None:
        self._fd = image_fd
        self._label = label
        self._limits = limits
        self._end = size_of(image_fd, where=label)

    def entries(self) -> list[tuple[Header, Extent]]:
        """Return every file and where it lies.

        Raises:
            MalformedError, LimitExceededError, StorageFaultError: As ``ImageFile``.
        """
        found: list[tuple[Header, Extent]] = []
        offset, before = 0, (-1, "")
        while (block := self._block(offset)) != END[:BLOCK_BYTES]:
            where = f"header at byte {offset}"
            self._check_count(len(found) + 1, where=where)
            header = decode_header(block, where=where)
            order = order_of(header.path, where=where)
            if before >= order:
                raise MalformedError(
                    "twice the same file, or not in order",
                    where=where,
                    actual=f"{order[1]!a} after {before[1]!a}",
                )
            extent = Extent(offset=offset + BLOCK_BYTES, size_bytes=header.size_bytes)
            self._check_file(header, extent)
            found.append((header, extent))
            before = order
            offset += BLOCK_BYTES + header.size_bytes + padding_of(header.size_bytes)
        self._check_end(offset)
        _check_times(found)
        return found

    def _block(self, offset: int) -> bytes:
        if self._end - offset < BLOCK_BYTES:
            raise MalformedError(
                "ends in the middle",
                where=f"byte {offset}",
                hint="Copy the file again from its source; it is incomplete.",
            )
        return read_exactly(self._fd, offset, BLOCK_BYTES, where=self._label)

    def _check_count(self, number: int, *, where: str) -> None:
        most = self._limits.chunks + MAX_OTHER_FILES
        if number > most:
            raise LimitExceededError(
                "too many files", where=where, expected=f"at most {most}"
            )

    def _check_file(self, header: Header, extent: Extent) -> None:
        if header.size_bytes > self._limits.chunk_bytes:
            raise LimitExceededError(
                "too long",
                where=header.path,
                expected=f"at most {self._limits.chunk_bytes} bytes",
                actual=f"{header.size_bytes} bytes",
            )
        stop, padding = extent.offset + header.size_bytes, padding_of(header.size_bytes)
        if stop + padding > self._end:
            raise MalformedError(
                "ends in the middle of a file",
                where=header.path,
                hint="Copy the file again from its source; it is incomplete.",
            )
        if any(read_exactly(self._fd, stop, padding, where=header.path)):
            raise MalformedError("padded with other than zeros", where=header.path)

    def _check_end(self, offset: int) -> None:
        if self._end - offset != len(END) or any(self._block(offset + BLOCK_BYTES)):
            raise MalformedError(
                "does not end with two blocks of zeros",
                where=f"byte {offset}",
                expected=f"{offset + len(END)} bytes in all",
                actual=f"{self._end} bytes",
            )


def _check_times(found: list[tuple[Header, Extent]]) -> None:
    for header, _ in found:
        if header.modified_s != found[0][0].modified_s:
            raise MalformedError("of another time than the first", where=header.path)


def order_of(path: str, *, where: str) -> tuple[int, str]:
    """Return where ``path`` comes in a ``.mbundle``; its files ascend by that.

    Raises:
        MalformedError: No file of a volume has such a path.
    """
    folder, _, name = path.rpartition("/")
    if not folder:
        return (2, name)
    if folder in _FOLDERS:
        return (_FOLDERS[folder], name)
    if not _CHUNK.fullmatch(path):
        raise MalformedError("not a path of a bundle", where=where, actual=ascii(path))
    return (3, name)
