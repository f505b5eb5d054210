"""The data classes of a site and their order.

Read from ``classes.toml``: one line per class, the larger the level the more
restrictive. A name that is not in the table is never guessed at: as a label it
counts as the most restrictive class, as a clearance it clears nothing.
"""

import re
import tomllib
from dataclasses import dataclass

from bundleformat.errors import LimitExceededError, MalformedError

TOKEN = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""What a class, a region, a site or a team is called. Matched in full."""

MAX_CLASSES = 64
"""Most classes a table may have. Unit: classes."""

MAX_LEVEL = 1_000
"""Highest level of a class; levels start at 0."""

NO_CLEARANCE = -1
"""Below every level: what an unknown clearance amounts to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataClass:
    """One class of data and how restrictive it is."""

    name: str
    level: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """The table, in order of level and then of name; never empty."""

    rows: tuple[DataClass, ...]

    @property
    def most_restrictive(self) -> DataClass:
        """Return the class that stands in for everything unknown."""
        return self.rows[-1]

    def find(self, name: str) -> DataClass | None:
        """Return the class called ``name``, or None if the table lacks it."""
        return next((row for row in self.rows if row.name == name), None)

    def label(self, name: str) -> DataClass:
        """Return the class called ``name``; if unknown, the most restrictive one."""
        return self.find(name) or self.most_restrictive

    def clearance_level(self, name: str) -> int:
        """Return the level up to which a clearance clears; if unknown, none."""
        found = self.find(name)
        return NO_CLEARANCE if found is None else found.level


def parse_classes(data: bytes, *, where: str = "classes.toml") -> Classes:
    """Return the table written in ``data``.

    Raises:
        MalformedError: Not TOML, no class, or a name or level that is not one.
        LimitExceededError: More than ``MAX_CLASSES`` classes.
    """
    try:
        table = tomllib.loads(data.decode("utf-8")).get("classes")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MalformedError(
            "not a TOML file", where=where, actual=str(error)
        ) from error
    if not isinstance(table, dict) or not table:
        raise MalformedError(
            "no table of that name, or empty", where=f"{where}: classes"
        )
    if len(table) > MAX_CLASSES:
        raise LimitExceededError(
            "too many data classes",
            where=where,
            expected=f"at most {MAX_CLASSES}",
            actual=str(len(table)),
        )
    rows = [_parse_row(name, level, where=where) for name, level in table.items()]
    return Classes(rows=tuple(sorted(rows, key=lambda row: (row.level, row.name))))


def _parse_row(name: str, level: object, *, where: str) -> DataClass:
    if not TOKEN.fullmatch(name):
        raise MalformedError(
            "not a name for a data class",
            where=f"{where}: classes",
            expected="1 to 32 of a-z, 0-9 and -",
            actual=repr(name[:64]),
        )
    # bool is an int in Python; a level of `true` would pass for 1.
    if (
        isinstance(level, bool)
        or not isinstance(level, int)
        or not (0 <= level <= MAX_LEVEL)
    ):
        raise MalformedError(
            "not a level",
            where=f"{where}: classes.{name}",
            expected=f"a whole number from 0 to {MAX_LEVEL}",
            actual=repr(level)[:64],
        )
    return DataClass(name=name, level=level)
