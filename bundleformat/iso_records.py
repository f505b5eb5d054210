"""One directory record of an ISO 9660 image, with its Rock Ridge name and kind.

Pure: bytes in, a value out. Refused are symbolic links, devices, relocated
folders, sparse and compressed files, extended attributes, interleaved files, and
every entry of the system use area whose meaning is not known here.

Source: ECMA-119, section 9.1; SUSP 1.12, section 5; RRIP 1.12, section 4.
"""

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.iso_volume import SECTOR_BYTES, both_endian

MIN_RECORD_BYTES: Final = 34
"""A record without a name. Unit: bytes."""

MAX_CONTINUATIONS: Final = 4
"""Most continuation areas of one record."""

MAX_NAME_BYTES: Final = 255
"""Longest Rock Ridge name, as on every file system it could come from."""

_FOLDER, _MORE = 0x02, 0x80
_SELF, _PARENT = b"\x00", b"\x01"

_HARMLESS: Final = frozenset({b"TF", b"ER", b"ES", b"PD", b"RR", b"AL", b"AA"})
"""Times, the names of extensions, padding, and access rights, which nothing uses."""

_REFUSED: Final = {
    b"SL": "a symbolic link",
    b"PN": "a device",
    b"CL": "a relocated folder",
    b"PL": "a relocated folder",
    b"RE": "a relocated folder",
    b"SF": "a sparse file",
    b"ZF": "a compressed file",
}

Fetch = Callable[[int, int, int], bytes]
"""Returns bytes of the image: block number, offset in the block, length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A file, a run of one, or a folder.

    Attributes:
        name: Its Rock Ridge name; empty for a folder's entry of itself and of
            its parent. Not a checked name.
        block: Where its bytes begin, in sectors.
        size_bytes: How many bytes lie there.
        is_folder: Whether they are a folder.
        is_self: Whether this is the folder's entry of itself.
        more: Whether the next record holds more bytes of the same file.
    """

    name: str
    block: int
    size_bytes: int
    is_folder: bool
    is_self: bool
    more: bool


def split_records(data: bytes, *, where: str) -> Iterator[bytes]:
    """Give the records of a folder; they never cross a sector's end.

    Raises:
        MalformedError: One does, or something lies behind the last of a sector.
    """
    for start in range(0, len(data), SECTOR_BYTES):
        sector = data[start : start + SECTOR_BYTES]
        offset = 0
        while offset < len(sector) and sector[offset]:
            length = sector[offset]
            if length < MIN_RECORD_BYTES or offset + length > len(sector):
                raise MalformedError(
                    "a directory record of no possible length",
                    where=where,
                    actual=f"{length} bytes",
                )
            yield sector[offset : offset + length]
            offset += length
        if any(sector[offset:]):
            raise MalformedError("bytes behind the last record", where=where)


def parse_root(data: bytes, *, where: str) -> Record:
    """Return the record of the root folder, which lies in the descriptor.

    Raises:
        MalformedError: It is none.
    """
    if len(data) != MIN_RECORD_BYTES or data[0] != MIN_RECORD_BYTES:
        raise MalformedError("not a record of a root folder", where=where)
    record = _parse_fixed(data, where=where)
    if not record.is_self or not record.is_folder:
        raise MalformedError("not a record of a root folder", where=where)
    return record


def parse_record(data: bytes, *, fetch: Fetch, where: str) -> Record:
    """Return what one record of a folder says.

    ``fetch`` reads continuation areas; it MUST refuse what lies outside.

    Raises:
        MalformedError: It breaks its format, or is of a kind refused here.
        LimitExceededError: A name or a chain of continuations is too long.
    """
    record = _parse_fixed(data, where=where)
    id_bytes = data[32]
    begin = 33 + id_bytes + (id_bytes + 1) % 2
    name, mode = _parse_system_use(data[begin:], fetch=fetch, where=where)
    if mode is None:
        raise MalformedError(
            "without Rock Ridge",
            where=where,
            hint="Make the image with `sallyport-bundler image`, or mount the disc "
            "and name its folder.",
        )
    if record.is_folder != stat.S_ISDIR(mode) or not (
        record.is_folder or stat.S_ISREG(mode)
    ):
        raise MalformedError(
            "not a regular file",
            where=f"{where}: {name!a}",
            actual=stat.filemode(mode),
            hint="Links and special files have no place in a bundle; do not use "
            "this medium.",
        )
    if data[33 : 33 + id_bytes] in {_SELF, _PARENT}:
        return record
    # A slash in a name would make another path of it than its folder's.
    if name in {"", ".", ".."} or {*name} & {"/", "\0"}:
        raise MalformedError(
            "without a Rock Ridge name that a file can have",
            where=where,
            actual=ascii(name),
        )
    return Record(
        name=name,
        block=record.block,
        size_bytes=record.size_bytes,
        is_folder=record.is_folder,
        is_self=False,
        more=record.more,
    )


