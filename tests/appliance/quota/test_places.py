"""Places of an engine: no team alone can take the last of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.quota.places import Places


def fill(taken: Places, team: str, *, places: int) -> int:
    """Take as many places as one team gets."""
    entered = 0
    while taken.may_enter(team, places=places):
        taken.enter(team)
        entered += 1
    return entered


@pytest.mark.parametrize(
    ("places", "alone"), [(80, 70), (16, 14), (8, 7), (7, 7), (2, 2), (1, 1)]
)
def test_a_team_alone_leaves_an_eighth_to_others(places: int, alone: int) -> None:
    assert fill(Places(), "heavy", places=places) == alone


def test_those_who_come_later_share_what_was_left() -> None:
    taken = Places()
    assert fill(taken, "heavy", places=80) == 70
    assert fill(taken, "light", places=80) == 10
    assert not taken.may_enter("third", places=80)
    taken.leave("heavy")
    assert not taken.may_enter("heavy", places=80)
    assert taken.may_enter("third", places=80)


@given(
    places=st.integers(1, 40),
    moves=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=200),
)
def test_never_more_than_there_are_and_a_newcomer_finds_one_of_eight(
    places: int, moves: list[tuple[str, bool]]
) -> None:
    taken = Places()
    for team, leaves in moves:
        if leaves and team in taken.by_team:
            taken.leave(team)
        elif not leaves and taken.may_enter(team, places=places):
            taken.enter(team)
        assert taken.taken == sum(taken.by_team.values()) <= places
        if places >= 8 and len(taken.by_team) == 1:
            assert taken.may_enter("newcomer", places=places)
