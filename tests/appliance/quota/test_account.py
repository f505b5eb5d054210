"""One team's limits: checked before anything is taken, settled by what was used."""

import datetime as dt

import pytest

from appliance.errors import RateLimitError
from appliance.quota.account import Account
from appliance.quota.allowance import Allowance
from appliance.quota.moment import Moment

MIDNIGHT = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


def at(seconds: float = 0.0) -> Moment:
    return Moment(ns=int(seconds * 1e9), now=MIDNIGHT + dt.timedelta(seconds=seconds))


def allowed(**limits: int) -> Allowance:
    most = {
        "running": 100,
        "queued": 100,
        "requests_per_minute": 1_000,
        "tokens_per_minute": 1_000,
        "tokens_per_day": 1_000_000,
    }
    return Allowance(**{**most, **limits})  # type: ignore[arg-type]  # numbers only


def account(terms: Allowance, *, used_today: int = 0) -> Account:
    return Account(terms, used_today=used_today, at=at())


def enter(made: Account, terms: Allowance, tokens: int = 1, *, now: float = 0) -> None:
    made.check(terms, guess=tokens, at=at(now))
    made.enter(tokens)


def refusal(
    made: Account, terms: Allowance, tokens: int = 1, *, now: float = 0
) -> RateLimitError:
    before = made.standing(terms, at=at(now))
    with pytest.raises(RateLimitError) as caught:
        made.check(terms, guess=tokens, at=at(now))
    assert made.standing(terms, at=at(now)) == before
    assert caught.value.code == "rate-limit-exceeded"
    assert caught.value.http_status == 429
    return caught.value


def test_places_are_those_that_run_and_those_that_wait() -> None:
    terms = allowed(running=1, queued=2)
    made = account(terms)
    for _ in range(3):
        enter(made, terms)
    assert refusal(made, terms).error_type == "requests"
    made.leave(held=1, used=0, at=at())
    enter(made, terms)


def test_requests_come_back_one_by_one_within_the_minute() -> None:
    terms = allowed(requests_per_minute=60)
    made = account(terms)
    for _ in range(60):
        enter(made, terms)
        made.leave(held=1, used=0, at=at())
    error = refusal(made, terms)
    assert (error.error_type, error.retry_after_s) == ("requests", 1.0)
    enter(made, terms, now=1.0)
    assert refusal(made, terms, now=1.0).retry_after_s == pytest.approx(1.0)


def test_tokens_of_requests_under_way_are_held_and_what_was_not_used_comes_back() -> (
    None
):
    terms = allowed()
    made = account(terms)
    enter(made, terms, 600)
    error = refusal(made, terms, 500)
    assert error.error_type == "tokens"
    assert error.retry_after_s == pytest.approx(6.0)
    made.leave(held=600, used=100, at=at())
    assert made.standing(terms, at=at()).tokens.remaining == 900
    enter(made, terms, 500)


def test_a_request_above_a_minutes_tokens_is_served_alone_and_leaves_a_debt() -> None:
    terms = allowed()
    made = account(terms)
    enter(made, terms, 1)
    refusal(made, terms, 5_000)
    made.leave(held=1, used=0, at=at())
    enter(made, terms, 5_000)
    made.leave(held=5_000, used=3_000, at=at())
    assert refusal(made, terms, 1).retry_after_s == pytest.approx(120.06)
    refusal(made, terms, 1, now=120.0)
    enter(made, terms, 1, now=120.1)


def test_more_tokens_than_were_expected_are_held_or_nothing_changes() -> None:
    terms = allowed()
    made = account(terms)
    enter(made, terms, 100)
    enter(made, terms, 100)
    made.grow(terms, held=100, needed=800, at=at())
    with pytest.raises(RateLimitError):
        made.grow(terms, held=100, needed=300, at=at())
    assert made.standing(terms, at=at()).tokens.remaining == 100


def test_a_days_tokens_are_never_exceeded_and_are_back_at_midnight() -> None:
    terms = allowed(tokens_per_day=1_000)
    made = account(terms, used_today=300)
    enter(made, terms, 500)
    enter(made, terms, 150, now=3_600)
    with pytest.raises(RateLimitError) as caught:
        made.grow(terms, held=150, needed=201, at=at(3_600))
    assert caught.value.error_type == "tokens"
    assert caught.value.retry_after_s == 23 * 3_600
    made.grow(terms, held=150, needed=200, at=at(3_600))
    refusal(made, terms, 1, now=3_600)
    made.leave(held=500, used=500, at=at(3_600))
    made.leave(held=200, used=200, at=at(3_600))
    refusal(made, terms, 1, now=86_399)
    enter(made, terms, 1_000, now=86_400)


def test_what_ends_after_midnight_counts_for_the_new_day() -> None:
    terms = allowed(tokens_per_day=1_000)
    made = account(terms)
    enter(made, terms, 1_000)
    refusal(made, terms, 1, now=86_400)
    made.leave(held=1_000, used=600, at=at(86_400))
    enter(made, terms, 1, now=86_400)
    with pytest.raises(RateLimitError):
        made.grow(terms, held=1, needed=401, at=at(86_400))
    made.grow(terms, held=1, needed=400, at=at(86_400))


def test_new_limits_hold_at_once() -> None:
    terms = allowed(tokens_per_minute=1_000)
    made = account(terms)
    tighter = allowed(tokens_per_minute=100)
    assert made.standing(tighter, at=at()).tokens.remaining == 100
    enter(made, tighter, 100)
    refusal(made, tighter, 100)
    assert made.standing(terms, at=at(60)).tokens.remaining == 1_000


def test_a_client_is_told_of_the_limit_of_which_less_is_left() -> None:
    by_day = allowed(tokens_per_day=1_500)
    made = account(by_day)
    assert made.standing(by_day, at=at()).headers() == {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "1000",
        "x-ratelimit-reset-requests": "0ms",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "1000",
        "x-ratelimit-reset-tokens": "0ms",
    }
    enter(made, by_day, 900)
    told = made.standing(by_day, at=at(59.4)).headers()
    assert told["x-ratelimit-limit-tokens"] == "1500"
    assert told["x-ratelimit-remaining-tokens"] == "600"
    assert told["x-ratelimit-reset-tokens"] == "23h59m0.6s"
