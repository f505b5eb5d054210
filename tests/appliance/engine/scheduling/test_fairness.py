"""Tokens of a step are divided by tenant and weight, and none is wasted."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.scheduling.fairness import TURN, Demand, RoundRobin


def demand(name: str, tokens: int, *, tenant: str = "t", weight: int = 1) -> Demand:
    return Demand(name=name, tenant=tenant, weight=weight, tokens=tokens)


def test_all_is_given_while_there_is_room() -> None:
    given_ = RoundRobin().divide([demand("a", 5), demand("b", 7)], room=100)
    assert given_ == {"a": 5, "b": 7}


def test_nothing_is_given_without_room() -> None:
    assert RoundRobin().divide([demand("a", 5)], room=0) == {}


def test_a_light_tenant_has_its_share_beside_a_heavy_one() -> None:
    divider = RoundRobin()
    heavy = [demand(f"h{i}", 1_000, tenant="heavy") for i in range(9)]
    light = demand("l", 200, tenant="light")
    shares = divider.divide([*heavy, light], room=256)
    assert shares["l"] == 128
    assert sum(shares.values()) == 256


def test_weights_are_shares() -> None:
    divider = RoundRobin()
    demands = [
        demand("one", 10_000, tenant="one"),
        demand("three", 10_000, tenant="three", weight=3),
    ]
    total = {"one": 0, "three": 0}
    for _ in range(40):
        for name, count in divider.divide(demands, room=100).items():
            total[name] += count
    assert 2.8 < total["three"] / total["one"] < 3.2


def test_the_oldest_prompt_of_a_tenant_goes_first() -> None:
    shares = RoundRobin().divide([demand("old", 100), demand("new", 100)], room=120)
    assert shares == {"old": 100, "new": 20}


def test_a_long_prompt_does_not_hold_up_a_short_one_of_its_tenant() -> None:
    divider = RoundRobin()
    left = {"long": 10 * TURN, "short": 40}
    steps = 0
    while left["short"]:
        demands = [demand(name, tokens) for name, tokens in left.items() if tokens]
        for name, count in divider.divide(demands, room=64).items():
            left[name] -= count
        steps += 1
    assert steps <= TURN // 64 + 1
    assert left["long"] > 0


@given(
    st.lists(
        st.tuples(st.integers(1, 600), st.integers(0, 3), st.integers(1, 4)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 700),
)
def test_no_room_is_wasted_and_nobody_gets_more_than_it_wants(
    wants: list[tuple[int, int, int]], room: int
) -> None:
    demands = [
        demand(f"r{number}", tokens, tenant=f"t{tenant}", weight=weight)
        for number, (tokens, tenant, weight) in enumerate(wants)
    ]
    divider = RoundRobin()
    shares = divider.divide(demands, room=room)
    assert sum(shares.values()) == min(room, sum(each.tokens for each in demands))
    assert all(shares.get(each.name, 0) <= each.tokens for each in demands)
