"""A team's terms: its own limits, its weight beside other teams, its priority.

What a team has no value for is the host's default. Functions take a connection
in a transaction and do not commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from appliance.db.tables import TeamTermsRow
from appliance.identity import teams
from appliance.settings import Priority
from bundleformat.errors import UsageError

DEFAULT = "default"
"""What stands for the host's default where a value could be."""

MAX_LIMIT = 2**40
"""Largest limit of a team. Unit: requests or tokens."""

MAX_WEIGHT = 100
"""Largest weight of a team; the smallest is 1, which is also the default."""

PRIORITIES = get_args(Priority)
"""How urgent a team's requests may be at most, the most urgent first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a team has instead of the host's defaults; None is the default.

    Attributes:
        running: Requests that run at once.
        queued: Requests that wait beside them.
        requests_per_minute: Requests that may be begun in a minute.
        tokens_per_minute: Tokens of prompts and answers in a minute.
        tokens_per_day: The same in a day, which begins at midnight UTC.
        weight: Its share of an engine beside the shares of other teams.
        priority: One of :data:`PRIORITIES`.
    """

    running: int | None = None
    queued: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    weight: int | None = None
    priority: str | None = None


ALL_DEFAULT = Terms()
"""The terms of a team that was never given any."""

NAMES = tuple(field.name for field in fields(Terms))
"""Every term by name, in the order of :class:`Terms`."""

COLUMNS = tuple(getattr(TeamTermsRow, name) for name in NAMES)
"""The columns of the terms, in the same order."""


def of_team(connection: Connection, team: str) -> Terms:
    """Return the terms of a team; all default if it has none of its own."""
    wanted = select(*COLUMNS).where(TeamTermsRow.team == team)
    row = connection.execute(wanted).first()
    return ALL_DEFAULT if row is None else from_row(row)


def from_row(values: Sequence[Any]) -> Terms:
    """Return the terms in a row's :data:`COLUMNS`."""
    return Terms(**dict(zip(NAMES, values, strict=True)))


def of_all(connection: Connection) -> Mapping[str, Terms]:
    """Return the terms of every team that has any of its own."""
    rows = connection.execute(select(TeamTermsRow.team, *COLUMNS))
    return {row[0]: from_row(row[1:]) for row in rows}


def change(connection: Connection, team: str, changes: Mapping[str, str]) -> Terms:
    """Set the named terms of a team and leave the others as they are.

    Args:
        connection: In a transaction; not committed.
        team: The team.
        changes: Term by name; each a value or :data:`DEFAULT`, as a person
            writes it.

    Raises:
        MissingError: There is no such team.
        UsageError: A value that this term cannot have; nothing changed.
    """
    teams.get(connection, team)
    parsed = {name: _parse(name, text) for name, text in changes.items()}
    values = asdict(of_team(connection, team)) | parsed
    connection.execute(
        insert(TeamTermsRow)
        .values(team=team, **values)
        .on_conflict_do_update(index_elements=["team"], set_=values)
    )
    return of_team(connection, team)


def _parse(name: str, text: str) -> int | str | None:
    if text == DEFAULT:
        return None
    if name == "priority":
        if text in PRIORITIES:
            return text
        raise _unusable(name, text, f"one of {', '.join(PRIORITIES)}")
    most = MAX_WEIGHT if name == "weight" else MAX_LIMIT
    if text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= most:
        return int(text)
    raise _unusable(name, text, f"a number from 1 to {most}")


def _unusable(name: str, text: str, expected: str) -> UsageError:
    return UsageError(
        f"not a value for {name.replace('_', ' ')}",
        expected=f"{expected}, or {DEFAULT}",
        actual=repr(text[:64]),
    )
