"""Who of a team may run: so many at once, the others in the order they came."""

import asyncio

import pytest

from appliance.errors import QueueTimeoutError
from appliance.quota.gate import RunningGate


def enter(
    gate: RunningGate, team: str = "red", *, most: int = 1, wait_s: float = 10
) -> "asyncio.Task[None]":
    return asyncio.create_task(gate.enter(team, most=most, wait_s=wait_s))


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_the_next_one_runs_when_one_leaves_in_the_order_they_came() -> None:
    async def play() -> None:
        gate = RunningGate()
        first, second, third = enter(gate), enter(gate), enter(gate)
        other = enter(gate, "blue")
        await turns()
        assert [t.done() for t in (first, second, third, other)] == [1, 0, 0, 1]
        gate.leave("red")
        await turns()
        assert (second.done(), third.done()) == (True, False)
        gate.leave("red")
        await third
        gate.leave("red")
        gate.leave("blue")
        assert vars(gate) == {"_running": {}, "_lines": {}}

    asyncio.run(play())


def test_one_that_waits_too_long_is_told_and_holds_nothing() -> None:
    async def play() -> None:
        gate = RunningGate()
        await gate.enter("red", most=1, wait_s=10)
        with pytest.raises(QueueTimeoutError) as caught:
            await gate.enter("red", most=1, wait_s=0.01)
        assert (caught.value.code, caught.value.http_status) == ("queue-timeout", 503)
        gate.leave("red")
        assert vars(gate) == {"_running": {}, "_lines": {}}

    asyncio.run(play())


def test_one_that_leaves_the_line_does_not_hold_up_the_next() -> None:
    async def play() -> None:
        gate = RunningGate()
        await gate.enter("red", most=1, wait_s=10)
        gone, next_one = enter(gate), enter(gate)
        await turns()
        gone.cancel()
        await turns()
        gate.leave("red")
        await next_one
        gate.leave("red")
        assert vars(gate) == {"_running": {}, "_lines": {}}

    asyncio.run(play())


def test_a_turn_given_to_one_that_goes_away_in_that_moment_is_passed_on() -> None:
    async def play() -> None:
        gate = RunningGate()
        await gate.enter("red", most=1, wait_s=10)
        gone, next_one = enter(gate), enter(gate)
        await turns()
        gate.leave("red")
        gone.cancel()
        await next_one
        gate.leave("red")
        assert vars(gate) == {"_running": {}, "_lines": {}}

    asyncio.run(play())


def test_a_team_that_may_run_fewer_from_now_on_runs_out_first() -> None:
    async def play() -> None:
        gate = RunningGate()
        for _ in range(3):
            await gate.enter("red", most=3, wait_s=10)
        waiting = enter(gate, most=1)
        for _ in range(2):
            await turns()
            assert not waiting.done()
            gate.leave("red")
        await turns()
        assert not waiting.done()
        gate.leave("red")
        await waiting

    asyncio.run(play())
