"""What an operator changes by hand is recorded once, when it changes something."""

import datetime as dt
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from appliance import admin_flow
from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.home import Home
from appliance.host import OpenHost
from bundleformat.errors import RefusalError, UsageError
from bundleformat.site_certificate import SiteCertificate, issue
from bundleformat.trust import fingerprint
from tests.support.publisher import Keys, make_root, new_keys

NOW = SystemClock().now().replace(microsecond=0)
DAY = dt.timedelta(days=1)
LEVELS = {"public": 0, "internal": 1, "pii": 2}


@pytest.fixture
def keys() -> Keys:
    return new_keys()


@pytest.fixture
def host(tmp_path: Path, keys: Keys) -> Iterator[OpenHost]:
    root = make_root(keys, expires=NOW + 30 * DAY)
    home = Home(tmp_path / "home")
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=SystemClock())
    host = open_host(home.root)
    yield host
    host.database.dispose()


def records(host: OpenHost, event: str) -> list[dict[str, Any]]:
    query = text("SELECT bytes FROM record WHERE event = :event ORDER BY seq")
    with host.look() as connection:
        rows = connection.execute(query, {"event": event}).scalars()
        return [json.loads(row) for row in rows]


def signed(keys: Keys, *, region: str = "in-blr", start: dt.datetime = NOW) -> bytes:
    certificate = SiteCertificate(
        site="blr-07",
        region=region,
        jurisdictions=("IN",),
        not_before=start,
        not_after=NOW + 30 * DAY,
    )
    return issue(certificate, keys.compliance)


def test_a_site_certificate_is_recorded_when_it_is_new_and_not_again(
    host: OpenHost, keys: Keys
) -> None:
    first = signed(keys)
    for _ in range(3):
        assert admin_flow.install_site(host, first).region == "in-blr"
    assert len(records(host, "site.cert_installed")) == 1
    admin_flow.install_site(host, signed(keys, region="eu-fra", start=NOW + DAY))
    regions = [each["region"] for each in records(host, "site.cert_installed")]
    assert regions == ["in-blr", "eu-fra"]


def test_a_refused_site_certificate_is_not_recorded(host: OpenHost, keys: Keys) -> None:
    admin_flow.install_site(host, signed(keys))
    with pytest.raises(RefusalError):
        admin_flow.install_site(host, signed(keys, start=NOW - DAY))
    assert len(records(host, "site.cert_installed")) == 1


def test_a_team_is_recorded_when_its_classes_change(host: OpenHost) -> None:
    admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    for clearance in ("internal", "pii", "pii", "internal"):
        admin_flow.set_team(
            host,
            "claims",
            clearance=clearance,
            default_class="internal",
            levels=LEVELS,
        )
    cleared = [each["clearance"] for each in records(host, "team.changed")]
    assert cleared == ["pii", "internal"]


def test_a_level_of_capture_that_there_is_not_changes_nothing(host: OpenHost) -> None:
    admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    with pytest.raises(UsageError):
        admin_flow.set_team(
            host, "claims", levels=LEVELS, clearance="pii", capture="everything"
        )
    assert records(host, "team.changed") == []
    assert admin_flow.get_team(host, "claims").team.clearance == "internal"


def test_a_change_of_capture_is_recorded(host: OpenHost) -> None:
    admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    for capture in ("digest", "digest", "metadata"):
        admin_flow.set_team(host, "claims", levels=LEVELS, capture=capture)
    assert [each["capture"] for each in records(host, "team.created")] == ["metadata"]
    changed = [each["capture"] for each in records(host, "team.changed")]
    assert changed == ["digest", "metadata"]


def test_a_key_is_recorded_when_it_is_made_and_once_when_it_is_revoked(
    host: OpenHost,
) -> None:
    key, new_team = admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    assert new_team
    for _ in range(2):
        admin_flow.revoke_key(host, key.key_id)
    assert len(records(host, "team.created")) == 1
    (created,) = records(host, "apikey.created")
    assert created["key_id"] == key.key_id
    assert len(records(host, "apikey.revoked")) == 1


def test_a_teams_terms_are_recorded_when_they_change_and_not_again(
    host: OpenHost,
) -> None:
    admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    for running in ("4", "4", "default"):
        entry = admin_flow.set_team(
            host, "claims", levels=LEVELS, changes={"running": running}
        )
    assert entry == admin_flow.get_team(host, "claims")
    changed = [each.get("terms") for each in records(host, "team.changed")]
    assert changed == [{"running": 4}, None]


def test_a_change_of_a_team_names_who_did_it_and_what_was_before(
    host: OpenHost,
) -> None:
    admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    set_team = partial(admin_flow.set_team, host, "claims", levels=LEVELS)
    set_team(clearance="pii", changes={"running": "4", "queued": "9"})
    set_team(changes={"running": "5", "queued": "default"})
    set_team(capture="digest")
    changed = records(host, "team.changed")
    assert [each["was"] for each in changed] == [
        {"clearance": "internal", "terms": {}},
        {"terms": {"running": 4, "queued": 9}},
        {"capture": "metadata"},
    ]
    assert {each["operator_uid"] for each in changed} == {os.getuid()}


def test_what_is_made_and_revoked_names_who_did_it(host: OpenHost, keys: Keys) -> None:
    key, _ = admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    admin_flow.revoke_key(host, key.key_id)
    admin_flow.install_site(host, signed(keys))
    for event in (
        *("team.created", "apikey.created", "apikey.revoked"),
        *("site.cert_installed", "trust.initialised"),
    ):
        (record,) = records(host, event)
        assert record["operator_uid"] == os.getuid(), event


def test_a_term_that_cannot_be_changes_nothing(host: OpenHost) -> None:
    admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    before = admin_flow.get_team(host, "claims")
    with pytest.raises(UsageError):
        admin_flow.set_team(
            host,
            "claims",
            levels=LEVELS,
            clearance="pii",
            changes={"running": "4", "queued": "-1"},
        )
    assert admin_flow.get_team(host, "claims") == before
    assert records(host, "team.changed") == []
