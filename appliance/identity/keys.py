"""API keys: created once, shown once, known afterwards only by a keyed digest.

A key holds 256 random bits, so a fast HMAC under the host's pepper is enough;
a slow password hash would only slow down the gateway. Every way a key can fail
is the same error, and a key that is not there costs the same work as one that
is. Functions take a connection in a transaction and do not commit.
"""

import datetime as dt
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from appliance.clock import rfc3339
from appliance.db.session import statement_text
from appliance.db.tables import ApiKeyRow, TeamRow, TeamTermsRow
from appliance.errors import AuthenticationError
from appliance.identity import teams
from appliance.identity.keyformat import key_id_of, mint_text
from appliance.identity.lifetime import DEFAULT_LIFETIME, check_lifetime
from appliance.identity.terms import ALL_DEFAULT, COLUMNS, Terms, from_row
from appliance.settings import Capture
from bundleformat.errors import MissingError, UsageError

MAX_NAME_CHARACTERS = 64
"""Longest name of a key. Unit: characters."""

WHOSE_KEY = statement_text(
    select(
        ApiKeyRow.mac,
        ApiKeyRow.expires_ts,
        ApiKeyRow.revoked_ts,
        TeamRow.name,
        TeamRow.clearance,
        TeamRow.default_class,
        TeamRow.capture,
        *COLUMNS,
    )
    .join(TeamRow, TeamRow.name == ApiKeyRow.team)
    .outerjoin(TeamTermsRow, TeamTermsRow.team == TeamRow.name)
    .where(ApiKeyRow.key_id == bindparam("key_id"))
)
"""Finds a key by its id, with all that a request needs of its team."""

_CONTEXT = b"sallyport api key v1\0"
_NO_MAC = bytes(32)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewKey:
    """A key that was just created.

    Attributes:
        secret_text: The whole key. The caller MUST show it once and forget it;
            it is in no ``repr`` and nowhere in the database.
    """

    key_id: str
    team: str
    name: str
    expires: dt.datetime
    secret_text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who presented a valid key. Only ``authenticate`` makes one."""

    key_id: str
    key_expires: dt.datetime
    team: str
    clearance: str
    default_class: str
    capture: Capture = teams.INITIAL_CAPTURE
    terms: Terms = ALL_DEFAULT


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyEntry:
    """What the host knows of a key; times as RFC 3339 text."""

    key_id: str
    team: str
    name: str
    created: str
    expires: str
    revoked: str | None


def create(
    connection: Connection,
    *,
    team: str,
    pepper: bytes,
    now: dt.datetime,
    name: str = "",
    lifetime: dt.timedelta = DEFAULT_LIFETIME,
) -> NewKey:
    """Store a new key of a team, creating the team if it is new.

    Raises:
        UsageError: The team's or the key's name or the lifetime is not allowed.
    """
    check_lifetime(lifetime)
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise UsageError(
            "not a name for a key",
            expected=f"at most {MAX_NAME_CHARACTERS} printable characters",
            actual=repr(name[:MAX_NAME_CHARACTERS]),
        )
    owner = teams.get_or_create(connection, team, now=now)
    text = mint_text()
    key = NewKey(
        key_id=str(key_id_of(text)),
        team=owner.name,
        name=name,
        expires=now + lifetime,
        secret_text=text,
    )
    connection.execute(
        insert(ApiKeyRow).values(
            key_id=key.key_id,
            mac=_mac(text, pepper),
            team=key.team,
            name=key.name,
            created_ts=rfc3339(now),
            expires_ts=rfc3339(key.expires),
            revoked_ts=None,
        )
    )
    return key


def authenticate(
    look_up: Callable[[str], tuple[Any, ...] | None],
    presented: str,
    *,
    pepper: bytes,
    now: dt.datetime,
) -> Caller:
    """Return who presented the key.

    Args:
        look_up: Returns the first row of :data:`WHOSE_KEY` for a key's id.
        presented: What the caller sent.
        pepper: The host's.
        now: Keys that have expired by then are void.

    Raises:
        AuthenticationError: Malformed, unknown, wrong, expired or revoked; the
            error is the same for all, and names neither the key nor its id.
    """
    key_id = key_id_of(presented)
    if key_id is None:
        raise AuthenticationError
    row = look_up(key_id)
    # An unknown id is compared too, so that its answer takes as long.
    right = hmac.compare_digest(
        _mac(presented, pepper), _NO_MAC if row is None else row[0]
    )
    if row is None or not right:
        raise AuthenticationError
    _, expires_ts, revoked_ts, team, clearance, default_class, capture, *terms = row
    expires = dt.datetime.fromisoformat(expires_ts)
    if revoked_ts is not None or expires <= now:
        raise AuthenticationError
    return Caller(
        key_id=key_id,
        key_expires=expires,
        team=team,
        clearance=clearance,
        default_class=default_class,
        capture=capture,
        terms=from_row(terms),
    )


def revoke(connection: Connection, key_id: str, *, now: dt.datetime) -> KeyEntry:
    """Revoke a key from now on; one already revoked keeps its first date.

    Raises:
        MissingError: There is no key of that id.
    """
    connection.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.key_id == key_id, ApiKeyRow.revoked_ts.is_(None))
        .values(revoked_ts=rfc3339(now))
    )
    for entry in list_keys(connection):
        if entry.key_id == key_id:
            return entry
    raise MissingError(
        "no key of that id",
        hint="List the keys with: sallyport key list",
    )


def list_keys(connection: Connection) -> tuple[KeyEntry, ...]:
    """Return every key, oldest first."""
    rows = connection.execute(
        select(ApiKeyRow.__table__).order_by(ApiKeyRow.created_ts, ApiKeyRow.key_id)
    )
    return tuple(
        KeyEntry(
            key_id=row.key_id,
            team=row.team,
            name=row.name,
            created=row.created_ts,
            expires=row.expires_ts,
            revoked=row.revoked_ts,
        )
        for row in rows
    )


def _mac(text: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, _CONTEXT + text.encode("ascii"), "sha256")
