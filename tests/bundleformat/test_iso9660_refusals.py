"""Every way an ISO image can be wrong, each with an image of its own."""

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.iso9660 import MAX_OTHER_ENTRIES, IsoImage
from bundleformat.iso_records import split_records
from bundleformat.limits import DEFAULT_LIMITS
from tests.bundleformat.test_iso9660 import CHUNK, DIGEST, FILES, OTHER, written
from tests.support.iso_bytes import (
    FILE_MODE,
    SECTOR,
    SP,
    Iso,
    both,
    ce,
    entry,
    iso_image,
    nm,
    primary,
    px,
    record,
)

Change = Callable[[Iso], object]

ROOT = 16 * SECTOR + 156
"""Where the descriptor's record of the root folder lies."""


def field(path: str, offset: int, value: bytes) -> Change:
    return lambda image: image.put(image.records[path] + offset, value)


def descriptor(offset: int, value: bytes) -> Change:
    return lambda image: image.put(16 * SECTOR + offset, value)


def truncated(image: Iso) -> None:
    del image.data[-SECTOR:]


def cycle(image: Iso) -> None:
    block = image.folders["c"] // SECTOR
    image.put(image.records["c/ab"] + 2, both(block, 4))


def twice_the_same_folder(image: Iso) -> None:
    block = image.folders["c/cd"] // SECTOR
    image.put(image.records["c/ab"] + 2, both(block, 4))


def twice_the_same_name(image: Iso) -> None:
    start = image.records["metadata/1.root.json"]
    length = image.data[start]
    image.put(start + length, image.data[start : start + length])
    image.put(start + 2 * length, bytes(200))


def no_parent(image: Iso) -> None:
    start = image.folders["metadata"]
    second = start + image.data[start]
    image.put(second + 33, b"\x00")


def two_primaries(image: Iso) -> None:
    image.data[17 * SECTOR : 18 * SECTOR] = image.data[16 * SECTOR : 17 * SECTOR]
    image.put(18 * SECTOR, b"\xffCD001\x01")


def behind_the_last(image: Iso) -> None:
    image.put(image.folders["targets"] + SECTOR - 1, b"\x01")


