"""Reads the table of a ZIP archive, and believes none of it without a second look.

Only the shape that every build tool writes is taken: members one after another
from the first byte, then the central directory, then its end record, then
nothing. Each local header must repeat what the directory says, because two
readers that trust different copies unpack different files. No ZIP64, encryption,
data descriptors, comments, or other methods than stored and deflated.

Nothing is unpacked here; ``zip_stream`` reads a member's bytes.

Source: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

import stat
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.zip_names import check_names, parse_name

MAX_MEMBERS: Final = DEFAULT_LIMITS.wheel_files
"""Most members; one more is how ZIP64 announces itself."""

MAX_DIRECTORY_BYTES: Final = 32 * 2**20
"""Longest central directory. It is read whole, once. Unit: bytes."""

STORED: Final = 0
DEFLATED: Final = 8

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")

_FLAGS_TAKEN: Final = 0b0000_1000_0000_0110
"""Names in UTF-8, and how hard deflate tried; every other flag changes a reading."""

_EXTRA_TAKEN: Final = frozenset({0x5455, 0x7875})
"""Extra fields that say who wrote a file and when; others change its name or size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A file or folder of an archive, as both of its headers describe it.

    Attributes:
        name: Its path; that of a folder ends with a slash.
        method: ``STORED`` or ``DEFLATED``.
        crc: CRC-32 of its content.
        packed_bytes: What it takes in the archive.
        size_bytes: What it is said to hold.
        data_offset: Where its bytes begin.
        executable: Whether its owner may run it.
    """

    name: str
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    data_offset: int
    executable: bool

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.name.endswith("/")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One row of the central directory; ``repeated`` must stand in both headers."""

    raw_name: bytes
    name: str
    repeated: tuple[int, ...]
    offset: int
    mode: int


def read_members(file: BinaryIO, *, size_bytes: int) -> tuple[Member, ...]:
    """Return the members of the archive in ``file``, in the order of their bytes.

    Raises:
        MalformedError: Not such an archive; ``where`` names member or place.
        LimitExceededError: More members, or a longer directory, than is read.
    """
    count, directory_bytes = _read_end(file, size_bytes)
    directory_offset = size_bytes - _END.size - directory_bytes
    data = _read_at(file, directory_offset, directory_bytes, where="directory")
    entries = sorted(_entries(data, count), key=lambda entry: entry.offset)
    check_names([entry.name for entry in entries])
    members: list[Member] = []
    position = 0
    for entry in entries:
        if entry.offset != position:
            raise MalformedError(
                "bytes between members, or members that overlap", where=entry.name
            )
        member = _read_member(file, entry)
        position = member.data_offset + member.packed_bytes
        if position > directory_offset:
            raise MalformedError("reaches into the directory", where=entry.name)
        members.append(member)
    if position != directory_offset:
        raise MalformedError("bytes before the directory", where="directory")
    return tuple(members)


def _read_end(file: BinaryIO, size_bytes: int) -> tuple[int, int]:
    if size_bytes < _END.size:
        raise MalformedError("not a ZIP archive", where="end record")
    offset = size_bytes - _END.size
    fields = _END.unpack(_read_at(file, offset, _END.size, where="end record"))
    magic, disk, first_disk, here, count, length, start, comment = fields
    # Without a comment the record is the last 22 bytes, and only those are
    # looked at: a search would find a second record that somebody hid.
    if magic != b"PK\x05\x06" or comment:
        raise MalformedError("no end record at the end of the file", where="end record")
    if disk or first_disk or here != count:
        raise MalformedError("an archive of several parts", where="end record")
    if count > MAX_MEMBERS or length > MAX_DIRECTORY_BYTES:
        raise LimitExceededError(
            "too many members, or ZIP64",
            where="end record",
            expected=f"at most {MAX_MEMBERS} in {MAX_DIRECTORY_BYTES} bytes",
        )
    if start + length != offset:
        raise MalformedError(
            "the directory is not where it should be", where="end record"
        )
    return count, length


def _entries(data: bytes, count: int) -> list[_Entry]:
    entries: list[_Entry] = []
    position = 0
    for index in range(count):
        entry, position = _entry(data, position, where=f"directory entry {index}")
        entries.append(entry)
    if position != len(data):
        raise MalformedError("more than it counts", where="directory")
    return entries


