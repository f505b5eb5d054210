"""The name of a key's holder: where a key file has it, and where a root keeps it.

A key is known by its id. The name beside it is what its holder wrote into the
key's file, and what a root's other holders signed; it tells people whom to call.

Source: RFC 7468, section 5.2 (text before a block); TUF specification 1.0,
section 4.2 (fields of a key that TUF does not know stay as they are).
"""

import re
import unicodedata
from typing import Final

from securesystemslib.signer import Key

from bundleformat.errors import UsageError
from bundleformat.report import printable

HOLDER_FIELD: Final = "x-sallyport-holder"
"""The field of a key in a root."""

MAX_HOLDER_CHARS: Final = 64
"""Longest name of a holder. Unit: characters."""

_LINE = re.compile(rb"^Holder: (?P<name>[^\r\n]*)\r?$", re.MULTILINE)


def is_holder(name: object) -> bool:
    """Return whether ``name`` can stand beside a key: one short, printable line."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= MAX_HOLDER_CHARS
        and name.isprintable()
        and name == unicodedata.normalize("NFC", name.strip())
    )


def check_holder(name: str, *, where: str) -> str:
    """Return ``name``.

    Raises:
        UsageError: It cannot stand beside a key.
    """
    if not is_holder(name):
        raise UsageError(
            "not the name of a holder",
            where=where,
            expected=f"1 to {MAX_HOLDER_CHARS} printable characters in one line, "
            "such as 'Anna Berg'",
            actual=ascii(name),
        )
    return name


def holder_line(name: str) -> bytes:
    """Return the line of a key file that names its holder; nothing for no name."""
    return f"Holder: {name}\n".encode() if name else b""


def holder_in(data: bytes) -> str:
    """Return the holder that a key file names before its first block, or nothing.

    A file that was joined of two names its first. A name that is none is not read.
    """
    found = _LINE.search(data.partition(b"-----BEGIN ")[0])
    if found is None:
        return ""
    name = found["name"].decode("utf-8", errors="replace").strip()
    return name if is_holder(name) else ""


def name_holder(key: Key, name: str) -> None:
    """Write the name of its holder into ``key``, if there is one."""
    if name:
        key.unrecognized_fields[HOLDER_FIELD] = name


def holder_of(key: Key) -> str:
    """Return the name of a key's holder, fit to be shown, or nothing."""
    name = key.unrecognized_fields.get(HOLDER_FIELD)
    return printable(name) if isinstance(name, str) and is_holder(name) else ""
