"""The demo model's canaries: the same answer, whatever the batch it was written in."""

import asyncio
import os
import signal
from collections.abc import Sequence

import pytest

from appliance.engine.supervisor import EngineSupervisor
from bundler.demo.canaries import Canary, read_canaries
from tests.support.demo_engine import answer, ready, running, with_engine

pytestmark = pytest.mark.system

CANARIES = read_canaries()
SOME = CANARIES[::12]


async def asked(
    engine: EngineSupervisor, canaries: Sequence[Canary], *, at_once: int
) -> list[Canary]:
    """What is answered, so many questions at once."""
    places = asyncio.Semaphore(at_once)

    async def ask(number: int, question: str) -> Canary:
        async with places:
            text, _ = await answer(engine, f"r{number}", text=question)
            return Canary(question, text)

    answers = [ask(n, canary.question) for n, canary in enumerate(canaries)]
    return list(await asyncio.gather(*answers))


@pytest.mark.parametrize("at_once", [1, pytest.param(3, marks=pytest.mark.slow), 16])
def test_every_canary_is_answered_word_for_word_in_batches_of(at_once: int) -> None:
    async def test(engine: EngineSupervisor) -> None:
        assert await asked(engine, CANARIES, at_once=at_once) == list(CANARIES)

    with_engine(test, sequences=16, queued_requests=16)


def test_an_engine_that_was_started_again_answers_as_before() -> None:
    async def test() -> None:
        async with running() as engine:
            for _ in range(3):
                assert await asked(engine, SOME, at_once=4) == list(SOME)
                pid = engine.pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                while engine.pid == pid:  # noqa: ASYNC110  # told by nobody
                    await asyncio.sleep(0.01)
                await ready(engine)

    asyncio.run(test())
