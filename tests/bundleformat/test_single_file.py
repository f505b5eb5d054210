import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundleformat.errors import (
    Error,
    LimitExceededError,
    MalformedError,
    MissingError,
)
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.media import open_medium
from bundleformat.paths import ArchivePath
from bundleformat.single_file import MAX_OTHER_FILES, SingleFile
from bundleformat.ustar import (
    BLOCK_BYTES,
    END,
    MAX_SECONDS,
    Header,
    decode_header,
    encode_header,
)

CHUNK = "c/ab/ab" + "0" * 62
FILES = {
    "metadata/1.root.json": b"root",
    "metadata/timestamp.json": b"timestamp",
    "targets/manifest.json": b"m" * 512,
    "BUNDLE.txt": b"a note\n",
    "volume.json": b"{}",
    CHUNK: bytes(range(256)) * 5,
    "c/cd/cd" + "1" * 62: b"",
}
TIME = 1_700_000_000


def header(path: str, size: int, *, modified_s: int = TIME) -> bytes:
    return encode_header(
        Header(path=ArchivePath(path), size_bytes=size, modified_s=modified_s)
    )


def forged(block: bytes, offset: int, value: bytes) -> bytes:
    """Return a changed header whose checksum is right."""
    data = bytearray(block)
    data[offset : offset + len(value)] = value
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


def entry(path: str, data: bytes, *, head: bytes | None = None) -> bytes:
    return (head or header(path, len(data))) + data + bytes(-len(data) % BLOCK_BYTES)


def archive(entries: Iterable[bytes]) -> bytes:
    return b"".join(entries) + END


GOOD = archive(entry(path, data) for path, data in FILES.items())


def written(folder: Path, data: bytes) -> Path:
    path = folder / "x.mbundle"
    path.write_bytes(data)
    return path


def contents(path: Path) -> dict[str, bytes]:
    with SingleFile(path) as medium:
        return {
            name: medium.read(ArchivePath(name), max_bytes=10_000)
            for name in FILES
            if medium.exists(ArchivePath(name))
        }


def test_every_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert contents(path) == FILES
    with open_medium(path) as medium:
        assert isinstance(medium, SingleFile)
        assert medium.label == str(path)
        names = medium.names(ArchivePath("metadata"), max_entries=2)
        assert names == ("1.root.json", "timestamp.json")
        with medium.open(ArchivePath(CHUNK)) as first:
            assert first.read(7) == FILES[CHUNK][:7]
            with medium.open(ArchivePath(CHUNK)) as second:
                assert second.read() == FILES[CHUNK]
            assert first.read() == FILES[CHUNK][7:]
            assert first.read(1) == b""


def test_a_file_above_the_cap_is_not_read_and_an_absent_one_is_missing(
    tmp_path: Path,
) -> None:
    with SingleFile(written(tmp_path, GOOD)) as medium:
        with pytest.raises(LimitExceededError):
            medium.read(ArchivePath("BUNDLE.txt"), max_bytes=6)
        with pytest.raises(MissingError):
            medium.open(ArchivePath("metadata/2.root.json"))
        with pytest.raises(LimitExceededError):
            medium.names(ArchivePath("c"), max_entries=1)
        assert not medium.exists(ArchivePath("metadata"))


def test_an_archive_without_files_is_read(tmp_path: Path) -> None:
    assert contents(written(tmp_path, END)) == {}


def test_pythons_tarfile_sees_the_same(tmp_path: Path) -> None:
    with tarfile.open(written(tmp_path, GOOD)) as opened:
        members = opened.getmembers()
        found = {m.name: opened.extractfile(m) for m in members}
        assert {n: f.read() for n, f in found.items() if f} == FILES
    assert {(m.mode, m.mtime, m.uid, m.uname) for m in members} == {
        (0o444, TIME, 0, "")
    }


@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")
def test_gnu_tar_lists_it_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        ["tar", "-tf", written(tmp_path, GOOD)],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == list(FILES)
    assert done.stderr == ""


