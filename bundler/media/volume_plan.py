"""Which chunk goes on which volume; pure.

A volume is counted as a file system of large clusters would hold it, so that what
fits by this count fits a stick of FAT32 and, with room to spare, a disc.
"""

import re
from collections.abc import Sequence
from typing import Final

from bundleformat.errors import LimitExceededError, UsageError
from bundleformat.layout import chunk_path
from bundleformat.manifest import Chunk
from bundleformat.volume_hint import MAX_VOLUMES

CLUSTER_BYTES: Final = 32 * 2**10
"""What every file and folder is rounded up to: the largest cluster of FAT32.

Unit: bytes. Source: Microsoft FAT32 File System Specification, "BPB_SecPerClus".
"""

HINT_BYTES_PER_CHUNK: Final = 67
"""What ``volume.json`` grows by with a chunk: 64 digits, quotes, a comma."""

CAPACITIES: Final = {
    "fat32": 2**32 - 1,
    "cd": 360_000 * 2_048,
    "dvd": 2_295_104 * 2_048,
    "dvd-dl": 4_171_712 * 2_048,
    "bd25": 11_826_176 * 2_048,
    "bd100": 47_305_728 * 2_048,
}
"""What a medium of each name holds. Unit: bytes.

- ``fat32``: the largest file FAT32 can hold, so that a volume fits a stick even as
  one ``.mbundle`` or one ISO image. A folder fits FAT32 anyway, because no chunk is
  larger than 1 GiB.
- ``cd``: 80 minutes of 75 sectors a second. Source: ECMA-394, mode 1.
- ``dvd``: DVD+R, which holds a little less than DVD-R. Source: ECMA-349.
- ``dvd-dl``: DVD-R for dual layer, which holds a little less than DVD+R DL.
  Source: ECMA-382.
- ``bd25``: BD-R of one layer, 12 219 392 sectors, less the 768 MiB of spare areas
  that burning programs set aside by default. Source: Blu-ray Disc Format, part 1.
- ``bd100``: BD-R XL of three layers, 48 878 592 sectors, less 1 GiB a layer for
  spare areas.
"""

RESERVE_PERCENT: Final = 1
"""What a preset leaves free: the file system's own structures, and an image's."""

MIN_VOLUME_BYTES: Final = 2**20
"""Smallest volume that can be asked for. Unit: bytes."""

MAX_VOLUME_BYTES: Final = 2**50
"""Largest one; more would mean a slip of the finger. Unit: bytes."""

_UNITS: Final = {"MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(r"([1-9][0-9]{0,8})(MiB|GiB)", re.ASCII)


def parse_volume_size(text: str) -> int:
    """Return how many bytes a volume may take, from ``dvd`` or ``64GiB``.

    Raises:
        UsageError: Neither a preset nor a size a volume may have.
    """
    if text in CAPACITIES:
        return CAPACITIES[text] * (100 - RESERVE_PERCENT) // 100
    found = _SIZE.fullmatch(text)
    size_bytes = int(found[1]) * _UNITS[found[2]] if found else 0
    if not MIN_VOLUME_BYTES <= size_bytes <= MAX_VOLUME_BYTES:
        raise UsageError(
            "not a size of a volume",
            where="--volume-size",
            expected=f"{', '.join(CAPACITIES)}, or a size such as 700MiB or 64GiB",
            actual=ascii(text),
        )
    return size_bytes


def plan_volumes(
    chunks: Sequence[Chunk], *, volume_bytes: int, shared_sizes: Sequence[int]
) -> tuple[tuple[Chunk, ...], ...]:
    """Return the chunks of every volume, each chunk once; at least one volume.

    Each goes to the first volume with room for it, so volumes fill up and what
    follows one another in the manifest stays together. ``shared_sizes`` are the
    lengths of the files that every volume repeats.

    Raises:
        LimitExceededError: A chunk does not fit a volume, or too many volumes.
    """
    plan = [_Load()]
    room = volume_bytes - _shared_bytes(shared_sizes)
    for chunk in dict.fromkeys(chunks):
        _check_fits(chunk, room=room, volume_bytes=volume_bytes)
        for load in plan:
            if load.cost_of(chunk) <= room - load.taken_bytes:
                break
        else:
            load = _Load()
            plan.append(load)
        load.add(chunk)
    if len(plan) > MAX_VOLUMES:
        raise LimitExceededError(
            "too many volumes",
            where="--volume-size",
            expected=f"at most {MAX_VOLUMES}",
            actual=str(len(plan)),
            hint="Choose larger volumes.",
        )
    return tuple(tuple(load.chunks) for load in plan)


class _Load:
    """What lies on one volume so far."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.taken_bytes = 0
        self._folders: set[str] = set()

    def cost_of(self, chunk: Chunk) -> int:
        """Return what ``chunk`` would take here: a new folder at times, too."""
        new = chunk.sha256[:2] not in self._folders
        return _cost(chunk, new_folder=new)

    def add(self, chunk: Chunk) -> None:
        """Put ``chunk`` here."""
        self.taken_bytes += self.cost_of(chunk)
        self._folders.add(chunk.sha256[:2])
        self.chunks.append(chunk)


def _cost(chunk: Chunk, *, new_folder: bool) -> int:
    folder = CLUSTER_BYTES if new_folder else 0
    return _clusters(chunk.size_bytes) + HINT_BYTES_PER_CHUNK + folder


def _clusters(size_bytes: int) -> int:
    return -(-size_bytes // CLUSTER_BYTES) * CLUSTER_BYTES


def _shared_bytes(sizes: Sequence[int]) -> int:
    # Four folders (the volume's own, metadata, targets, c), and the hint.
    return sum(_clusters(size) for size in sizes) + 5 * CLUSTER_BYTES


def _check_fits(chunk: Chunk, *, room: int, volume_bytes: int) -> None:
    if _cost(chunk, new_folder=True) <= room:
        return
    raise LimitExceededError(
        "a chunk is larger than what a volume has room for",
        where=chunk_path(chunk.sha256),
        expected=f"at most {max(0, room)} bytes beside the metadata",
        actual=f"{chunk.size_bytes} bytes",
        hint=_hint(room, volume_bytes),
    )


def _hint(room: int, volume_bytes: int) -> str:
    fitting = room - CLUSTER_BYTES - HINT_BYTES_PER_CHUNK
    if fitting < CLUSTER_BYTES:
        return f"Choose volumes larger than {volume_bytes} bytes."
    size_kib = 2 ** ((fitting // 2**10).bit_length() - 1)
    shown = f"{size_kib // 1024}MiB" if size_kib >= 1024 else f"{size_kib}KiB"
    return (
        f"Choose larger volumes, or build the bundle again with --chunk-size {shown}."
    )