def _parse_fixed(data: bytes, *, where: str) -> Record:
    id_bytes, flags = data[32], data[25]
    if not id_bytes or 33 + id_bytes > len(data):
        raise MalformedError("a name of no possible length", where=where)
    if data[1] or data[26] or data[27]:
        raise MalformedError("extended attributes, or an interleaved file", where=where)
    if both_endian(data[28:32], where=where) != 1:
        raise MalformedError("on another volume of a set", where=where)
    if flags & ~(_FOLDER | _MORE) or flags == _FOLDER | _MORE:
        raise MalformedError(
            "of a kind not read here", where=where, actual=f"flags {flags:#04x}"
        )
    return Record(
        name="",
        block=both_endian(data[2:10], where=where),
        size_bytes=both_endian(data[10:18], where=where),
        is_folder=bool(flags & _FOLDER),
        is_self=data[33 : 33 + id_bytes] == _SELF,
        more=bool(flags & _MORE),
    )


def _parse_system_use(
    area: bytes, *, fetch: Fetch, where: str
) -> tuple[str, int | None]:
    """Return the Rock Ridge name, or an empty one, and the mode, or None."""
    name, mode, continued = b"", None, False
    named = False
    for signature, body in _entries(area, fetch=fetch, where=where):
        if signature == b"PX":
            mode = _mode(body, mode, where=where)
        elif signature == b"NM":
            if (named and not continued) or not body or body[0] & ~0x01:
                raise MalformedError("two names, or a special one", where=where)
            named, continued = True, bool(body[0])
            name += body[1:]
            _check_name_length(name, where=where)
        elif signature in _REFUSED:
            raise MalformedError(
                "not a regular file",
                where=where,
                expected="a regular file or a folder",
                actual=_REFUSED[signature],
                hint="Links and special files have no place in a bundle; do not use "
                "this medium.",
            )
        elif signature not in _HARMLESS:
            raise MalformedError(
                "an entry this program does not know",
                where=where,
                actual=f"{signature!a}",
            )
    if continued:
        raise MalformedError("a name without its end", where=where)
    # Surrogates stand for bytes that are no ASCII; no wanted path has them.
    return name.decode("ascii", "surrogateescape"), mode


def _check_name_length(name: bytes, *, where: str) -> None:
    if len(name) > MAX_NAME_BYTES:
        raise LimitExceededError(
            "name too long", where=where, expected=f"at most {MAX_NAME_BYTES} bytes"
        )


def _mode(body: bytes, before: int | None, *, where: str) -> int:
    if before is not None or len(body) < 8:
        raise MalformedError("two modes, or half of one", where=where)
    return both_endian(body[:8], where=where)


def _entries(area: bytes, *, fetch: Fetch, where: str) -> Iterator[tuple[bytes, bytes]]:
    """Give signature and body of every entry, through all continuations."""
    for _ in range(1 + MAX_CONTINUATIONS):
        following: tuple[int, int, int] | None = None
        for signature, body in _split_entries(area, where=where):
            if signature == b"CE":
                if following is not None:
                    raise MalformedError("two continuations", where=where)
                following = _continuation(body, where=where)
            elif signature == b"SP":
                if body[:3] != b"\xbe\xef\x00":
                    raise MalformedError("not SUSP 1.12", where=where)
            elif signature != b"ST":
                yield signature, body
        if following is None:
            return
        area = fetch(*following)
    raise LimitExceededError(
        "too many continuations",
        where=where,
        expected=f"at most {MAX_CONTINUATIONS}",
    )


def _split_entries(area: bytes, *, where: str) -> Iterator[tuple[bytes, bytes]]:
    offset = 0
    # A rest too short for an entry is padding.
    while len(area) - offset >= 4:
        signature, length = area[offset : offset + 2], area[offset + 2]
        if signature == b"\0\0":
            break
        if length < 4 or offset + length > len(area) or area[offset + 3] != 1:
            raise MalformedError(
                "an entry of no possible length or version",
                where=where,
                actual=f"{signature!a}",
            )
        yield signature, area[offset + 4 : offset + length]
        if signature == b"ST":
            return
        offset += length


def _continuation(body: bytes, *, where: str) -> tuple[int, int, int]:
    if len(body) != 24:
        raise MalformedError("a continuation of no possible length", where=where)
    block, offset, length = (
        both_endian(body[start : start + 8], where=where) for start in (0, 8, 16)
    )
    if not length or offset + length > SECTOR_BYTES:
        raise MalformedError("a continuation that crosses its block", where=where)
    return block, offset, length