REFUSED_HEADERS: dict[str, bytes] = {
    "hard link": forged(header("a", 0), 156, b"1"),
    "symbolic link": forged(header("a", 0), 156, b"2"),
    "character device": forged(header("a", 0), 156, b"3"),
    "block device": forged(header("a", 0), 156, b"4"),
    "folder": forged(header("a", 0), 156, b"5"),
    "FIFO": forged(header("a", 0), 156, b"6"),
    "contiguous file": forged(header("a", 0), 156, b"7"),
    "old regular file": forged(header("a", 0), 156, b"\0"),
    "extended header": forged(header("a", 0), 156, b"x"),
    "global extended header": forged(header("a", 0), 156, b"g"),
    "GNU long name": forged(header("a", 0), 156, b"L"),
    "GNU long link": forged(header("a", 0), 156, b"K"),
    "GNU sparse file": forged(header("a", 0), 156, b"S"),
    "unknown type": forged(header("a", 0), 156, b"Z"),
    "link name": forged(header("a", 0), 157, b"x"),
    "GNU magic": forged(header("a", 0), 257, b"ustar  \0"),
    "another version": forged(header("a", 0), 263, b"01"),
    "no magic": forged(header("a", 0), 257, bytes(8)),
    "owner": forged(header("a", 0), 108, b"0000001\0"),
    "owner's name": forged(header("a", 0), 265, b"root"),
    "mode": forged(header("a", 0), 100, b"0004755\0"),
    "device number": forged(header("a", 0), 329, b"0000001\0"),
    "prefix": forged(header("a", 0), 345, b"metadata"),
    "rest of the block": forged(header("a", 0), 511, b"x"),
    "size in base 256": forged(header("a", 0), 124, b"\x80" + bytes(11)),
    "negative size in base 256": forged(header("a", 0), 124, b"\xff" * 12),
    "size with spaces": forged(header("a", 0), 124, b"          0 "),
    "size ended by a space": forged(header("a", 0), 124, b"00000000000 "),
    "size of twelve digits": forged(header("a", 0), 124, b"0" * 12),
    "size that is no number": forged(header("a", 0), 124, b"0000000000x\0"),
    "size with a sign": forged(header("a", 0), 124, b"-0000000001\0"),
    "no size": forged(header("a", 0), 124, bytes(12)),
    "time with spaces": forged(header("a", 0), 136, b"          0 "),
    "name after its end": forged(header("a", 0), 3, b"b"),
    "empty name": forged(header("a", 0), 0, b"\0"),
    "absolute name": forged(header("a", 0), 0, b"/a"),
    "parent folder": forged(header("a", 0), 0, b"../a"),
    "parent folder inside": forged(header("a", 0), 0, b"metadata/../a"),
    "this folder": forged(header("a", 0), 0, b"./a"),
    "trailing slash": forged(header("a", 0), 0, b"a/"),
    "two slashes": forged(header("a", 0), 0, b"metadata//a"),
    "backslash": forged(header("a", 0), 0, b"metadata\\a"),
    "drive letter": forged(header("a", 0), 0, b"c:a"),
    "device name": forged(header("a", 0), 0, b"nul"),
    "line end": forged(header("a", 0), 0, b"a\nb"),
    "letters beyond ASCII": forged(header("a", 0), 0, "caf\u00e9".encode()),
    "a name of 100 dots": forged(header("a", 0), 0, b"." * 100),
}


@pytest.mark.parametrize("name", REFUSED_HEADERS)
def test_a_header_is_refused(tmp_path: Path, name: str) -> None:
    head = REFUSED_HEADERS[name]
    with pytest.raises(MalformedError):
        decode_header(head, where="x")
    with pytest.raises(MalformedError):
        SingleFile(written(tmp_path, archive([head])))


def test_a_wrong_checksum_is_told_from_another_dialect() -> None:
    block = bytearray(header("a", 0))
    block[0] = ord("b")
    with pytest.raises(MalformedError) as caught:
        decode_header(bytes(block), where="x")
    assert caught.value.expected


@pytest.mark.parametrize(
    "path",
    [
        "other/file",
        "metadata/deep/file",
        "targets/deep/file",
        "c/file",
        "c/ab/short",
        "c/cd/ab" + "0" * 62,
        "c/AB/AB" + "0" * 62,
        "c/ab/ab" + "0" * 61,
        "models/x.gguf",
    ],
)
def test_a_path_no_volume_has_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(MalformedError):
        SingleFile(written(tmp_path, archive([entry(path, b"")])))


def test_no_two_files_change_places_or_come_twice(tmp_path: Path) -> None:
    entries = [entry(path, data) for path, data in FILES.items()]
    for k in range(len(entries) - 1):
        swapped = [*entries]
        swapped[k : k + 2] = reversed(swapped[k : k + 2])
        doubled = [*entries[: k + 1], *entries[k:]]
        for case in (swapped, doubled):
            with pytest.raises(MalformedError):
                SingleFile(written(tmp_path, archive(case)))


