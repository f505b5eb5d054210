"""A batch is given up for newcomers alone, and seldom enough."""

import pytest

from appliance.engine.scheduling.haste import (
    LOST_SHARE,
    MOST_CREDIT_S,
    SHORT_CHARACTERS,
    Guests,
    Haste,
)

GUESTS = Guests(running=frozenset({"many"}), placed=frozenset({"r1"}))


class Bench:
    """What may be interrupted, and how often it was."""

    def __init__(self, *, computed_s: float = 10.0) -> None:
        self.times = 0
        self.haste = Haste(self.count)
        self.haste.spent(computed_s, lost=False)

    def count(self) -> None:
        self.times += 1


def test_a_newcomers_short_request_ends_a_batch() -> None:
    bench = Bench()
    bench.haste.allow(GUESTS)
    bench.haste.asked("few", characters=SHORT_CHARACTERS)
    assert bench.times == 1


@pytest.mark.parametrize(
    ("tenant", "characters"), [("many", 10), ("few", SHORT_CHARACTERS + 1)]
)
def test_nobody_elses_does(tenant: str, characters: int) -> None:
    bench = Bench()
    bench.haste.allow(GUESTS)
    bench.haste.asked(tenant, characters=characters)
    assert bench.times == 0


def test_a_start_ends_a_batch_if_the_request_could_run_at_once() -> None:
    bench = Bench()
    bench.haste.allow(GUESTS)
    bench.haste.started("r2")
    assert bench.times == 0
    bench.haste.started("r1")
    assert bench.times == 1


def test_a_batch_is_not_ended_where_that_is_forbidden() -> None:
    bench = Bench()
    bench.haste.allow(GUESTS)
    bench.haste.forbid()
    bench.haste.asked("few", characters=1)
    bench.haste.started("r1")
    assert bench.times == 0


def test_no_more_is_given_up_than_a_part_of_what_was_computed() -> None:
    bench = Bench(computed_s=0.0)
    lost_s, computed_s = 0.0, 0.0
    for _ in range(1_000):
        before = bench.times
        bench.haste.allow(GUESTS)
        bench.haste.asked("few", characters=1)
        lost = bench.times > before
        bench.haste.spent(0.2, lost=lost)
        lost_s, computed_s = lost_s + 0.2 * lost, computed_s + 0.2 * (not lost)
    assert 0 < lost_s <= LOST_SHARE * computed_s + 0.2


def test_a_long_time_without_newcomers_is_no_leave_to_give_up_much() -> None:
    bench = Bench(computed_s=10_000.0)
    lost_s = 0.0
    for _ in range(100):
        before = bench.times
        bench.haste.allow(GUESTS)
        bench.haste.asked("few", characters=1)
        if bench.times == before:
            break
        bench.haste.spent(0.2, lost=True)
        lost_s += 0.2
    assert lost_s <= MOST_CREDIT_S + 0.2
