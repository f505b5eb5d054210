"""JSON with one meaning: encoding by RFC 8785, decoding that refuses ambiguity.

Two readers of one document must never see different things. Refused are
therefore: duplicate keys, floats and NaN, integers beyond 2^53 - 1, lone
surrogates, a byte order mark, anything that is not UTF-8, and more objects and
lists, or deeper ones, than the limit. Both are counted before the parser runs,
which would take many times the memory of their brackets.

Source: RFC 8785 (JSON Canonicalization Scheme); RFC 7493 (I-JSON), section 2.
"""

import json
import re
from typing import Any, Final

import rfc8785

from bundleformat.errors import LimitExceededError, MalformedError

MAX_INTEGER: Final = 2**53 - 1
"""Largest magnitude of an integer that every JSON reader keeps exactly."""

MAX_CONTAINERS: Final = 2**17
"""Most objects and lists of one document; 32 768 chunks of TUF take half of it."""

_TOKEN = re.compile(
    rb'"[^"\\]*+(?:\\(?:.|\Z)[^"\\]*+)*+(?:"|\Z)|(?P<open>[\[{])|(?P<close>[\]}])',
    re.DOTALL,
)
"""A whole string, or a bracket outside of one. Linear: a string never backtracks."""


def encode(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the one canonical encoding of ``value``.

    Raises:
        MalformedError: ``value`` holds a float, a key that is not text, an
            integer beyond 2^53 - 1, a lone surrogate, or no JSON type at all.
    """
    _check_encodable(value)
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise MalformedError("no canonical JSON form", actual=str(error)) from error


def decode(data: bytes, *, max_bytes: int, max_depth: int, where: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of ``data``, which need not be in canonical form.

    Raises:
        LimitExceededError: Longer than ``max_bytes``, deeper than ``max_depth``, or
            of more than ``MAX_CONTAINERS`` objects and lists.
        MalformedError: Not JSON, or JSON that two readers may see differently.
    """
    if len(data) > max_bytes:
        raise LimitExceededError(
            "too long",
            where=where,
            expected=f"at most {max_bytes} bytes",
            actual=f"{len(data)} bytes",
        )
    _check_containers(data, max_depth=max_depth, where=where)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_safe_integer,
        )
        # A lone surrogate can be written as an escape, but it is not text.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError as error:
        raise MalformedError("not UTF-8 text", where=where) from error
    except json.JSONDecodeError as error:
        raise MalformedError(
            "not JSON", where=where, actual=f"{error.msg} at character {error.pos}"
        ) from error
    except _AmbiguousError as error:
        raise MalformedError(str(error), where=where) from error
    return value


def decode_canonical(data: bytes, *, max_bytes: int, max_depth: int, where: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of ``data``, for which ``encode(value) == data`` holds.

    Raises:
        LimitExceededError: As ``decode``.
        MalformedError: As ``decode``, or not in canonical form.
    """
    value = decode(data, max_bytes=max_bytes, max_depth=max_depth, where=where)
    if encode(value) != data:
        raise MalformedError(
            "not in canonical form", where=where, expected="RFC 8785 bytes"
        )
    return value


class _AmbiguousError(Exception):
    """JSON that two readers may see differently; never leaves this module."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _AmbiguousError("the same key twice in one object")
    return found


def _refuse_number(text: str) -> Any:  # noqa: ANN401 - never returns
    raise _AmbiguousError(f"a number that is no integer: {text[:32]}")


def _safe_integer(text: str) -> int:
    # Seventeen characters hold the sign and the sixteen digits of 2^53 - 1;
    # longer text is refused before it is converted.
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise _AmbiguousError(f"an integer beyond 2^53 - 1: {text[:32]}")
    return int(text)


def _check_containers(data: bytes, *, max_depth: int, where: str) -> None:
    depth = count = 0
    for token in _TOKEN.finditer(data):
        if token["open"]:
            depth += 1
            count += 1
            if depth > max_depth:
                raise LimitExceededError(
                    "nested too deeply", where=where, expected=f"depth {max_depth}"
                )
            if count > MAX_CONTAINERS:
                raise LimitExceededError(
                    "too many objects and lists",
                    where=where,
                    expected=f"at most {MAX_CONTAINERS}",
                )
        elif token["close"]:
            depth -= 1


def _check_encodable(value: Any) -> None:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        raise MalformedError("floats have no place here", actual=repr(value))
    if isinstance(value, dict):
        for item in value.values():
            _check_encodable(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_encodable(item)