BROKEN: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no end": lambda: GOOD[: -len(END)],
    "half an end": lambda: GOOD[:-BLOCK_BYTES],
    "a byte less": lambda: GOOD[:-1],
    "a byte more": lambda: GOOD + b"\0",
    "a block more": lambda: GOOD + bytes(BLOCK_BYTES),
    "a record of tar": lambda: GOOD + bytes(-len(GOOD) % 10_240),
    "a file behind the end": lambda: GOOD + GOOD,
    "one block of zeros inside": lambda: (
        GOOD[:-BLOCK_BYTES] + entry("z", b"", head=header("z", 0)) + END
    ),
    "cut in a header": lambda: GOOD[:100],
    "cut in a file": lambda: GOOD[: BLOCK_BYTES + 2],
    "padding": lambda: GOOD[:1_000] + b"x" + GOOD[1_001:],
    "another time": lambda: archive(
        [entry("a", b""), entry("b", b"", head=header("b", 0, modified_s=TIME + 1))]
    ),
    "a size past the end": lambda: archive([entry("a", b"", head=header("a", 2**30))]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_archive_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MalformedError):
        SingleFile(written(tmp_path, BROKEN[name]()))


def test_a_file_larger_than_a_chunk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LimitExceededError) as caught:
        SingleFile(
            written(tmp_path, archive([header("a", DEFAULT_LIMITS.chunk_bytes + 1)]))
        )
    assert caught.value.where == "a"


def test_a_sparse_file_above_4_gib_is_read_in_little_memory(tmp_path: Path) -> None:
    size = DEFAULT_LIMITS.chunk_bytes
    digests = [f"{n:02x}" + "0" * 62 for n in range(5)]
    path = tmp_path / "x.mbundle"
    with path.open("wb") as file:
        for digest in digests:
            file.write(header(f"c/{digest[:2]}/{digest}", size))
            file.seek(size, io.SEEK_CUR)
        file.write(END)
    with SingleFile(path) as medium:
        assert path.stat().st_size > 2**32
        assert len(medium.names(ArchivePath("c"), max_entries=5)) == 5
        with medium.open(ArchivePath(f"c/04/{digests[4]}")) as file:
            assert file.read(1_000) == bytes(1_000)


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, chunks=1)
    entries = [entry(f"metadata/{n:05}", b"") for n in range(MAX_OTHER_FILES + 2)]
    SingleFile(written(tmp_path, archive(entries[:-1])), limits=limits).close()
    with pytest.raises(LimitExceededError):
        SingleFile(written(tmp_path, archive(entries)), limits=limits)


@pytest.mark.parametrize(
    ("size", "modified_s", "path"),
    [(8**11, 0, "a"), (0, 8**11, "a"), (-1, 0, "a"), (0, 0, "a" * 101)],
)
def test_what_does_not_fit_a_header_is_not_written(
    size: int, modified_s: int, path: str
) -> None:
    with pytest.raises(LimitExceededError):
        header(path, size, modified_s=modified_s)


PATHS = st.from_regex(r"[A-Za-z0-9]{1,20}", fullmatch=True).map(lambda s: f"{s}x")


@given(path=PATHS, size=st.integers(0, MAX_SECONDS), time=st.integers(0, MAX_SECONDS))
def test_every_header_has_one_spelling(path: str, size: int, time: int) -> None:
    wanted = Header(path=ArchivePath(path), size_bytes=size, modified_s=time)
    block = encode_header(wanted)
    assert len(block) == BLOCK_BYTES
    assert decode_header(block, where="x") == wanted


@given(offset=st.integers(0, BLOCK_BYTES - 1), value=st.integers(0, 255))
def test_no_byte_of_a_header_can_change(offset: int, value: int) -> None:
    block = header(CHUNK, 1_280)
    changed = block[:offset] + bytes([value]) + block[offset + 1 :]
    if changed == block:
        return
    with pytest.raises(MalformedError):
        decode_header(changed, where="x")


def structure() -> list[int]:
    """Return every offset that holds no content of a file."""
    found: list[int] = []
    offset = 0
    for data in FILES.values():
        found += range(offset, offset + BLOCK_BYTES)
        offset += BLOCK_BYTES + len(data)
        found += range(offset, offset + -len(data) % BLOCK_BYTES)
        offset += -len(data) % BLOCK_BYTES
    return [*found, *range(offset, len(GOOD))]


@settings(max_examples=600, deadline=1_000)
@given(offset=st.sampled_from(structure()), value=st.integers(0, 255))
def test_one_changed_byte_outside_of_content_is_refused(
    tmp_path_factory: pytest.TempPathFactory, offset: int, value: int
) -> None:
    changed = GOOD[:offset] + bytes([value]) + GOOD[offset + 1 :]
    path = tmp_path_factory.getbasetemp() / "changed.mbundle"
    path.write_bytes(changed)
    if changed == GOOD:
        assert contents(path) == FILES
        return
    with pytest.raises(MalformedError):
        SingleFile(path)


@settings(max_examples=200, deadline=1_000)
@given(data=st.binary(max_size=2_000), at=st.integers(0, len(GOOD)))
def test_anything_put_in_is_refused_or_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.mbundle"
    path.write_bytes(GOOD[:at] + data + GOOD[at:])
    try:
        found = contents(path)
    except Error:
        return
    assert data == b"" or found == FILES
