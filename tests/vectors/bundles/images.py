"""ISO images that lie about where things are, or hold what no bundle has.

Nothing here needs a key. Each holds the whole good bundle, and one thing otherwise.
An image is mostly zeros, so these are made when they are wanted.
"""

import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from bundleformat.layout import TIMESTAMP_PATH
from tests.support.iso_bytes import (
    FILE_MODE,
    FOLDER_MODE,
    SECTOR,
    Iso,
    both,
    ce,
    entry,
    iso_image,
    nm,
    px,
)
from tests.vectors.bundles.case import LIMIT, MALFORMED, Case, of_media
from tests.vectors.bundles.chunks import SITE
from tests.vectors.bundles.estate import bundle
from tests.vectors.bundles.forge import ROOT_PATH

CHUNK: Final = SITE[1]
NAME: Final = nm(CHUNK.rpartition("/")[2].encode())
ROOT_RECORD: Final = 16 * SECTOR + 156

Change = Callable[[Iso], object]

ROCK_RIDGE: Final = {
    "symbolic-link": px(stat.S_IFLNK | 0o777) + NAME + entry(b"SL", b"\0\0\1x"),
    "link-said-to-be-a-file": px(FILE_MODE) + NAME + entry(b"SL", b"\0\0\1x"),
    "device": px(stat.S_IFCHR) + NAME + entry(b"PN", both(1, 4) + both(5, 4)),
    "fifo": px(stat.S_IFIFO) + NAME,
    "socket": px(stat.S_IFSOCK) + NAME,
    "relocated-folder": px(FILE_MODE) + NAME + entry(b"CL", both(20, 4)),
    "sparse-file": px(FILE_MODE) + NAME + entry(b"SF", bytes(17)),
    "compressed-file": px(FILE_MODE) + NAME + entry(b"ZF", b"pz" + bytes(10)),
    "unknown-entry": px(FILE_MODE) + NAME + entry(b"QQ", b""),
    "two-names": px(FILE_MODE) + NAME + nm(b"x"),
    "two-modes": px(FILE_MODE) + px(FOLDER_MODE) + NAME,
    "parent-for-a-name": px(FILE_MODE) + nm(b"", flags=4),
    "name-that-climbs": px(FILE_MODE) + nm(b".."),
    "name-with-a-slash": px(FILE_MODE) + nm(b"../../etc/passwd"),
    "name-with-a-zero-byte": px(FILE_MODE) + nm(CHUNK[-64:].encode() + b"\0"),
    "no-rock-ridge": b"",
    "continuation-outside": px(FILE_MODE) + NAME + ce(10**6, 0, 10),
    "entry-past-its-record": px(FILE_MODE) + NAME + b"TF\xff\x01",
}
"""What can be said of a chunk instead of its name and mode."""


FOLDER: Final = f"folder /{CHUNK.rpartition('/')[0]}"
"""Where the chunk's record lies, as a refusal names it."""

DESCRIPTORS: Final = "volume descriptors"
PRIMARY: Final = "primary volume descriptor"
NAMED: Final = f"{FOLDER}: {CHUNK.rpartition('/')[2]!a}"


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    for name, use in ROCK_RIDGE.items():
        where = {
            "fifo": NAMED,
            "socket": NAMED,
            "continuation-outside": "names",
        }.get(name, FOLDER)
        yield _of(name, MALFORMED, where, partial(_image, {CHUNK: use}))
    for where, changes in _changes().items():
        for name, change in changes.items():
            yield _of(name, MALFORMED, where, partial(_changed, change))
    yield _of(
        "folder-above-its-limit",
        LIMIT,
        "folder /metadata",
        lambda: _changed(_field("metadata", 10, both(2**31, 4))),
    )
    yield _of("continuation-of-itself", LIMIT, FOLDER, _continuation_of_itself)
    yield _of("file-that-shadows-the-timestamp", MALFORMED, "folder /", _shadow)


