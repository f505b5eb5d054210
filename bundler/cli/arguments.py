"""Reads names, durations, sizes and times as people write them on a command line."""

import datetime as dt
import re
from pathlib import Path
from typing import Final

from bundleformat.errors import MalformedError, UsageError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.moments import parse_moment
from bundleformat.site_certificate import JURISDICTION, TOKEN

MAX_DAYS: Final = 3_650
"""Longest life of a signature: ten years. Unit: days."""

MIN_CHUNK_BYTES: Final = 1_024
"""Smallest chunk; smaller ones would only make long lists. Unit: bytes."""

_UNITS: Final = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DAYS = re.compile(r"([1-9][0-9]{0,4})d", re.ASCII)
_SIZE = re.compile(r"([1-9][0-9]{0,11})(|KiB|MiB|GiB)", re.ASCII)


def parse_key_name(text: str) -> Path:
    """Return where a new key goes, such as ``keys/release``, without its ending.

    Raises:
        UsageError: The last part is no name: empty, ``.`` or ``..``.
    """
    if text.rpartition("/")[2] in {"", ".", ".."}:
        raise UsageError(
            "not the name of a key",
            where="NAME",
            expected="a file name without an ending, such as keys/release",
            actual=ascii(text),
        )
    return Path(text)


def parse_token(text: str, *, option: str) -> str:
    """Return the name of a site or of a region, such as ``in-blr``.

    Raises:
        UsageError: Not one that a site certificate can hold.
    """
    if not TOKEN.fullmatch(text):
        raise UsageError(
            "not a name",
            where=option,
            expected="1 to 32 of a-z 0-9 -, a letter or digit first",
            actual=ascii(text),
        )
    return text


def parse_jurisdiction(text: str) -> str:
    """Return a jurisdiction such as ``IN`` or ``US-CA``.

    Raises:
        UsageError: Not an ISO 3166 code.
    """
    if not JURISDICTION.fullmatch(text):
        raise UsageError(
            "not a jurisdiction",
            where="--jurisdiction",
            expected="an ISO 3166 code such as IN or US-CA",
            actual=ascii(text),
        )
    return text


def parse_days(text: str) -> dt.timedelta:
    """Return a duration such as ``365d``.

    Raises:
        UsageError: Not 1 to 3650 days.
    """
    found = _DAYS.fullmatch(text)
    if found is None or int(found[1]) > MAX_DAYS:
        raise UsageError(
            "not a duration",
            where="--expires",
            expected=f"1d to {MAX_DAYS}d",
            actual=ascii(text),
        )
    return dt.timedelta(days=int(found[1]))


def parse_chunk_size(text: str) -> int:
    """Return a number of bytes such as ``1GiB``, ``64MiB`` or ``4096``.

    Raises:
        UsageError: Not a size, or not one a chunk may have.
    """
    found = _SIZE.fullmatch(text)
    size_bytes = int(found[1]) * _UNITS[found[2]] if found else 0
    if not MIN_CHUNK_BYTES <= size_bytes <= DEFAULT_LIMITS.chunk_bytes:
        raise UsageError(
            "not a chunk size",
            where="--chunk-size",
            expected="1KiB to 1GiB",
            actual=ascii(text),
        )
    return size_bytes


def chunk_bytes_for(text: str | None, *, volume_bytes: int | None) -> int:
    """Return the chunk size asked for, or one that leaves little of a volume empty.

    Raises:
        UsageError: As ``parse_chunk_size``.
    """
    if text is not None:
        return parse_chunk_size(text)
    most = DEFAULT_LIMITS.chunk_bytes
    if volume_bytes is None:
        return most
    eighth = max(MIN_CHUNK_BYTES, volume_bytes // 8)
    return int(min(most, 2 ** (eighth.bit_length() - 1)))


def parse_source_date(text: str) -> dt.datetime:
    """Return a time such as ``2026-11-22T08:00:00Z``.

    Raises:
        UsageError: Not a time in UTC and whole seconds.
    """
    try:
        return parse_moment(text, where="--source-date")
    except MalformedError as error:
        raise UsageError(
            error.problem,
            where=error.where,
            expected=error.expected,
            actual=error.actual,
        ) from error
