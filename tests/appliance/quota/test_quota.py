"""What a host holds: all of it checked before any of it is taken, all given back."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import OverloadedError, RateLimitError
from appliance.quota.allowance import Allowance, allowance
from appliance.quota.moment import Moment
from appliance.quota.quota import Hold, Quota
from appliance.settings import LimitSettings

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
LIMITS = LimitSettings(bodies_bytes=2**20, queued_tokens=1_000)
ALLOWED = allowance(LIMITS, {})


def at(seconds: float = 0.0) -> Moment:
    return Moment(ns=int(seconds * 1e9), now=NOW + dt.timedelta(seconds=seconds))


def quota(*, places: int = 8, used: dict[str, int] | None = None) -> Quota:
    return Quota(
        LIMITS, places=places, context_tokens=500, used_today=used or {}, at=at()
    )


def enter(
    made: Quota,
    team: str = "claims",
    *,
    allowed: Allowance = ALLOWED,
    body_bytes: int = 40,
    engines: int = 1,
) -> Hold:
    return made.enter(
        team,
        allowed,
        body_bytes=body_bytes,
        text_bytes=body_bytes,
        engines=engines,
        at=at(),
    )


def test_a_full_host_is_overloaded_until_somebody_leaves() -> None:
    made = quota()
    holds = [enter(made) for _ in range(7)]
    with pytest.raises(OverloadedError) as caught:
        enter(made)
    assert (caught.value.code, caught.value.retry_after_s) == ("server-overloaded", 2)
    enter(made, "newcomer")
    with pytest.raises(OverloadedError):
        enter(made, "another")
    for _ in range(2):
        made.leave(holds[0], used_tokens=0, at=at())
    enter(made, "another")
    with pytest.raises(OverloadedError):
        enter(made, "yet-another")


def test_every_engine_has_its_places_and_a_full_one_is_told_when_it_is_named() -> None:
    made = quota()
    holds = [enter(made, engines=2) for _ in range(8)]
    for hold in holds[:7]:
        made.choose(hold, "demo")
    with pytest.raises(OverloadedError):
        made.choose(holds[7], "demo")
    made.choose(holds[7], "other")
    made.leave(holds[0], used_tokens=0, at=at())
    made.choose(enter(made, engines=2), "demo")


def test_bodies_that_are_being_read_are_bounded_together() -> None:
    made = quota()
    first = enter(made, body_bytes=2**19)
    enter(made, body_bytes=2**19)
    with pytest.raises(OverloadedError):
        enter(made, body_bytes=1)
    made.counted(first, prompt_tokens=1, new_tokens=1, at=at())
    enter(made, body_bytes=1)


def test_waiting_tokens_are_bounded_unless_one_prompt_waits_alone() -> None:
    made = quota()
    holds = [enter(made, body_bytes=8_000) for _ in range(2)]
    with pytest.raises(OverloadedError):
        enter(made)
    made.counted(holds[0], prompt_tokens=400, new_tokens=5, at=at())
    made.counted(holds[1], prompt_tokens=589, new_tokens=5, at=at())
    last = enter(made)
    made.begun(holds[1])
    made.counted(last, prompt_tokens=600, new_tokens=5, at=at())
    with pytest.raises(OverloadedError):
        made.counted(holds[0], prompt_tokens=401, new_tokens=5, at=at())
    made.begun(last)
    made.counted(holds[0], prompt_tokens=2_000, new_tokens=5, at=at())


def test_a_refusal_takes_nothing() -> None:
    made = quota()
    tight = allowance(LIMITS, {"running": 1, "queued": 1})
    enter(made, allowed=tight)
    enter(made, allowed=tight)
    before = repr(vars(made)["_host"])
    with pytest.raises(RateLimitError):
        enter(made, allowed=tight)
    assert repr(vars(made)["_host"]) == before


def test_what_was_used_today_counts_today_and_not_tomorrow() -> None:
    small = allowance(LIMITS, {"tokens_per_day": 100})
    with pytest.raises(RateLimitError):
        enter(quota(used={"claims": 100}), allowed=small)
    made = quota(used={"claims": 100})
    made.enter("claims", small, body_bytes=4, text_bytes=4, engines=1, at=at(86_400))


def test_an_estimate_above_the_minutes_tokens_does_not_shut_a_request_out() -> None:
    small = allowance(LIMITS, {"tokens_per_minute": 100})
    made = quota()
    hold = enter(made, allowed=small, body_bytes=4_000)
    made.counted(hold, prompt_tokens=20, new_tokens=30, at=at())
    assert made.standing(hold, at=at()).tokens.remaining == 50


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("enter", "choose", "counted", "begun", "leave")),
            st.integers(0, 6),
            st.integers(0, 2_000),
        ),
        max_size=80,
    )
)
def test_when_all_have_left_nothing_is_held(steps: list[tuple[str, int, int]]) -> None:
    made = quota()
    holds: list[Hold] = []
    for step, which, size in steps:
        hold = holds[which % len(holds)] if holds else None
        play(made, step, hold, holds=holds, team="abc"[which % 3], size=size)
    for hold in holds:
        made.leave(hold, used_tokens=3, at=at())
    state = vars(made)
    assert state["_host"].taken == state["_bodies_bytes"] == 0
    assert state["_waiting_tokens"] == 0
    assert state["_models"] == {}
    assert all(vars(each)["_held_tokens"] == 0 for each in state["_accounts"].values())
    assert all(each.places == 0 for each in state["_accounts"].values())


def play(
    made: Quota,
    step: str,
    hold: Hold | None,
    *,
    holds: list[Hold],
    team: str,
    size: int,
) -> None:
    """Take one step, as a request would that may be refused at it."""
    arguments: dict[str, Any] = {"prompt_tokens": size, "new_tokens": 7, "at": at()}
    try:
        if step == "enter":
            holds.append(enter(made, team, body_bytes=size, engines=2))
        elif hold is not None and not hold.left:
            match step:
                case "choose" if hold.model is None:
                    made.choose(hold, team)
                case "counted":
                    made.counted(hold, **arguments)
                case "begun":
                    made.begun(hold)
                case "leave":
                    made.leave(hold, used_tokens=size, at=at())
    except (OverloadedError, RateLimitError):
        return
