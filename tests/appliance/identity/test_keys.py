import datetime as dt
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select, update

from appliance.db.tables import ApiKeyRow, TeamRow
from appliance.errors import AuthenticationError
from appliance.identity import keys, teams
from appliance.identity.keyformat import mint_text
from bundleformat.errors import MissingError, UsageError

NOW = dt.datetime(2026, 11, 22, 9, 0, 0, 123_456, tzinfo=dt.UTC)
PEPPER = bytes(range(32))
DAY = dt.timedelta(days=1)


def new_key(connection: Connection, *, name: str = "laptop") -> keys.NewKey:
    return keys.create(connection, team="claims", name=name, pepper=PEPPER, now=NOW)


def caller(
    connection: Connection,
    presented: str,
    *,
    pepper: bytes = PEPPER,
    now: dt.datetime = NOW,
) -> keys.Caller:
    def look_up(key_id: str) -> tuple[Any, ...] | None:
        found = connection.exec_driver_sql(keys.WHOSE_KEY, (key_id,)).first()
        return None if found is None else tuple(found)

    return keys.authenticate(look_up, presented, pepper=pepper, now=now)


def rows(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(ApiKeyRow)) or 0


def test_new_key_authenticates_its_team(connection: Connection) -> None:
    key = new_key(connection)
    assert caller(connection, key.secret_text) == keys.Caller(
        key_id=key.key_id,
        key_expires=NOW + 90 * DAY,
        team="claims",
        clearance="internal",
        default_class="internal",
    )


def test_caller_has_the_classes_its_team_has_now(connection: Connection) -> None:
    key = new_key(connection)
    levels = {"internal": 1, "pii": 2, "phi": 3}
    teams.set_classes(
        connection, "claims", clearance="phi", default_class="pii", levels=levels
    )
    teams.set_capture(connection, "claims", "digest")
    found = caller(connection, key.secret_text)
    assert (found.clearance, found.default_class) == ("phi", "pii")
    assert found.capture == "digest"


def test_secret_is_in_no_row_no_repr_and_no_listing(connection: Connection) -> None:
    key = new_key(connection)
    secret = key.secret_text[13:]
    stored = connection.execute(select(ApiKeyRow.__table__)).one()
    assert secret not in repr(key)
    assert secret not in str(key)
    assert secret not in repr(stored)
    assert secret.encode() not in stored.mac
    assert secret not in repr(keys.list_keys(connection))
    assert len(stored.mac) == 32


def failures(connection: Connection) -> dict[str, tuple[str, bytes, dt.datetime]]:
    """Return one way of presenting a key for each way in which it can fail."""
    good, revoked = new_key(connection), new_key(connection)
    keys.revoke(connection, revoked.key_id, now=NOW)
    text = good.secret_text
    # A key of the right form under the id of a row that holds another's digest.
    wrong = mint_text()
    connection.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.key_id == new_key(connection).key_id)
        .values(key_id=wrong[4:12])
    )
    return {
        "empty": ("", PEPPER, NOW),
        "typo": (text[:-1] + "*", PEPPER, NOW),
        "not ascii": ("é" * 62, PEPPER, NOW),
        "unknown": (mint_text(), PEPPER, NOW),
        "wrong": (wrong, PEPPER, NOW),
        "pepper": (text, bytes(32), NOW),
        "expired": (text, PEPPER, good.expires),
        "revoked": (revoked.secret_text, PEPPER, NOW),
    }


@pytest.mark.parametrize(
    "way",
    ["empty", "typo", "not ascii", "unknown", "wrong", "pepper", "expired", "revoked"],
)
def test_every_failure_is_the_same_error(connection: Connection, way: str) -> None:
    presented, pepper, now = failures(connection)[way]
    with pytest.raises(AuthenticationError) as caught:
        caller(connection, presented, pepper=pepper, now=now)
    error = caught.value
    assert (error.code, error.http_status) == ("invalid-api-key", 401)
    assert str(error) == str(AuthenticationError())
    assert (error.where, error.expected, error.actual, error.hint) == ("",) * 4
    assert error.__cause__ is error.__context__ is None


def test_key_is_good_until_the_microsecond_it_expires(connection: Connection) -> None:
    key = new_key(connection)
    before = key.expires - dt.timedelta(microseconds=1)
    assert caller(connection, key.secret_text, now=before).key_id == key.key_id


def test_mistyped_key_is_turned_away_without_a_look_up(connection: Connection) -> None:
    text = new_key(connection).secret_text
    statements: list[str] = []
    event.listen(
        connection,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: statements.append(statement),
    )
    for typo in (text[:-1] + "*", text[:20] + "_" + text[21:], "spk_", ""):
        with pytest.raises(AuthenticationError):
            caller(connection, typo)
    assert statements == []
    with pytest.raises(AuthenticationError):
        caller(connection, mint_text())
    assert len(statements) == 1


def test_revoking_twice_keeps_the_first_date(connection: Connection) -> None:
    key = new_key(connection)
    first = keys.revoke(connection, key.key_id, now=NOW)
    assert first.revoked == "2026-11-22T09:00:00.123456Z"
    assert keys.revoke(connection, key.key_id, now=NOW + DAY) == first


def test_revoking_one_key_leaves_the_other_alone(connection: Connection) -> None:
    one, other = new_key(connection), new_key(connection)
    keys.revoke(connection, one.key_id, now=NOW)
    assert caller(connection, other.secret_text).key_id == other.key_id


def test_unknown_key_cannot_be_revoked(connection: Connection) -> None:
    with pytest.raises(MissingError):
        keys.revoke(connection, "AbCd1234", now=NOW)


def test_list_shows_every_key_oldest_first(connection: Connection) -> None:
    first = new_key(connection, name="first")
    second = keys.create(
        connection, team="audit", pepper=PEPPER, now=NOW + DAY, lifetime=DAY
    )
    assert keys.list_keys(connection) == (
        keys.KeyEntry(
            key_id=first.key_id,
            team="claims",
            name="first",
            created="2026-11-22T09:00:00.123456Z",
            expires="2027-02-20T09:00:00.123456Z",
            revoked=None,
        ),
        keys.KeyEntry(
            key_id=second.key_id,
            team="audit",
            name="",
            created="2026-11-23T09:00:00.123456Z",
            expires="2026-11-24T09:00:00.123456Z",
            revoked=None,
        ),
    )


@pytest.mark.parametrize(
    ("team", "name", "lifetime"),
    [
        ("Claims", "", DAY),
        ("", "", DAY),
        ("claims", "a\nb", DAY),
        ("claims", "x" * 65, DAY),
        ("claims", "", dt.timedelta(0)),
        ("claims", "", 366 * DAY),
    ],
)
def test_key_that_is_not_allowed_leaves_no_row(
    connection: Connection, team: str, name: str, lifetime: dt.timedelta
) -> None:
    with pytest.raises(UsageError):
        keys.create(
            connection, team=team, name=name, lifetime=lifetime, pepper=PEPPER, now=NOW
        )
    assert rows(connection) == 0
    assert connection.scalar(select(func.count()).select_from(TeamRow)) == 0
