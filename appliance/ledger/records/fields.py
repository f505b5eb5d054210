"""The kinds of value a record's field may hold.

None of them accepts whitespace or more than 200 characters, so prompts,
completions and error texts cannot reach a record even by mistake. The one exception
is a reason that a person gives at the command line. Each kind
returns the value in its one encoding or raises ``ValueError`` naming the field,
never its value. Numbers are integers below 2**53; anything else travels as text.
Source: RFC 8785, section 3.2.2.3; RFC 8259, section 6.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

JSON: TypeAlias = (
    "str | int | bool | list[JSON] | tuple[JSON, ...] | Mapping[str, JSON] | None"
)
"""What a caller may give as a field. Floats are not among it."""

Kind: TypeAlias = Callable[[object, str], JSON]
"""Takes a value and the field's name; returns the value or raises ValueError."""

MAX_ITEMS = 1_024
"""Longest list in a record. Unit: items."""

MAX_REASON_CHARACTERS = 200
"""Longest reason in a record. Unit: characters."""

EXACT_INTEGER = 2**53
"""Integers from here on are not exact in every JSON reader."""


def _text(pattern: str) -> Kind:
    compiled = re.compile(pattern)

    def check(value: object, where: str) -> JSON:
        if isinstance(value, str) and compiled.fullmatch(value):
            return str(value)
        raise ValueError(f"{where}: not text of the form {pattern}")

    return check


TOKEN = _text(r"[!-~]{1,200}")
"""Printable ASCII without spaces: a name, a code or an id; never prose."""

SHA256 = _text(r"[0-9a-f]{64}")
"""A SHA-256 in lower-case hexadecimal."""

TIME = _text(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
"""A moment in UTC, RFC 3339."""

SEQ = _text(r"0|[1-9][0-9]{0,18}")
"""Another record's number; text, because it may pass 2**53."""

RANGE = _text(r"(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})")
"""The numbers of the first and the last of some records, both included."""

INTEGER = _text(r"0|-?[1-9][0-9]{0,19}")
"""An integer that may pass 2**53, as text."""

DECIMAL = _text(r"-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,9})?")
"""A decimal number as text; ``decimal_text`` makes one."""


def FLAG(value: object, where: str) -> JSON:  # noqa: N802 - a kind like its siblings
    """Accept true or false."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"{where}: not a boolean")


def COUNT(value: object, where: str) -> JSON:  # noqa: N802 - a kind like its siblings
    """Accept an integer from 0 that every JSON reader keeps exact."""
    if type(value) is int and 0 <= value < EXACT_INTEGER:
        return value
    raise ValueError(f"{where}: not an integer from 0 to 2**53 - 1")


def REASON(value: object, where: str) -> JSON:  # noqa: N802 - a kind like its siblings
    """Accept why a person decided something, in their words and on one line."""
    if (
        isinstance(value, str)
        and value.isprintable()
        and value.strip()
        and len(value) <= MAX_REASON_CHARACTERS
    ):
        return value
    raise ValueError(f"{where}: not a line of 1 to {MAX_REASON_CHARACTERS} characters")


def list_of(kind: Kind) -> Kind:
    """Return the kind of a bounded list whose items are all of ``kind``."""

    def check(value: object, where: str) -> JSON:
        if not isinstance(value, list | tuple) or len(value) > MAX_ITEMS:
            raise ValueError(f"{where}: not a list of at most {MAX_ITEMS} items")
        return [kind(item, f"{where}[{place}]") for place, item in enumerate(value)]

    return check


def object_of(
    *,
    required: Mapping[str, Kind] | None = None,
    optional: Mapping[str, Kind] | None = None,
) -> Kind:
    """Return the kind of an object with these fields and no other.

    A field that is None is left out of the record.
    """
    needed = dict(required or {})
    known = needed | dict(optional or {})

    def check(value: object, where: str) -> JSON:
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: not an object")  # noqa: TRY004 - one error for all kinds
        given = {name: item for name, item in value.items() if item is not None}
        for name in given.keys() - known.keys():
            raise ValueError(f"{where}: no field {name!r} in the catalogue")
        for name in needed.keys() - given.keys():
            raise ValueError(f"{where}: field {name!r} is missing")
        return {
            name: known[name](item, f"{where}.{name}") for name, item in given.items()
        }

    return check
