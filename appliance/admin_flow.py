"""What an operator changes by hand; each change and its record are one transaction.

The record names the account of the operating system that did it.
"""

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import Connection, func, select

from appliance.account import account_fields
from appliance.clock import rfc3339
from appliance.db.tables import SiteCertificateRow
from appliance.host import OpenHost
from appliance.identity import keys, site, teams, terms
from appliance.identity.keys import KeyEntry, NewKey
from appliance.identity.teams import Team
from appliance.identity.terms import ALL_DEFAULT, Terms
from appliance.intake import trust_state
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.records.fields import JSON
from bundleformat.errors import MissingError
from bundleformat.retention import Retention
from bundleformat.site_certificate import SiteCertificate


def create_key(
    host: OpenHost, *, team: str, name: str, lifetime: dt.timedelta
) -> tuple[NewKey, bool]:
    """Create a key, and its team if that is new; return whether it was.

    Raises:
        UsageError: A name or the lifetime is not allowed.
        StorageFaultError: The disk refused; there is no new key.
    """
    now = host.clock.now()
    with host.change() as connection:
        known = {entry.name for entry in teams.list_teams(connection)}
        key = keys.create(
            connection,
            team=team,
            pepper=host.pepper,
            now=now,
            name=name,
            lifetime=lifetime,
        )
        drafts = []
        if key.team not in known:
            owner = teams.get(connection, key.team)
            drafts.append(_team_draft(Event.TEAM_CREATED, owner))
        created = Draft(
            event=Event.APIKEY_CREATED,
            outcome=Outcome.OK,
            team=key.team,
            fields={
                "key_id": key.key_id,
                "not_after": rfc3339(key.expires),
                **account_fields(),
            },
        )
        host.record(connection, [*drafts, created], now=now)
    return key, key.team not in known


def revoke_key(host: OpenHost, key_id: str) -> KeyEntry:
    """Revoke a key; one already revoked stays so and is recorded only once.

    Raises:
        MissingError: There is no such key.
        StorageFaultError: The disk refused; nothing changed.
    """
    now = host.clock.now()
    with host.change() as connection:
        before = {e.key_id: e.revoked for e in keys.list_keys(connection)}
        entry = keys.revoke(connection, key_id, now=now)
        if before[key_id] is None:
            revoked = Draft(
                event=Event.APIKEY_REVOKED,
                outcome=Outcome.OK,
                team=entry.team,
                fields={"key_id": entry.key_id, **account_fields()},
            )
            host.record(connection, [revoked], now=now)
    return entry


@dataclass(frozen=True, kw_only=True, slots=True)
class TeamEntry:
    """A team with its terms, as an operator sees it."""

    team: Team
    terms: Terms


def get_team(host: OpenHost, name: str) -> TeamEntry:
    """Return one team with its terms.

    Raises:
        MissingError: There is no such team.
    """
    with host.look() as connection:
        return _entry(connection, name)


def list_teams(host: OpenHost) -> tuple[TeamEntry, ...]:
    """Return every team with its terms, by name."""
    with host.look() as connection:
        own = terms.of_all(connection)
        return tuple(
            TeamEntry(team=team, terms=own.get(team.name, ALL_DEFAULT))
            for team in teams.list_teams(connection)
        )


