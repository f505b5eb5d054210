"""Prompts without end cost their senders an answer, and nobody else anything."""

import asyncio
import time
from typing import Any

import pytest

from appliance.engine.supervisor import EngineSupervisor
from appliance.errors import ContextLengthError
from tests.support.demo_engine import ANSWER, answer, freeze, hold, thaw, with_engine

pytestmark = pytest.mark.system

BYSTANDER_S = 2.0
"""What an answer of some ten milliseconds may take beside a flood."""


async def answers_beside(
    engine: EngineSupervisor, flood: "asyncio.Future[Any]"
) -> list[float]:
    """How long each answer of a bystander took while the flood lasted."""
    took_s: list[float] = []
    await asyncio.sleep(0)
    while not took_s or not flood.done():
        began = time.monotonic()
        assert (await answer(engine, f"bystander {len(took_s)}"))[0] == ANSWER
        took_s.append(time.monotonic() - began)
    return took_s


def test_flood_of_megabytes_is_refused_and_a_bystander_does_not_notice() -> None:
    async def run(engine: EngineSupervisor) -> None:
        pid = engine.pid
        text = "The operator carries a signed bundle. " * 105_000
        flood = asyncio.gather(
            *(hold(engine, f"f{number}", text=text) for number in range(40)),
            return_exceptions=True,
        )
        took_s = await answers_beside(engine, flood)
        refusals = await flood
        assert {type(refusal) for refusal in refusals} == {ContextLengthError}
        assert max(took_s) < BYSTANDER_S
        assert (engine.pid, engine.restarts) == (pid, 0)
        assert (await engine.stats()).prepared == 0

    with_engine(run, reply_timeout_s=2)


def test_flood_of_prompts_that_have_to_be_counted_keeps_the_engine_alive() -> None:
    async def run(engine: EngineSupervisor) -> None:
        pid = engine.pid
        text = "a" * 6_000  # too long, but its size alone does not tell
        flood = asyncio.gather(
            *(hold(engine, f"f{number}", text=text) for number in range(70)),
            return_exceptions=True,
        )
        took_s = await answers_beside(engine, flood)
        refusals = await flood
        assert {type(refusal) for refusal in refusals} == {ContextLengthError}
        assert max(took_s) < BYSTANDER_S
        assert (engine.pid, engine.restarts) == (pid, 0)

    with_engine(run, reply_timeout_s=2)


def test_prompt_that_cannot_fit_is_refused_without_asking_the_engine() -> None:
    async def run(engine: EngineSupervisor) -> None:
        freeze(engine)
        with pytest.raises(ContextLengthError) as caught:
            await asyncio.wait_for(hold(engine, "r", text="bundle " * 4_000), 2)
        assert caught.value.param == "messages"
        assert caught.value.limit_tokens == engine.context_tokens
        assert engine.context_tokens <= caught.value.prompt_tokens <= 28_000
        assert caught.value.new_tokens == 1
        thaw(engine)
        assert (await engine.stats()).prepared == 0

    with_engine(run)


def test_caller_that_leaves_while_the_engine_is_busy_holds_no_place() -> None:
    async def run(engine: EngineSupervisor) -> None:
        freeze(engine)
        first, second = (asyncio.create_task(hold(engine, name)) for name in "ab")
        await asyncio.sleep(0.05)
        second.cancel()
        leaving = asyncio.create_task(engine.cancel("b"))
        await asyncio.gather(second, return_exceptions=True)
        assert second.cancelled()
        thaw(engine)
        await first
        assert (await leaving).completion_tokens == 0
        assert (await engine.stats()).prepared == 1

    with_engine(run)