def _entry(data: bytes, position: int, *, where: str) -> tuple[_Entry, int]:
    head = data[position : position + _CENTRAL.size]
    if len(head) != _CENTRAL.size or head[:4] != b"PK\x01\x02":
        raise MalformedError("not a directory entry", where=where)
    fields = _CENTRAL.unpack(head)
    flags, method, crc, packed, size = (fields[i] for i in (3, 4, 7, 8, 9))
    name_bytes, extra_bytes, comment_bytes, disk = fields[10:14]
    attributes, offset = fields[15:17]
    end = position + _CENTRAL.size + name_bytes + extra_bytes
    if end > len(data) or comment_bytes or disk:
        raise MalformedError("cut off, commented, or on another disk", where=where)
    raw_name = data[position + _CENTRAL.size : end - extra_bytes]
    name = parse_name(raw_name, utf8=bool(flags & 0x800), where=where)
    entry = _Entry(
        raw_name=raw_name,
        name=name,
        repeated=(flags, method, crc, packed, size),
        offset=offset,
        mode=attributes >> 16,
    )
    _check_extra(data[end - extra_bytes : end], where=name)
    _check_entry(entry)
    return entry, end


def _check_entry(entry: _Entry) -> None:
    flags, method, _, packed, size = entry.repeated
    if flags & ~_FLAGS_TAKEN:
        raise MalformedError(
            "encrypted, or its size follows its bytes",
            where=entry.name,
            actual=f"flags 0x{flags:04x}",
        )
    if method not in {STORED, DEFLATED}:
        raise MalformedError(
            "unknown method",
            where=entry.name,
            expected="stored or deflated",
            actual=str(method),
        )
    if method == STORED and packed != size:
        raise MalformedError("two sizes for stored bytes", where=entry.name)
    if max(packed, size, entry.offset) == 0xFFFFFFFF:
        raise MalformedError("ZIP64", where=entry.name)
    _check_mode(entry)


def _check_mode(entry: _Entry) -> None:
    folder = entry.name.endswith("/")
    kind = stat.S_IFMT(entry.mode)
    if kind not in {0, stat.S_IFDIR if folder else stat.S_IFREG}:
        raise MalformedError(
            "a link or special file",
            where=entry.name,
            expected="a regular file",
            actual=stat.filemode(entry.mode),
        )
    if entry.mode & (stat.S_ISUID | stat.S_ISGID):
        raise MalformedError("runs as somebody else", where=entry.name)
    if folder and entry.repeated[4]:
        raise MalformedError("a folder with content", where=entry.name)


def _check_extra(data: bytes, *, where: str) -> None:
    while data:
        if len(data) < 4:
            raise MalformedError("a broken extra field", where=where)
        kind, length = struct.unpack("<HH", data[:4])
        if kind not in _EXTRA_TAKEN or length > len(data) - 4:
            raise MalformedError(
                "an extra field that could change its reading",
                where=where,
                actual=f"0x{kind:04x}",
            )
        data = data[4 + length :]


def _read_member(file: BinaryIO, entry: _Entry) -> Member:
    head = _read_at(file, entry.offset, _LOCAL.size, where=entry.name)
    fields = _LOCAL.unpack(head)
    if fields[0] != b"PK\x03\x04":
        raise MalformedError("no local header", where=entry.name)
    name_bytes, extra_bytes = fields[9:11]
    after = entry.offset + _LOCAL.size
    rest = _read_at(file, after, name_bytes + extra_bytes, where=entry.name)
    repeated = (fields[2], fields[3], fields[6], fields[7], fields[8])
    if repeated != entry.repeated or rest[:name_bytes] != entry.raw_name:
        raise MalformedError(
            "its local header and the directory differ",
            where=entry.name,
            hint="Two programs would unpack different files from this archive.",
        )
    _check_extra(rest[name_bytes:], where=entry.name)
    _, method, crc, packed, size = entry.repeated
    return Member(
        name=entry.name,
        method=method,
        crc=crc,
        packed_bytes=packed,
        size_bytes=size,
        data_offset=after + name_bytes + extra_bytes,
        executable=bool(entry.mode & stat.S_IXUSR),
    )


def _read_at(file: BinaryIO, offset: int, count: int, *, where: str) -> bytes:
    file.seek(offset)
    data = file.read(count)
    if len(data) != count:
        raise MalformedError("the file ends early", where=where)
    return data