MALFORMED: dict[str, Change] = {
    "no end of descriptors": lambda image: image.put(17 * SECTOR, bytes(7)),
    "no primary volume": descriptor(0, b"\x02"),
    "two primary volumes": two_primaries,
    "version": descriptor(6, b"\x02"),
    "structure version": descriptor(881, b"\x02"),
    "block size": descriptor(128, both(512, 2)),
    "size in two orders": descriptor(80, both(50, 4)[:4] + both(51, 4)[4:]),
    "second volume of two": descriptor(120, both(2, 2) + both(2, 2)),
    "shorter than it says": truncated,
    "root record length": lambda image: image.put(ROOT, b"\x23"),
    "root is a file": lambda image: image.put(ROOT + 25, b"\x00"),
    "root is not itself": lambda image: image.put(ROOT + 33, b"\x01"),
    "root larger than its own account": lambda image: image.put(
        ROOT + 10, both(2 * SECTOR, 4)
    ),
    "root outside": lambda image: image.put(ROOT + 2, both(10**6, 4)),
    "folder outside": field("metadata", 2, both(2**32 - 1, 4)),
    "folder not whole sectors": field("metadata", 10, both(SECTOR - 1, 4)),
    "folder empty": field("metadata", 10, both(0, 4)),
    "folder larger than its own account": field("metadata", 10, both(2 * SECTOR, 4)),
    "folder without its parent": no_parent,
    "folder in itself": cycle,
    "folder reached twice": twice_the_same_folder,
    "file outside": field(CHUNK, 2, both(2**31, 4)),
    "file ends outside": field(OTHER, 10, both(10**6, 4)),
    "file size in two orders": field(CHUNK, 10, both(5, 4)[:4] + both(6, 4)[4:]),
    "file place in two orders": field(CHUNK, 2, both(40, 4)[:4] + both(41, 4)[4:]),
    "extended attributes": field(CHUNK, 1, b"\x01"),
    "interleaved": field(CHUNK, 26, b"\x01"),
    "gap": field(CHUNK, 27, b"\x01"),
    "another volume": field(CHUNK, 28, both(2, 2)),
    "hidden": field(CHUNK, 25, b"\x01"),
    "associated file": field(CHUNK, 25, b"\x04"),
    "folder in runs": field("metadata", 25, b"\x82"),
    "file that is a folder": field(CHUNK, 25, b"\x02"),
    "folder that is a file": field("metadata", 25, b"\x00"),
    "runs without an end": field(CHUNK, 25, b"\x80"),
    "record too short": field(CHUNK, 0, b"\x21"),
    "name of no length": field(CHUNK, 32, b"\x00"),
    "name past its record": field(CHUNK, 32, b"\xff"),
    "bytes behind the last record": behind_the_last,
    "the same name twice": twice_the_same_name,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_image_is_refused(tmp_path: Path, name: str) -> None:
    image = iso_image(FILES)
    before = bytes(image.data)
    MALFORMED[name](image)
    assert image.data != before
    path = written(tmp_path, image)
    with pytest.raises(MalformedError) as caught:
        IsoImage(path)
    assert type(caught.value) is MalformedError


NAME = nm(DIGEST.encode())

REFUSED_ENTRIES = {
    "symbolic link": px(stat.S_IFLNK | 0o777) + NAME + entry(b"SL", b"\0\0\1x"),
    "symbolic link said to be a file": px(FILE_MODE) + NAME + entry(b"SL", b"\0\0\1x"),
    "mode of a link": px(stat.S_IFLNK | 0o777) + NAME,
    "device": px(stat.S_IFCHR) + NAME + entry(b"PN", both(1, 4) + both(3, 4)),
    "mode of a device": px(stat.S_IFBLK) + NAME,
    "mode of a FIFO": px(stat.S_IFIFO) + NAME,
    "mode of a socket": px(stat.S_IFSOCK) + NAME,
    "relocated folder": px(FILE_MODE) + NAME + entry(b"CL", both(20, 4)),
    "parent of a relocated folder": px(FILE_MODE) + NAME + entry(b"PL", both(20, 4)),
    "mark of relocation": px(FILE_MODE) + NAME + entry(b"RE", b""),
    "sparse": px(FILE_MODE) + NAME + entry(b"SF", bytes(17)),
    "compressed": px(FILE_MODE) + NAME + entry(b"ZF", b"pz" + bytes(10)),
    "unknown entry": px(FILE_MODE) + NAME + entry(b"QQ", b""),
    "another version": px(FILE_MODE) + NAME + entry(b"TF", b"", version=2),
    "entry of length 3": px(FILE_MODE) + NAME + b"TF\x03\x01",
    "entry past the record": px(FILE_MODE) + NAME + b"TF\xff\x01",
    "no Rock Ridge": b"",
    "no mode": NAME,
    "no name": px(FILE_MODE),
    "name of this folder": px(FILE_MODE) + nm(b"", flags=2),
    "name of the parent": px(FILE_MODE) + nm(b"", flags=4),
    "empty name": px(FILE_MODE) + nm(b""),
    "two names": px(FILE_MODE) + NAME + nm(b"x"),
    "name with a slash": px(FILE_MODE) + nm(b"metadata/timestamp.json"),
    "name of two dots": px(FILE_MODE) + nm(b".."),
    "name of one dot": px(FILE_MODE) + nm(b"."),
    "name with a zero byte": px(FILE_MODE) + NAME[:-1] + b"\0",
    "name without its end": px(FILE_MODE) + nm(b"x", flags=1),
    "two modes": px(FILE_MODE) + px(FILE_MODE) + NAME,
    "half a mode": entry(b"PX", both(FILE_MODE, 4)[:4]) + NAME,
    "mode in two orders": entry(b"PX", b"\x24\x81\0\0\0\0\x81\x25") + NAME,
    "SUSP of another kind": SP[:4] + b"\xbe\xef\x01" + px(FILE_MODE) + NAME,
    "continuation outside": px(FILE_MODE) + NAME + ce(10**6, 0, 10),
    "continuation across its block": px(FILE_MODE) + NAME + ce(19, 2_000, 100),
    "continuation of no length": px(FILE_MODE) + NAME + ce(19, 0, 0),
    "continuation of no place": px(FILE_MODE) + NAME + entry(b"CE", bytes(23)),
    "two continuations": px(FILE_MODE) + NAME + ce(19, 0, 8) + ce(19, 8, 8),
}


@pytest.mark.parametrize("name", REFUSED_ENTRIES)
def test_a_rock_ridge_entry_is_refused(tmp_path: Path, name: str) -> None:
    image = iso_image(FILES, system_use={CHUNK: REFUSED_ENTRIES[name]})
    with pytest.raises(MalformedError):
        IsoImage(written(tmp_path, image))


@pytest.mark.timeout(5)
def test_a_continuation_of_itself_ends(tmp_path: Path) -> None:
    loop = ce(19, 0, 28)
    image = iso_image(FILES, system_use={CHUNK: px(FILE_MODE) + NAME + loop})
    image.put(19 * SECTOR, loop)
    with pytest.raises(LimitExceededError):
        IsoImage(written(tmp_path, image))


def test_a_name_above_its_limit_is_refused(tmp_path: Path) -> None:
    piece = nm(b"x" * 120, flags=1)
    use = px(FILE_MODE) + piece + ce(19, 0, 2 * len(piece))
    image = iso_image(FILES, system_use={CHUNK: use})
    image.put(19 * SECTOR, piece + piece)
    with pytest.raises(LimitExceededError):
        IsoImage(written(tmp_path, image))


@pytest.mark.parametrize("last", [1, 2 * SECTOR])
def test_a_run_that_ends_inside_a_sector_is_refused(tmp_path: Path, last: int) -> None:
    data = bytes(2 * SECTOR)
    image = iso_image({CHUNK: data}, runs={CHUNK: SECTOR})
    image.put(image.records[CHUNK] + 10, both(SECTOR - last % SECTOR - 1, 4))
    with pytest.raises(MalformedError):
        IsoImage(written(tmp_path, image))


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    files = {f"metadata/{n}.x": b"" for n in range(MAX_OTHER_ENTRIES + 1)}
    path = written(tmp_path, iso_image(files))
    IsoImage(path).close()
    with pytest.raises(LimitExceededError):
        IsoImage(path, limits=replace(DEFAULT_LIMITS, chunks=1))


def test_a_folder_above_its_limit_is_not_read(tmp_path: Path) -> None:
    image = iso_image(FILES)
    image.put(image.records["metadata"] + 10, both(2**31, 4))
    with pytest.raises(LimitExceededError):
        IsoImage(written(tmp_path, image))


def test_too_many_runs_are_refused(tmp_path: Path) -> None:
    image = iso_image({CHUNK: bytes(257 * SECTOR)}, runs={CHUNK: SECTOR})
    with pytest.raises(LimitExceededError) as caught:
        IsoImage(written(tmp_path, image))
    assert caught.value.where == CHUNK


def test_descriptors_without_end_are_read_up_to_a_limit(tmp_path: Path) -> None:
    sector = primary(10_000, record(b"\0", block=20, size=SECTOR, flags=2))
    path = tmp_path / "x.iso"
    path.write_bytes(bytes(16 * SECTOR) + (b"\x02" + sector[1:]) * 1_000)
    with pytest.raises(MalformedError):
        IsoImage(path)


@pytest.mark.parametrize("size", [0, 1, 16 * SECTOR, 16 * SECTOR + 7, 17 * SECTOR])
def test_an_image_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    image = iso_image(FILES)
    del image.data[size:]
    with pytest.raises(MalformedError):
        IsoImage(written(tmp_path, image))


def test_a_record_across_the_end_of_a_sector_is_refused() -> None:
    raw = b"\x22" + bytes(33)
    fitting = raw * 60
    data = fitting + bytes(SECTOR - len(fitting))
    assert list(split_records(data, where="x")) == [raw] * 60
    crossing = fitting + raw + bytes(2 * SECTOR - len(fitting) - len(raw))
    with pytest.raises(MalformedError):
        list(split_records(crossing, where="x"))


@pytest.mark.parametrize("odd", [b"\x1b", b"\xff", b"\n"])
def test_a_name_from_an_image_cannot_drive_a_terminal(
    tmp_path: Path, odd: bytes
) -> None:
    image = iso_image({"metadata/aXb": b"x"})
    image.put(image.data.index(b"aXb") + 1, odd)
    field("metadata/aXb", 2, both(10**6, 4))(image)
    with pytest.raises(MalformedError) as caught:
        IsoImage(written(tmp_path, image))
    assert caught.value.where.isprintable()
