"""Teams: whom a key belongs to, and what they are cleared for.

A new team may handle internal data and no more; raising that is a separate,
deliberate act. Functions take a connection in a transaction and do not commit.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from sqlalchemy import Connection, insert, select, update

from appliance.clock import rfc3339
from appliance.db.tables import TeamRow
from appliance.settings import Capture
from bundleformat.errors import MissingError, UsageError

INITIAL_CLASS = "internal"
"""The clearance and the default class of a new team."""

INITIAL_CAPTURE: Capture = "metadata"
"""How much of a new team's prompts and answers is captured."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """A team.

    Attributes:
        clearance: The most restrictive data class it may send.
        default_class: What its requests count as if they carry no label.
        capture: How much of its prompts and answers is captured.
    """

    name: str
    clearance: str
    default_class: str
    capture: Capture = INITIAL_CAPTURE


def get_or_create(connection: Connection, name: str, *, now: dt.datetime) -> Team:
    """Return the team of that name, creating it with the initial classes if new.

    Raises:
        UsageError: The name is not one a team can have.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            "not a name for a team",
            expected="1 to 32 of a-z, 0-9 and -, not starting with -",
            actual=repr(name[:64]),
        )
    found = _find(connection, name)
    if found is not None:
        return found
    team = Team(name=name, clearance=INITIAL_CLASS, default_class=INITIAL_CLASS)
    connection.execute(
        insert(TeamRow).values(
            name=team.name,
            clearance=team.clearance,
            default_class=team.default_class,
            created_ts=rfc3339(now),
        )
    )
    return team


def set_classes(
    connection: Connection,
    name: str,
    *,
    clearance: str,
    default_class: str,
    levels: Mapping[str, int],
) -> Team:
    """Set what a team is cleared for and what its unlabelled requests count as.

    Args:
        connection: In a transaction; not committed.
        name: The team.
        clearance: The most restrictive class it may send from now on.
        default_class: The class of its requests without a label.
        levels: The level of every class the policy set knows.

    Raises:
        MissingError: There is no such team.
        UsageError: An unknown class, or a default above the clearance, under
            which every request of the team would be denied.
    """
    for data_class in (clearance, default_class):
        if data_class not in levels:
            raise UsageError(
                "no such data class",
                expected=f"one of {', '.join(levels)}",
                actual=repr(data_class[:64]),
            )
    if levels[default_class] > levels[clearance]:
        raise UsageError(
            "the default class is above the clearance",
            expected=f"{clearance} or less restrictive",
            actual=default_class,
        )
    team = get(connection, name)
    connection.execute(
        update(TeamRow)
        .where(TeamRow.name == name)
        .values(clearance=clearance, default_class=default_class)
    )
    return replace(team, clearance=clearance, default_class=default_class)


def set_capture(connection: Connection, name: str, capture: str) -> Team:
    """Set how much of a team's prompts and answers is captured.

    Raises:
        MissingError: There is no such team.
        UsageError: There is no such level.
    """
    team = get(connection, name)
    for level in get_args(Capture):
        if level == capture:
            chosen = update(TeamRow).where(TeamRow.name == name)
            connection.execute(chosen.values(capture=level))
            return replace(team, capture=level)
    raise UsageError(
        "no such level of capture",
        expected=f"one of {', '.join(get_args(Capture))}",
        actual=repr(capture[:64]),
    )


def get(connection: Connection, name: str) -> Team:
    """Return the team of that name.

    Raises:
        MissingError: There is no such team.
    """
    found = _find(connection, name)
    if found is None:
        raise MissingError(
            "no such team",
            actual=repr(name[:64]),
            hint="A team is created with its first key: sallyport key create --team",
        )
    return found


def list_teams(connection: Connection) -> tuple[Team, ...]:
    """Return every team, by name."""
    rows = connection.execute(select(*_COLUMNS).order_by(TeamRow.name)).all()
    return tuple(_team(row) for row in rows)


_COLUMNS = (TeamRow.name, TeamRow.clearance, TeamRow.default_class, TeamRow.capture)


def _team(row: Sequence[Any]) -> Team:
    name, clearance, default_class, capture = row
    return Team(
        name=name, clearance=clearance, default_class=default_class, capture=capture
    )


def _find(connection: Connection, name: str) -> Team | None:
    row = connection.execute(select(*_COLUMNS).where(TeamRow.name == name)).first()
    return None if row is None else _team(row)
