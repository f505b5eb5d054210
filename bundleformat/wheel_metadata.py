"""Parses the three files that describe a wheel: METADATA, WHEEL and RECORD.

Pure: bytes in, values out. Header files are read line by line; what two mail
parsers could read differently is refused.

Source: "Core metadata specifications" and "Binary distribution format" of the
Python Packaging User Guide; PEP 376 for RECORD.
"""

import base64
import binascii
import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.zip_layout import MAX_MEMBERS

MAX_METADATA_BYTES: Final = 4 * 2**20
"""Longest METADATA, most of which is a description. Unit: bytes."""

MAX_HEADER_LINES: Final = 20_000
"""Most lines before the description."""

MAX_RECORD_BYTES: Final = 32 * 2**20
"""Longest RECORD. Unit: bytes."""

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,63}):[ \t]*(.*)")
_HASH = re.compile(r"sha256=([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What RECORD says of a file."""

    sha256: bytes
    size_bytes: int


def parse_headers(data: bytes, *, where: str) -> Mapping[str, tuple[str, ...]]:
    """Return the fields of a header file by their lower-case names.

    Raises:
        MalformedError: Not UTF-8, a line that is no field, or a bare carriage
            return, which some readers take for the end of a line.
        LimitExceededError: Too many lines.
    """
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise MalformedError("not UTF-8", where=where) from error
    head = text.split("\n\n", 1)[0].rstrip("\n")
    lines = head.split("\n", MAX_HEADER_LINES)
    if len(lines) > MAX_HEADER_LINES:
        raise LimitExceededError("too many lines", where=where)
    # Each value as its lines: to lengthen a text line by line takes their square.
    fields: dict[str, list[list[str]]] = {}
    last: list[str] | None = None
    for line in lines:
        if any(mark in line for mark in "\r\0\v\f\x1c\x1d\x1e\x85\u2028\u2029"):
            raise MalformedError("an odd line break", where=where)
        if line[:1] in {" ", "\t"} and last is not None:
            last.append(line.strip())
            continue
        found = _FIELD.fullmatch(line)
        if found is None:
            raise MalformedError("not a field", where=where, actual=ascii(line[:80]))
        last = [found[2].rstrip()]
        fields.setdefault(found[1].lower(), []).append(last)
    return {key: tuple(map("\n".join, values)) for key, values in fields.items()}


def only(fields: Mapping[str, tuple[str, ...]], key: str, *, where: str) -> str:
    """Return the one value of field ``key``.

    Raises:
        MalformedError: It is absent, empty, or there twice.
    """
    values = fields.get(key.lower(), ())
    if len(values) != 1 or not values[0]:
        raise MalformedError(f"not exactly one {key}", where=where)
    return values[0]


def parse_record(data: bytes, *, own: str) -> Mapping[str, Recorded]:
    """Return the rows of RECORD by path, without that of RECORD itself.

    ``own`` is RECORD's own path, which alone has no digest.

    Raises:
        MalformedError: A row that is no row, comes twice, or lacks SHA-256 or
            size; or RECORD does not list itself.
        LimitExceededError: More rows than a wheel has members.
    """
    listed: dict[str, Recorded] = {}
    itself = 0
    for index, row in enumerate(_rows(data, own=own), start=1):
        if row == [own, "", ""]:
            itself += 1
            continue
        path, recorded = _parse_row(row, where=f"{own}, row {index}")
        if len(listed) == MAX_MEMBERS:
            raise LimitExceededError("too many rows", where=own)
        if path in listed:
            raise MalformedError("listed twice", where=f"{own}: {ascii(path)[1:-1]}")
        listed[path] = recorded
    if itself != 1:
        raise MalformedError("does not list itself once, without a digest", where=own)
    return listed


def _rows(data: bytes, *, own: str) -> Iterator[list[str]]:
    """Give the rows one by one: a list of them takes many times their bytes."""
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
    rows = csv.reader(lines, strict=True)
    try:
        for row in rows:
            if row:
                yield row
            elif next(rows, None) is not None:
                # Only what follows the last line's end may be empty.
                raise MalformedError("an empty row", where=own)
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedError("not a table in UTF-8", where=own) from error


def _parse_row(row: list[str], *, where: str) -> tuple[str, Recorded]:
    if len(row) != 3 or not row[0]:
        raise MalformedError("not path, digest and size", where=where)
    found = _HASH.fullmatch(row[1])
    if found is None:
        raise MalformedError(
            "no SHA-256", where=where, expected="sha256=...", actual=ascii(row[1][:80])
        )
    if not row[2].isascii() or not row[2].isdecimal() or len(row[2]) > 12:
        raise MalformedError("no size", where=where, actual=ascii(row[2][:80]))
    try:
        digest = base64.b64decode(found[1] + "=", altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise MalformedError("not base64", where=where) from error
    return row[0], Recorded(sha256=digest, size_bytes=int(row[2]))
