"""What the gateway's end does, seen from the other end of the socket.

The test plays the engine process: it decides what is read, and what is answered
when, so that nothing here depends on how fast a model is.
"""

import asyncio
import time

import pytest

from appliance.engine import protocol as wire
from appliance.engine.endings import Endings
from appliance.engine.port import Message, Sampling, Ticket, Usage
from appliance.errors import (
    ContextLengthError,
    EngineUnavailableError,
    OverloadedError,
    RequestRefusedError,
)
from tests.appliance.engine.peer import (
    LOADED,
    PLACES,
    Pair,
    connected,
    prepared,
    with_pair,
)


def test_messages_that_cannot_fit_are_refused_and_nothing_is_sent() -> None:
    async def run(pair: Pair) -> None:
        with pytest.raises(ContextLengthError) as caught:
            await pair.ask("r", "é" * 4_000)
        assert caught.value.limit_tokens == 1_000
        assert caught.value.prompt_tokens == 1_000
        assert caught.value.new_tokens == 7
        assert await pair.peer.silent()
        pair.ask("r", "é" * 3_996).cancel()
        fits = pair.ask("r", "é" * 3_996)
        assert await pair.asked() == "r"
        pair.peer.say(prepared("r"))
        await fits

    ready = wire.Ready(
        context_tokens=1_000,
        cells=1_000,
        sequences=2,
        batch_tokens=32,
        longest_token_bytes=8,
        loaded=LOADED,
    )
    with_pair(run, ready=ready)


def test_vocabulary_without_a_longest_token_refuses_nothing_by_size() -> None:
    async def run(pair: Pair) -> None:
        asking = pair.ask("r", "x" * 100_000)
        assert await pair.asked() == "r"
        pair.peer.say(prepared("r"))
        await asking

    ready = wire.Ready(
        context_tokens=10,
        cells=10,
        sequences=2,
        batch_tokens=32,
        longest_token_bytes=None,
        loaded=LOADED,
    )
    with_pair(run, ready=ready)


