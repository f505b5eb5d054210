"""What a caller reads of an answer, when it reads as fast as steps come, and later."""

import asyncio

import pytest

from appliance.engine import protocol as wire
from appliance.engine.port import Piece, Ticket, Usage
from appliance.errors import EngineUnavailableError
from tests.appliance.engine.peer import Pair, prepared, with_pair


async def ticket_of(pair: Pair) -> Ticket:
    asking = pair.ask("r", "hello")
    await pair.asked()
    pair.peer.say(prepared("r"))
    return await asking


def step(text: str, count: int, **ending: str) -> wire.Step:
    delta = wire.Delta(request_id="r", text=text, completion_tokens=count, **ending)  # type: ignore[arg-type]  # a literal
    return wire.Step(deltas=(delta,))


def test_steps_that_wait_are_read_as_one_piece_and_none_is_lost() -> None:
    async def run(pair: Pair) -> None:
        pieces = pair.client.generate(await ticket_of(pair))
        reading = asyncio.ensure_future(anext(pieces))
        await pair.peer.next()
        pair.peer.say(step("one ", 1))
        assert await reading == Piece(text="one ")
        pair.peer.say(step("two ", 2), step("three ", 3), step("four", 4))
        pair.peer.say(step("", 5, finish_reason="stop"))
        await asyncio.sleep(0.05)
        assert [each async for each in pieces] == [
            Piece(
                text="two three four",
                finish_reason="stop",
                usage=Usage(prompt_tokens=3, completion_tokens=5),
            )
        ]

    with_pair(run)


def test_text_that_came_before_the_engine_died_is_read_before_the_error() -> None:
    async def run(pair: Pair) -> None:
        pieces = pair.client.generate(await ticket_of(pair))
        reading = asyncio.ensure_future(anext(pieces))
        await pair.peer.next()
        pair.peer.say(step("one ", 1))
        await reading
        pair.peer.say(step("two ", 2), step("three", 3))
        await asyncio.sleep(0.05)
        pair.client.fail("the engine process ended")
        assert await anext(pieces) == Piece(text="two three")
        with pytest.raises(EngineUnavailableError):
            await anext(pieces)

    with_pair(run)


def test_text_that_came_before_a_cancellation_is_read_before_the_end() -> None:
    async def run(pair: Pair) -> None:
        pieces = pair.client.generate(await ticket_of(pair))
        reading = asyncio.ensure_future(anext(pieces))
        await pair.peer.next()
        pair.peer.say(step("one ", 1))
        await reading
        ended = wire.Ended(request_id="r", prompt_tokens=3, completion_tokens=2)
        pair.peer.say(step("two", 2), ended)
        await asyncio.sleep(0.05)
        assert [each async for each in pieces] == [Piece(text="two")]

    with_pair(run)
