"""Paths and names that are safe on every file system and in every message.

A path is relative, POSIX, ASCII and short. Whatever is not on the list of
accepted characters is refused; nothing is repaired.
"""

import itertools
import re
from collections.abc import Iterable
from typing import Final, NewType

from bundleformat.errors import MalformedError

ArchivePath = NewType("ArchivePath", str)
"""A path below a volume or inside a bundle that ``parse_path`` accepted."""

Name = NewType("Name", str)
"""A channel, model or policy name that ``parse_name`` accepted."""

MAX_PATH_CHARACTERS: Final = 200
"""Longest path; leaves room for a mount point in the 255 of old systems."""

MAX_PATH_PARTS: Final = 8
"""Deepest path."""

_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+-]*[A-Za-z0-9_+-])?")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ARTIFACT_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]{0,127}")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul"}
    | {f"{stem}{digit}" for stem in ("com", "lpt") for digit in range(1, 10)}
)
"""Names that some systems open as devices, whatever follows the first dot."""


def parse_path(text: str, *, where: str = "path") -> ArchivePath:
    """Return ``text`` as a path.

    Raises:
        MalformedError: Absolute, empty, too long or too deep; a part that is
            ``..``, starts with a dot, ends with one, names a device, or holds
            a character that is not an ASCII letter, digit, ``.``, ``_``, ``+`` or
            ``-``.
    """
    parts = text.split("/")
    if len(text) > MAX_PATH_CHARACTERS or len(parts) > MAX_PATH_PARTS:
        raise MalformedError(
            "path too long",
            where=where,
            expected=f"{MAX_PATH_CHARACTERS} characters in {MAX_PATH_PARTS} parts",
        )
    for part in parts:
        if not _PART.fullmatch(part) or _names_device(part):
            raise MalformedError(
                "not a safe relative path", where=where, actual=ascii(text)
            )
    return ArchivePath(text)


def parse_name(text: str, *, where: str = "name") -> Name:
    """Return ``text`` as a name of 1 to 64 of ``a-z 0-9 . _ -``.

    Names become parts of paths, so one that names a device is refused, too.

    Raises:
        MalformedError: It is not such a name.
    """
    if not _NAME.fullmatch(text) or _names_device(text):
        raise MalformedError(
            "not a name",
            where=where,
            expected="1 to 64 of a-z 0-9 . _ -, a letter or digit first",
            actual=ascii(text[:80]),
        )
    return Name(text)


def parse_artifact_name(text: str, *, where: str = "name") -> Name:
    """Return ``text`` as the name of a file that people do not type.

    It is 1 to 128 of ``a-z 0-9 . _ + -``, because wheels have long names.

    Raises:
        MalformedError: It is not such a name.
    """
    if not _ARTIFACT_NAME.fullmatch(text) or _names_device(text):
        raise MalformedError(
            "not a name",
            where=where,
            expected="1 to 128 of a-z 0-9 . _ + -, a letter or digit first",
            actual=ascii(text[:160]),
        )
    return Name(text)


def check_ascending(values: Iterable[str], *, where: str) -> None:
    """Check that ``values`` ascend, which also means that none is there twice.

    Raises:
        MalformedError: They do not.
    """
    for before, after in itertools.pairwise(values):
        if before >= after:
            raise MalformedError(
                "not in ascending order, or twice the same",
                where=where,
                actual=f"{before!a} before {after!a}",
            )


def parse_region(text: str, *, where: str = "region") -> str:
    """Return ``text`` as a region such as ``in-blr``.

    Raises:
        MalformedError: It is not 1 to 32 of ``a-z 0-9 -``.
    """
    if not _REGION.fullmatch(text):
        raise MalformedError(
            "not a region code",
            where=where,
            expected="1 to 32 of a-z 0-9 -, a letter or digit first",
            actual=ascii(text[:80]),
        )
    return text


def _names_device(part: str) -> bool:
    return part.lower().split(".")[0] in _DEVICES
