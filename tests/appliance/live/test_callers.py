"""A caller is known from the moment its key is made until it is revoked."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance import admin_flow
from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.db.session import StandingReader
from appliance.errors import AuthenticationError
from appliance.home import Home
from appliance.host import OpenHost
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.live.callers import Callers
from appliance.live.news import LOOK_AGAIN_S, News
from bundleformat.trust import fingerprint
from tests.support.publisher import make_root, new_keys

NOW = dt.datetime(2026, 11, 22, 9, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@dataclass
class MovedClock:
    """A clock that a test moves."""

    passed_s: float = 0.0

    def now(self) -> dt.datetime:
        return NOW + dt.timedelta(seconds=self.passed_s)

    def monotonic_ns(self) -> int:
        return int(self.passed_s * 1e9)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def host(tmp_path: Path, clock: MovedClock) -> Iterator[OpenHost]:
    root = make_root(new_keys(), expires=NOW + 30 * DAY)
    home = Home(tmp_path / "home")
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=clock)
    host = open_host(home.root, clock=clock)
    yield host
    host.database.dispose()


@pytest.fixture
def lookups(host: OpenHost) -> Iterator[StandingReader]:
    opened = StandingReader(host.database)
    yield opened
    opened.close()


def refusal(request_id: str) -> Draft:
    return Draft(
        event=Event.LLM_REFUSED,
        outcome=Outcome.REFUSED,
        request_id=request_id,
        fields={"code": "invalid-api-key", "status": 401},
    )


def record(host: OpenHost, draft: Draft) -> None:
    with host.change() as connection:
        host.record(connection, [draft], now=NOW)


def test_a_key_counts_at_once_and_is_void_at_once_when_it_is_revoked(
    host: OpenHost, lookups: StandingReader
) -> None:
    callers = Callers(host, lookups=lookups)
    key, _ = admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    for _ in range(3):
        assert callers.identify(key.secret_text).team == "claims"
    admin_flow.revoke_key(host, key.key_id)
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            callers.identify(key.secret_text)


def test_what_a_team_may_is_what_it_may_now(
    host: OpenHost, lookups: StandingReader
) -> None:
    callers = Callers(host, lookups=lookups)
    key, _ = admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    assert callers.identify(key.secret_text).terms.weight is None
    admin_flow.set_team(host, "claims", levels={"internal": 1}, changes={"weight": "7"})
    assert callers.identify(key.secret_text).terms.weight == 7


def test_a_remembered_key_expires_at_its_time(
    host: OpenHost, lookups: StandingReader, clock: MovedClock
) -> None:
    callers = Callers(host, lookups=lookups)
    key, _ = admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    callers.identify(key.secret_text)
    clock.passed_s = DAY.total_seconds()
    with pytest.raises(AuthenticationError):
        callers.identify(key.secret_text)


def test_no_key_and_no_part_of_one_is_remembered(
    host: OpenHost, lookups: StandingReader
) -> None:
    callers = Callers(host, lookups=lookups)
    key, _ = admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    callers.identify(key.secret_text)
    kept = repr(vars(callers)["_known"])
    assert key.secret_text[13:] not in kept


def test_a_database_that_cannot_be_read_is_read_again_on_a_new_connection(
    host: OpenHost, lookups: StandingReader
) -> None:
    callers = Callers(host, lookups=lookups)
    key, _ = admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    callers.identify(key.secret_text)
    lookups.close()
    assert callers.identify(key.secret_text).team == "claims"


def test_records_of_requests_are_no_news_and_any_other_is(
    host: OpenHost, lookups: StandingReader, clock: MovedClock
) -> None:
    news = News(lookups, clock=clock)
    assert news.any()
    assert not news.any()
    record(host, refusal("a"))
    record(host, refusal("b"))
    assert not news.any()
    admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    record(host, refusal("c"))
    assert news.any()
    assert not news.any()


def test_time_that_has_passed_is_news(
    lookups: StandingReader, clock: MovedClock
) -> None:
    news = News(lookups, clock=clock)
    assert news.any()
    clock.passed_s = LOOK_AGAIN_S - 0.1
    assert not news.any()
    clock.passed_s = LOOK_AGAIN_S
    assert news.any()
    assert not news.any()


def test_two_hosts_do_not_share_what_they_remember(
    host: OpenHost, lookups: StandingReader
) -> None:
    key, _ = admin_flow.create_key(host, team="claims", name="", lifetime=DAY)
    Callers(host, lookups=lookups).identify(key.secret_text)
    other = Callers(replace(host, pepper=bytes(32)), lookups=lookups)
    with pytest.raises(AuthenticationError):
        other.identify(key.secret_text)
