"""The headers of a ``.mbundle``: POSIX ustar, in one spelling per file.

A header is accepted exactly if it is, byte for byte, the header that this module
writes for the name, size and time found in it. So there are no links, devices,
folders, long names, extended headers, sparse files or base-256 numbers, no owner
and no mode but one, and ``encode_header(decode_header(block)) == block``.

Source: IEEE Std 1003.1-2017, pax, "ustar Interchange Format".
"""

import re
from dataclasses import dataclass
from typing import Final

from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.paths import ArchivePath, parse_path

BLOCK_BYTES: Final = 512
"""Size of a header, and what a file's bytes are padded to. Unit: bytes."""

MAX_NAME_BYTES: Final = 100
"""Longest path a header holds; the prefix field is not used. Unit: bytes."""

MAX_SECONDS: Final = 8**11 - 1
"""Latest time, and by the same eleven octal digits the largest size."""

END: Final = bytes(2 * BLOCK_BYTES)
"""The two blocks that end an archive; nothing follows them."""

_MAGIC: Final = slice(257, 265)
_TYPE: Final = 156
_CHECKSUM: Final = slice(148, 156)
_OCTAL = re.compile(rb"[0-7]{11}\0")

_TYPES: Final = {
    b"\0": "an old regular file",
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a folder",
    b"6": "a FIFO",
    b"7": "a contiguous file",
    b"g": "a global extended header",
    b"x": "an extended header",
    b"K": "a long link name",
    b"L": "a long name",
    b"S": "a sparse file",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a header says of the file after it.

    Attributes:
        path: Its path below the bundle.
        size_bytes: Its length.
        modified_s: Its time, in seconds since 1970.
    """

    path: ArchivePath
    size_bytes: int
    modified_s: int


def has_magic(block: bytes) -> bool:
    """Return whether ``block`` looks like the header of a ustar archive."""
    return block[_MAGIC] == b"ustar\x0000"


def padding_of(size_bytes: int) -> int:
    """Return how many zero bytes follow a file of that length."""
    return -size_bytes % BLOCK_BYTES


def encode_header(header: Header) -> bytes:
    """Return the one header of that name, size and time.

    Raises:
        LimitExceededError: The name, size or time does not fit its field.
    """
    name = header.path.encode("ascii")
    if (
        len(name) > MAX_NAME_BYTES
        or not 0 <= header.size_bytes <= MAX_SECONDS
        or not 0 <= header.modified_s <= MAX_SECONDS
    ):
        raise LimitExceededError("does not fit a ustar header", where=header.path)
    fields = (
        name.ljust(100, b"\0"),
        b"0000444\0",  # mode
        b"0000000\0",  # owner
        b"0000000\0",  # group
        b"%011o\0" % header.size_bytes,
        b"%011o\0" % header.modified_s,
        b" " * 8,  # the checksum counts itself as spaces
        b"0",  # a regular file
        bytes(100),  # link name
        b"ustar\x0000",
        bytes(64),  # names of owner and group
        b"0000000\0",  # device numbers
        b"0000000\0",
        bytes(155 + 12),  # prefix, and the rest of the block
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def decode_header(block: bytes, *, where: str) -> Header:
    """Return what the header in ``block`` says.

    Raises:
        MalformedError: It is not the one header of its name, size and time.
    """
    if not has_magic(block):
        raise MalformedError("not a ustar header", where=where)
    _check_checksum(block, where=where)
    kind = block[_TYPE : _TYPE + 1]
    if kind != b"0":
        raise MalformedError(
            "not a regular file",
            where=where,
            expected="a regular file",
            actual=_TYPES.get(kind, f"type {kind!a}"),
            hint="Links, folders and special files have no place in a bundle; do not "
            "use this file.",
        )
    header = Header(
        path=_name(block[:100], where=where),
        size_bytes=_octal(block[124:136], where=where, what="size"),
        modified_s=_octal(block[136:148], where=where, what="time"),
    )
    if encode_header(header) != block:
        raise MalformedError("not the one spelling of this header", where=where)
    return header


def _check_checksum(block: bytes, *, where: str) -> None:
    # Checked before anything else is believed, to tell damage from another dialect.
    total = sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")
    if block[_CHECKSUM] != b"%06o\0 " % total:
        raise MalformedError(
            "the header's checksum is wrong",
            where=where,
            expected=f"{total:06o}",
            actual=ascii(block[_CHECKSUM]),
            hint="Copy the file again from its source; it is damaged.",
        )


def _name(field: bytes, *, where: str) -> ArchivePath:
    name = field.split(b"\0", 1)[0]
    try:
        return parse_path(name.decode("ascii"), where=where)
    except UnicodeDecodeError as error:
        raise MalformedError(
            "not a safe relative path", where=where, actual=ascii(name)
        ) from error


def _octal(field: bytes, *, where: str, what: str) -> int:
    if not _OCTAL.fullmatch(field):
        raise MalformedError(
            f"the {what} is not eleven octal digits", where=where, actual=ascii(field)
        )
    return int(field[:11], 8)
