"""Who goes: nobody in vain, the least recently used first, no more than it takes."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.pool.room import (
    Decision,
    Resident,
    Room,
    Standing,
    Verdict,
    decide_room,
)

PLENTY = 10_000
"""More engines, or bytes, than any of these tests has."""


def residents(*described: tuple[Standing, int]) -> list[Resident]:
    """Residents from the least to the most recently used; keys are their numbers."""
    return [
        Resident(key=key, needed_bytes=size, used_s=float(key), standing=standing)
        for key, (standing, size) in enumerate(described)
    ]


def decide(
    present: Sequence[Resident], *, needed: int, free: int = 0, most: int = PLENTY
) -> Decision:
    return decide_room(
        present, needed_bytes=needed, room=Room(free_bytes=free, most=most)
    )


@pytest.mark.parametrize(
    ("standing", "verdict"),
    [
        (Standing.PINNED, Verdict.NEVER),
        (Standing.BUSY, Verdict.WAIT),
        (Standing.LEAVING, Verdict.WAIT),
        (Standing.IDLE, Verdict.UNLOAD),
    ],
)
def test_only_an_idle_one_is_unloaded(standing: Standing, verdict: Verdict) -> None:
    decision = decide(residents((standing, 10)), needed=10)
    assert decision.verdict is verdict
    assert bool(decision.unload) is (verdict is Verdict.UNLOAD)


def test_what_fits_takes_nobodys_room() -> None:
    decision = decide(residents((Standing.IDLE, 10)), needed=5, free=5)
    assert decision == Decision(verdict=Verdict.FITS)


def test_the_least_recently_used_goes_first() -> None:
    present = residents(*[(Standing.IDLE, 10)] * 3)
    assert decide(present[::-1], needed=10).unload == (0,)
    assert decide(present, needed=11).unload == (0, 1)
    assert decide(present, needed=10, free=PLENTY, most=3).unload == (0,)


def test_an_older_one_stays_that_would_have_gone_in_vain() -> None:
    present = residents((Standing.IDLE, 1), (Standing.IDLE, 50), (Standing.IDLE, 50))
    assert decide(present, needed=50).unload == (1,)


def test_nobody_goes_if_all_of_them_are_not_enough() -> None:
    present = residents((Standing.IDLE, 10), (Standing.BUSY, 10))
    assert decide(present, needed=20) == Decision(verdict=Verdict.WAIT)
    assert decide(present, needed=21) == Decision(verdict=Verdict.NEVER)


def test_one_that_is_larger_than_the_host_never_fits() -> None:
    assert decide([], needed=2, free=1).verdict is Verdict.NEVER


@given(
    present=st.lists(
        st.builds(
            Resident,
            key=st.uuids().map(int),
            needed_bytes=st.integers(0, 20),
            used_s=st.floats(0, 100),
            standing=st.sampled_from(Standing),
        ),
        max_size=6,
        unique_by=lambda each: each.key,
    ),
    needed=st.integers(0, 60),
    free=st.integers(0, 30),
    most=st.integers(1, 6),
)
def test_what_is_decided_is_idle_enough_and_no_more_than_enough(
    present: list[Resident], needed: int, free: int, most: int
) -> None:
    decision = decide(present, needed=needed, free=free, most=most)

    def enough(keys: Sequence[int]) -> bool:
        freed = sum(each.needed_bytes for each in present if each.key in keys)
        return len(present) - len(keys) < most and needed <= free + freed

    idle = [each.key for each in present if each.standing is Standing.IDLE]
    match decision.verdict:
        case Verdict.FITS:
            assert enough(())
        case Verdict.UNLOAD:
            assert set(decision.unload) <= set(idle)
            assert enough(decision.unload)
            for spared in decision.unload:
                assert not enough([key for key in decision.unload if key != spared])
        case Verdict.WAIT | Verdict.NEVER:
            assert not enough(idle)
            assert decision.unload == ()