def test_messages_above_the_frame_limit_are_refused_and_nothing_is_sent() -> None:
    async def run(pair: Pair) -> None:
        many = (Message(role="user", content=""),) * (wire.MAX_FRAME_BYTES // 16)
        with pytest.raises(RequestRefusedError) as caught:
            await pair.client.prepare(
                wire.Prepare(
                    request_id="r", tenant="red", messages=many, sampling=Sampling()
                )
            )
        assert caught.value.code == "invalid-request"
        assert caught.value.param == "messages"
        assert await pair.peer.silent()

    with_pair(run)


def test_short_prompts_are_on_their_way_together() -> None:
    async def run(pair: Pair) -> None:
        tasks = [pair.ask(name, "hello") for name in "abc"]
        assert [await pair.asked() for _ in tasks] == ["a", "b", "c"]
        long = pair.ask("long")
        assert await pair.peer.silent()
        pair.peer.say(*(prepared(name) for name in "abc"))
        await asyncio.gather(*tasks)
        assert await pair.asked() == "long"
        pair.peer.say(prepared("long"))
        await long

    with_pair(run)


def test_a_long_prompt_is_on_its_way_alone_and_others_follow_in_order() -> None:
    async def run(pair: Pair) -> None:
        tasks = [pair.ask(name) for name in "abc"]
        for name in "abc":
            assert await pair.asked() == name
            assert await pair.peer.silent()
            pair.peer.say(prepared(name))
        assert [(await task).request_id for task in tasks] == ["a", "b", "c"]

    with_pair(run)


def test_every_kind_of_answer_lets_the_next_prompt_go() -> None:
    async def run(pair: Pair) -> None:
        tasks = [pair.ask(name) for name in "abcd"]
        answers: tuple[wire.Report, ...] = (
            wire.TooLong(request_id="a", limit_tokens=1, prompt_tokens=2, new_tokens=3),
            wire.Refused(request_id="b", problem="no", param=None),
            wire.Overloaded(request_id="c", problem="full", retry_after_s=1),
            prepared("d"),
        )
        for name, answer in zip("abcd", answers, strict=True):
            assert await pair.asked() == name
            pair.peer.say(answer)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [
            ContextLengthError,
            RequestRefusedError,
            OverloadedError,
            Ticket,
        ]

    with_pair(run)


def test_start_and_cancel_overtake_prompts_that_stand_in_line() -> None:
    async def run(pair: Pair) -> None:
        held = pair.ask("held")
        await pair.asked()
        pair.peer.say(prepared("held"))
        ticket = await held
        line = [pair.ask(name) for name in "abc"]
        assert await pair.asked() == "a"
        first = asyncio.ensure_future(anext(pair.client.generate(ticket)))
        assert await pair.peer.next() == wire.Start(request_id="held")
        ending = asyncio.create_task(pair.client.cancel("held"))
        assert await pair.peer.next() == wire.Cancel(request_id="held")
        pair.peer.say(
            wire.Ended(request_id="held", prompt_tokens=3, completion_tokens=0)
        )
        await ending
        with pytest.raises(StopAsyncIteration):
            await first
        assert await pair.peer.silent()
        assert not any(task.done() for task in line)
        pair.client.fail("over")
        await asyncio.gather(*line, return_exceptions=True)

    with_pair(run)


def test_requests_beyond_the_places_are_refused_at_once() -> None:
    async def run(pair: Pair) -> None:
        line = [pair.ask(f"{number}") for number in range(PLACES)]
        await pair.asked()
        with pytest.raises(OverloadedError) as caught:
            await pair.ask("one more")
        assert 1 <= caught.value.retry_after_s <= 120
        await pair.client.cancel(f"{PLACES - 1}")
        again = pair.ask("one more")
        assert await pair.peer.silent()
        assert not again.done()
        pair.client.fail("over")
        results = await asyncio.gather(*line, again, return_exceptions=True)
        assert {type(result) for result in results} == {EngineUnavailableError}

    with_pair(run)


def test_request_in_line_that_is_cancelled_is_never_sent() -> None:
    async def run(pair: Pair) -> None:
        first, second, third, fourth = (pair.ask(name) for name in "abcd")
        assert await pair.asked() == "a"
        second.cancel()
        assert await pair.client.cancel("c") == Usage(
            prompt_tokens=0, completion_tokens=0
        )
        with pytest.raises(EngineUnavailableError):
            await third
        assert await pair.peer.silent()
        pair.peer.say(prepared("a"))
        assert await pair.asked() == "d"
        pair.peer.say(prepared("d"))
        await asyncio.gather(first, fourth)
        assert second.cancelled()

    with_pair(run)


def test_prompt_whose_caller_left_keeps_its_turn_until_it_is_answered() -> None:
    async def run(pair: Pair) -> None:
        first, second = pair.ask("a"), pair.ask("b")
        assert await pair.asked() == "a"
        first.cancel()
        assert await pair.peer.next() == wire.Cancel(request_id="a")
        assert await pair.peer.silent()
        pair.peer.say(
            prepared("a"),
            wire.Ended(request_id="a", prompt_tokens=3, completion_tokens=0),
        )
        assert await pair.asked() == "b"
        pair.peer.say(prepared("b"))
        await second

    with_pair(run)


def test_answer_is_given_although_the_frame_was_not_read_to_its_end() -> None:
    async def run(pair: Pair) -> None:
        asking = pair.ask("r", "x" * 4_000_000)
        await asyncio.sleep(0.05)
        pair.peer.say(prepared("r"))
        assert (await asyncio.wait_for(asking, 2)).prompt_tokens == 3

    with_pair(run)


def test_time_for_an_answer_begins_when_its_question_is_sent() -> None:
    async def run(pair: Pair) -> None:
        began = time.monotonic()
        tasks = [pair.ask(name) for name in "abcd"]
        for name in "abcd":
            assert await pair.asked() == name
            await asyncio.sleep(0.3)
            pair.peer.say(prepared(name))
        await asyncio.gather(*tasks)
        assert time.monotonic() - began > 1.0

    with_pair(run, reply_timeout_s=1)


def test_engine_that_owes_an_answer_too_long_loses_its_connection() -> None:
    async def run(pair: Pair) -> None:
        tasks = [pair.ask("a", "x" * 4_000_000), pair.ask("b")]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [EngineUnavailableError] * 2
        await asyncio.wait_for(pair.client.closed(), 2)
        assert pair.client.problem
        with pytest.raises(EngineUnavailableError):
            await pair.ask("c")

    with_pair(run, reply_timeout_s=0.2)


def test_place_of_an_earlier_process_is_unavailable_and_not_overloaded() -> None:
    async def run() -> None:
        endings = Endings()
        async with connected(endings=endings) as pair:
            asking = pair.ask("r")
            await pair.asked()
            pair.peer.say(prepared("r"))
            ticket = await asking
        async with connected(endings=endings) as pair:
            with pytest.raises(EngineUnavailableError):
                await anext(pair.client.generate(ticket))
            assert (await pair.client.cancel("r")).prompt_tokens == 3
            again = pair.ask("r")
            await pair.asked()
            pair.peer.say(
                prepared("r"),
                wire.Overloaded(request_id="r", problem="late", retry_after_s=1),
            )
            ticket = await again
            await asyncio.sleep(0.05)
            with pytest.raises(OverloadedError):
                await anext(pair.client.generate(ticket))

    asyncio.run(run())
