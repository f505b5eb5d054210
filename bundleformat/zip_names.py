"""Names inside an archive: what two file systems would read alike, and no other.

Whatever could leave the folder it is unpacked to, become another file on another
system, or be taken for another by a person is refused; nothing is repaired.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from bundleformat.errors import LimitExceededError, MalformedError

MAX_NAME_BYTES: Final = 1_024
"""Longest name of a member. Unit: bytes of UTF-8."""

MAX_PART_BYTES: Final = 255
"""Longest part of a name; what Linux file systems hold. Unit: bytes of UTF-8."""

MAX_DEPTH: Final = 32
"""Most folders around a file."""

_FORBIDDEN = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]')


def parse_name(raw: bytes, *, utf8: bool, where: str) -> str:
    """Return the name of a member, whose flag says whether it is UTF-8.

    Raises:
        MalformedError: Not a relative path below the archive, or not one that
            every system reads alike.
        LimitExceededError: Too long or too deep.
    """
    if len(raw) > MAX_NAME_BYTES:
        raise LimitExceededError(
            "name too long", where=where, expected=f"at most {MAX_NAME_BYTES} bytes"
        )
    try:
        name = raw.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError as error:
        raise MalformedError(
            "a name in no known encoding", where=where, actual=ascii(raw)
        ) from error
    if _FORBIDDEN.search(name) or not name.isprintable():
        raise MalformedError("unsafe name", where=where, actual=ascii(name))
    if unicodedata.normalize("NFC", name) != name:
        raise MalformedError("name not in NFC", where=where, actual=ascii(name))
    _check_parts(name, where=where)
    return name


def _check_parts(name: str, *, where: str) -> None:
    parts = name.removesuffix("/").split("/")
    if len(parts) > MAX_DEPTH:
        raise LimitExceededError(
            "too deep", where=where, expected=f"at most {MAX_DEPTH} folders"
        )
    for part in parts:
        if part in {"", ".", ".."} or part != part.strip(" ") or part.endswith("."):
            raise MalformedError("unsafe name", where=where, actual=ascii(name))
        if len(part.encode("utf-8")) > MAX_PART_BYTES:
            raise LimitExceededError("name too long", where=where)


def check_names(names: Sequence[str]) -> None:
    """Check that no two names are one file on any system.

    Raises:
        MalformedError: A name comes twice, in another case or spelling, or is
            both a file and a folder.
    """
    files: set[str] = set()
    folders: set[str] = set()
    for name in names:
        folded = unicodedata.normalize("NFC", name.casefold())
        key = folded.removesuffix("/")
        if key in files or (folded.endswith("/") and folded in folders):
            raise MalformedError("two members of one name", where=name)
        if folded.endswith("/"):
            folders.add(folded)
        else:
            files.add(key)
    for name in names:
        parts = unicodedata.normalize("NFC", name.casefold()).split("/")
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in files:
                raise MalformedError("below a file as if it were a folder", where=name)