def set_team(
    host: OpenHost,
    name: str,
    *,
    levels: Mapping[str, int],
    clearance: str | None = None,
    default_class: str | None = None,
    capture: str | None = None,
    changes: Mapping[str, str] = MappingProxyType({}),
) -> TeamEntry:
    """Set what a team is cleared for and what its requests may take.

    What is not named stays as it is. Setting what is set already is not recorded.

    Args:
        host: The host.
        name: The team.
        levels: The level of every data class.
        clearance: The most restrictive class it may send.
        default_class: What its requests without a label count as.
        capture: How much of its prompts and answers is captured.
        changes: Terms by name, as :func:`appliance.identity.terms.change` takes them.

    Raises:
        UsageError: An unknown class or level, a default above the clearance, or a
            term that cannot be.
        MissingError: There is no such team.
        StorageFaultError: The disk refused; nothing changed.
    """
    with host.change() as connection:
        before = _entry(connection, name)
        teams.set_classes(
            connection,
            name,
            clearance=clearance or before.team.clearance,
            default_class=default_class or before.team.default_class,
            levels=levels,
        )
        if capture is not None:
            teams.set_capture(connection, name, capture)
        terms.change(connection, name, changes)
        after = _entry(connection, name)
        if after != before:
            changed = _team_draft(
                Event.TEAM_CHANGED, after.team, own=after.terms, before=before
            )
            host.record(connection, [changed], now=host.clock.now())
    return after


def _entry(connection: Connection, name: str) -> TeamEntry:
    return TeamEntry(
        team=teams.get(connection, name), terms=terms.of_team(connection, name)
    )


def install_site(host: OpenHost, envelope: bytes) -> SiteCertificate:
    """Install a site certificate signed by a compliance key the root names.

    Installing the newest one again changes nothing and is not recorded.

    Raises:
        SignatureError: No such key signed it.
        MissingError: The trust root names no compliance key.
        MalformedError, LimitExceededError: It is no site certificate.
        ExpiredError, RollbackError, EquivocationError: It must not count.
        StorageFaultError: The disk refused; nothing changed.
    """
    now = host.clock.now()
    with host.change() as connection:
        trusted = trust_state.all_compliance_keys(connection)
        if not trusted:
            raise MissingError(
                "the trust root names no compliance key",
                hint="Make one with: sallyport-bundler root init --compliance-key FILE",
            )
        before = _installed_certificates(connection)
        certificate = site.install(connection, envelope, keys=trusted, now=now)
        if _installed_certificates(connection) == before:
            return certificate
        installed = Draft(
            event=Event.SITE_CERT_INSTALLED,
            outcome=Outcome.OK,
            fields={
                "site": certificate.site,
                "region": certificate.region,
                "jurisdictions": certificate.jurisdictions,
                "not_before": rfc3339(certificate.not_before),
                "not_after": rfc3339(certificate.not_after),
                "envelope_sha256": hashlib.sha256(envelope).hexdigest(),
                "retention": _kept(certificate.retention),
                **account_fields(),
            },
        )
        host.record(connection, [installed], now=now)
    return certificate


def _kept(retention: Retention | None) -> Mapping[str, JSON] | None:
    if retention is None:
        return None
    return {
        "presets": retention.presets,
        "records_days": retention.records_days,
        "bodies_days": retention.bodies_days,
    }


def _installed_certificates(connection: Connection) -> int:
    count = select(func.count()).select_from(SiteCertificateRow)
    return connection.execute(count).scalar_one()


def _team_draft(
    event: Event,
    team: Team,
    *,
    own: Terms = ALL_DEFAULT,
    before: TeamEntry | None = None,
) -> Draft:
    return Draft(
        event=event,
        outcome=Outcome.OK,
        team=team.name,
        fields={
            **_allowed(team),
            "terms": None if own == ALL_DEFAULT else dataclasses.asdict(own),
            "was": None if before is None else _changed(before, team, own),
            **account_fields(),
        },
    )


def _allowed(team: Team) -> dict[str, JSON]:
    return {
        "clearance": team.clearance,
        "default_class": team.default_class,
        "capture": team.capture,
    }


def _changed(before: TeamEntry, team: Team, own: Terms) -> dict[str, JSON]:
    """Return what is not as it was before, as it was."""
    now, said = _allowed(team), dataclasses.asdict(own)
    was = {name: old for name, old in _allowed(before.team).items() if old != now[name]}
    terms = {
        name: old
        for name, old in dataclasses.asdict(before.terms).items()
        if old != said[name]
    }
    return {**was, "terms": terms or None}
