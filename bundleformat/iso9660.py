"""Reads a bundle's files out of an ISO 9660 image, without a kernel's help.

Only the folders a volume has are walked: the root, ``metadata``, ``targets``,
``c`` and the folders below ``c``; what else lies on a disc is no part of the
bundle. In them every record is checked: both byte orders agree, every run of
bytes lies inside the image, no folder is reached twice, and whatever is neither
a regular file nor a folder refuses the image. Files above 4 GiB, which ISO 9660
records in several runs (level 3), are read; Joliet and UDF trees are not.

Source: ECMA-119 (ISO 9660), sections 6.5, 6.8 and 9.1; RRIP 1.12.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.extents import Extent, read_exactly
from bundleformat.image_file import ImageFile, Index, size_of
from bundleformat.iso_records import Record, parse_record, parse_root, split_records
from bundleformat.iso_volume import (
    DESCRIPTORS_OFFSET,
    MAX_DESCRIPTORS,
    SECTOR_BYTES,
    parse_descriptors,
)
from bundleformat.limits import DEFAULT_LIMITS, Limits

MAX_OTHER_ENTRIES: Final = 2_048
"""Most files and folders in the walked folders that are no chunks."""

MAX_FOLDER_BYTES: Final = 16 * 2**20
"""Largest folder; 32 768 chunks in one would take 9 MiB. Unit: bytes."""

MAX_RUNS: Final = 256
"""Most runs of one file; each holds up to 4 GiB."""

_WALKED = re.compile(r"|metadata|targets|c|c/[0-9a-f]{2}")


class IsoImage(ImageFile):
    """An open ISO image; a context manager that closes it."""

    def __init__(self, path: Path, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        super().__init__(path)

    def _read_index(self, image_fd: int) -> Index:
        return _Reader(image_fd, label=self.label, limits=self._limits).index()


class _Reader:
    """Walks the folders of an open image once."""

    def __init__(self, image_fd: int, *, label: str, limits: Limits) -> None:
        self._fd = image_fd
        self._label = label
        self._max_entries = limits.chunks + MAX_OTHER_ENTRIES
        self._entries = 0
        self._end = size_of(image_fd, where=label)
        self._folders: set[int] = set()
        self._files: dict[str, tuple[Extent, ...]] = {}

    def index(self) -> Index:
        """Return where every file of the walked folders lies.

        Raises:
            MalformedError, LimitExceededError, StorageFaultError: As ``ImageFile``.
        """
        descriptors = min(
            MAX_DESCRIPTORS * SECTOR_BYTES, self._end - DESCRIPTORS_OFFSET
        )
        volume = parse_descriptors(
            self._read(DESCRIPTORS_OFFSET, max(0, descriptors), where="descriptors")
        )
        if volume.size_bytes > self._end:
            raise MalformedError(
                "shorter than it says",
                where=self._label,
                expected=f"{volume.size_bytes} bytes",
                actual=f"{self._end} bytes",
                hint="Copy the image again from its source; it is incomplete.",
            )
        self._end = volume.size_bytes
        waiting = [("", parse_root(volume.root_record, where="root folder"))]
        while waiting:
            path, folder = waiting.pop()
            waiting += self._walk(path, folder)
        return self._files

    def _walk(self, path: str, folder: Record) -> list[tuple[str, Record]]:
        """Note the files of a folder; return the folders to walk next."""
        where = f"folder /{path}"
        below: dict[str, list[Record]] = {}
        before: Record | None = None
        for record in self._records(folder, where=where):
            # Runs of one file follow one another; otherwise a name comes once.
            follows = before is not None and before.more
            if follows != (record.name in below) or (
                before is not None
                and follows
                and (record.name != before.name or record.is_folder)
            ):
                raise MalformedError(
                    "twice the same name", where=where, actual=ascii(record.name)
                )
            below.setdefault(record.name, []).append(record)
            before = record
        if before is not None and before.more:
            raise MalformedError("a file without its end", where=where)
        prefix = f"{path}/" if path else ""
        for name, runs in below.items():
            if not runs[0].is_folder:
                # A name from an image may hold anything, for a terminal as well.
                shown = ascii(prefix + name)[1:-1]
                self._files[prefix + name] = self._extents(runs, where=shown)
        return [
            (prefix + name, runs[0])
            for name, runs in below.items()
            if runs[0].is_folder and _WALKED.fullmatch(prefix + name)
        ]

    def _records(self, folder: Record, *, where: str) -> Iterator[Record]:
        """Give the named records of a folder, after its entry of itself."""
        if folder.block in self._folders:
            raise MalformedError("a folder that is reached twice", where=where)
        self._folders.add(folder.block)
        if folder.size_bytes > MAX_FOLDER_BYTES:
            raise LimitExceededError(
                "folder too long",
                where=where,
                expected=f"at most {MAX_FOLDER_BYTES} bytes",
                actual=f"{folder.size_bytes} bytes",
            )
        if not folder.size_bytes or folder.size_bytes % SECTOR_BYTES:
            raise MalformedError("not whole sectors", where=where)
        data = self._read(folder.block * SECTOR_BYTES, folder.size_bytes, where=where)
        for number, raw in enumerate(split_records(data, where=where)):
            record = parse_record(raw, fetch=self._fetch, where=where)
            if number < 2:
                _check_own(record, folder, is_self=number == 0, where=where)
            elif not record.name:
                raise MalformedError("an entry of itself among others", where=where)
            else:
                self._count(where=where)
                yield record

    def _count(self, *, where: str) -> None:
        self._entries += 1
        if self._entries > self._max_entries:
            raise LimitExceededError(
                "too many files", where=where, expected=f"at most {self._max_entries}"
            )

    def _extents(self, runs: list[Record], *, where: str) -> tuple[Extent, ...]:
        if len(runs) > MAX_RUNS:
            raise LimitExceededError(
                "in too many runs", where=where, expected=f"at most {MAX_RUNS}"
            )
        for run in runs[:-1]:
            if not run.size_bytes or run.size_bytes % SECTOR_BYTES:
                raise MalformedError("a run that ends inside a sector", where=where)
        # A file without bytes lies nowhere.
        found = tuple(
            Extent(offset=run.block * SECTOR_BYTES, size_bytes=run.size_bytes)
            for run in runs
            if run.size_bytes
        )
        for extent in found:
            self._check_inside(extent.offset, extent.size_bytes, where=where)
        return found

    def _fetch(self, block: int, offset: int, size_bytes: int) -> bytes:
        return self._read(block * SECTOR_BYTES + offset, size_bytes, where="names")

    def _read(self, offset: int, size_bytes: int, *, where: str) -> bytes:
        self._check_inside(offset, size_bytes, where=where)
        return read_exactly(self._fd, offset, size_bytes, where=self._label)

    def _check_inside(self, offset: int, size_bytes: int, *, where: str) -> None:
        if offset + size_bytes > self._end:
            raise MalformedError(
                "lies outside the image",
                where=where,
                expected=f"at most {self._end} bytes",
                actual=f"bytes {offset} to {offset + size_bytes}",
                hint="Copy the image again from its source; it is incomplete.",
            )


def _check_own(record: Record, folder: Record, *, is_self: bool, where: str) -> None:
    """Check the entries every folder begins with: itself, then its parent."""
    if record.name or not record.is_folder or record.is_self != is_self:
        raise MalformedError("does not begin with itself and its parent", where=where)
    if is_self and (record.block, record.size_bytes) != (
        folder.block,
        folder.size_bytes,
    ):
        raise MalformedError("lies elsewhere than its parent says", where=where)
