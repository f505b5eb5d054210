import datetime as dt

import pytest
from sqlalchemy import Connection

from appliance.identity import teams
from bundleformat.errors import MissingError, UsageError

NOW = dt.datetime(2026, 11, 22, 9, tzinfo=dt.UTC)
LEVELS = {"public": 0, "internal": 1, "pii": 2, "phi": 3}


def test_new_team_may_handle_internal_data_and_no_more(connection: Connection) -> None:
    team = teams.get_or_create(connection, "claims", now=NOW)
    assert team == teams.Team(
        name="claims", clearance="internal", default_class="internal"
    )
    assert teams.get(connection, "claims") == team


def test_existing_team_keeps_its_classes(connection: Connection) -> None:
    teams.get_or_create(connection, "claims", now=NOW)
    changed = teams.set_classes(
        connection, "claims", clearance="phi", default_class="pii", levels=LEVELS
    )
    assert teams.get_or_create(connection, "claims", now=NOW) == changed
    assert teams.get(connection, "claims") == changed


def test_classes_of_one_team_are_not_those_of_another(connection: Connection) -> None:
    other = teams.get_or_create(connection, "audit", now=NOW)
    teams.get_or_create(connection, "claims", now=NOW)
    changed = teams.set_classes(
        connection, "claims", clearance="phi", default_class="phi", levels=LEVELS
    )
    assert teams.list_teams(connection) == (other, changed)


@pytest.mark.parametrize(
    ("clearance", "default_class"),
    [("cosmic", "public"), ("phi", "cosmic"), ("internal", "pii")],
)
def test_classes_that_make_no_sense_change_nothing(
    connection: Connection, clearance: str, default_class: str
) -> None:
    team = teams.get_or_create(connection, "claims", now=NOW)
    with pytest.raises(UsageError):
        teams.set_classes(
            connection,
            "claims",
            clearance=clearance,
            default_class=default_class,
            levels=LEVELS,
        )
    assert teams.get(connection, "claims") == team


def test_unknown_team_is_missing(connection: Connection) -> None:
    with pytest.raises(MissingError):
        teams.get(connection, "claims")
    with pytest.raises(MissingError):
        teams.set_classes(
            connection, "claims", clearance="phi", default_class="phi", levels=LEVELS
        )
    assert teams.list_teams(connection) == ()


@pytest.mark.parametrize("name", ["", "Claims", "a b", "-a", "x" * 33, "é", "a\n", "*"])
def test_name_that_is_no_token_is_refused(connection: Connection, name: str) -> None:
    with pytest.raises(UsageError):
        teams.get_or_create(connection, name, now=NOW)
    assert teams.list_teams(connection) == ()