def _changes() -> dict[str, dict[str, Change]]:
    """Return what can be wrong elsewhere, by the place that is named."""
    return {
        "medium.iso": {"cut": _cut(-SECTOR)},
        DESCRIPTORS: {
            "without-its-descriptors": _cut(17 * SECTOR),
            "without-an-end-of-descriptors": _put(17 * SECTOR, bytes(7)),
            "two-primary-volumes": _two_primaries,
        },
        PRIMARY: {
            "size-in-two-byte-orders": _put(
                16 * SECTOR + 80, both(50, 4)[:4] + both(51, 4)[4:]
            ),
            "sectors-of-512": _put(16 * SECTOR + 128, both(512, 2)),
            "second-of-two-volumes": _put(16 * SECTOR + 120, both(2, 2) * 2),
        },
        "folder /": {"root-folder-outside": _put(ROOT_RECORD + 2, both(10**6, 4))},
        "root folder": {"root-folder-that-is-a-file": _put(ROOT_RECORD + 25, b"\0")},
        "folder /: 'metadata'": {
            "folder-that-is-a-file": _field("metadata", 25, b"\0")
        },
        "folder /metadata": {
            "folder-reached-twice": _twice,
            "folder-outside": _field("metadata", 2, both(2**32 - 1, 4)),
            "folder-of-no-size": _field("metadata", 10, both(0, 4)),
            "folder-of-half-a-sector": _field("metadata", 10, both(SECTOR - 1, 4)),
            "name-twice": _name_twice,
        },
        "folder /targets": {
            "bytes-behind-the-last-record": lambda image: image.put(
                image.folders["targets"] + SECTOR - 1, b"\x01"
            )
        },
        NAMED: {"file-that-is-a-folder": _field(CHUNK, 25, b"\x02")},
        CHUNK: {
            "file-outside": _field(CHUNK, 2, both(2**31, 4)),
            "file-that-ends-outside": _field(CHUNK, 10, both(2**32 - 1, 4)),
        },
        FOLDER: {
            "folder-in-itself": _cycle,
            "file-at-two-places": _field(CHUNK, 2, both(40, 4)[:4] + both(41, 4)[4:]),
            "file-of-two-sizes": _field(CHUNK, 10, both(5, 4)[:4] + both(6, 4)[4:]),
            "file-without-its-last-run": _field(CHUNK, 25, b"\x80"),
            "file-interleaved": _field(CHUNK, 26, b"\x01"),
            "file-hidden": _field(CHUNK, 25, b"\x01"),
            "file-with-attributes": _field(CHUNK, 1, b"\x01"),
            "file-on-another-disc": _field(CHUNK, 28, both(2, 2)),
            "record-too-short": _field(CHUNK, 0, b"\x21"),
            "record-with-a-long-name": _field(CHUNK, 32, b"\xff"),
        },
    }


def _of(name: str, code: str, where: str, data: Callable[[], bytes]) -> Case:
    def make(folder: Path) -> list[Path]:
        (folder / "medium.iso").write_bytes(data())
        return [folder / "medium.iso"]

    return of_media(name, code, where, make)


def _cut(begin: int) -> Change:
    return lambda image: image.data.__delitem__(slice(begin, None))


def _image(system_use: dict[str, bytes] | None = None) -> bytes:
    return bytes(iso_image(bundle(), system_use=system_use).data)


def _changed(change: Change) -> bytes:
    image = iso_image(bundle())
    change(image)
    return bytes(image.data)


def _put(offset: int, value: bytes) -> Change:
    return lambda image: image.put(offset, value)


def _field(path: str, offset: int, value: bytes) -> Change:
    return lambda image: image.put(image.records[path] + offset, value)


def _two_primaries(image: Iso) -> None:
    image.data[17 * SECTOR : 18 * SECTOR] = image.data[16 * SECTOR : 17 * SECTOR]
    image.put(18 * SECTOR, b"\xffCD001\x01")


def _cycle(image: Iso) -> None:
    block = image.folders["c"] // SECTOR
    image.put(image.records[CHUNK.rpartition("/")[0]] + 2, both(block, 4))


def _twice(image: Iso) -> None:
    block = image.folders["targets"] // SECTOR
    image.put(image.records["metadata"] + 2, both(block, 4))


def _name_twice(image: Iso) -> None:
    start = image.records[ROOT_PATH]
    length = image.data[start]
    image.put(start + length, image.data[start : start + length])
    image.put(start + 2 * length, bytes(image.data[start + 2 * length]))


def _continuation_of_itself() -> bytes:
    loop = ce(19, 0, 28)
    image = iso_image(bundle(), system_use={CHUNK: px(FILE_MODE) + NAME + loop})
    image.put(19 * SECTOR, loop)
    return bytes(image.data)


def _shadow() -> bytes:
    """Return an image in which one path leads to two files, one in the root folder."""
    evil = {"evil": b"{}", **bundle()}
    use = px(FILE_MODE) + nm(TIMESTAMP_PATH.encode())
    return bytes(iso_image(evil, system_use={"evil": use}).data)
