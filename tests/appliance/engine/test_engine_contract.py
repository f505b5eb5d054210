"""What every engine promises a request flow: the fake and the real one alike."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, cast

import pytest

from appliance.engine.port import Engine, Piece, Sampling, Ticket, Usage
from appliance.errors import ContextLengthError, OverloadedError
from tests.support.demo_engine import (
    GREEDY,
    QUESTION,
    RAMBLING,
    answer,
    asks,
    running,
)
from tests.support.fake_engine import FakeEngine

Maker = Callable[[int], AbstractAsyncContextManager[Engine]]
"""Makes an engine with so many places and a context of 512 tokens."""


@contextlib.asynccontextmanager
async def fake(places: int) -> AsyncIterator[Engine]:
    yield FakeEngine(
        pieces=("It", "is", "signed", "and", "it", "goes", "up", ".") * 40,
        context_tokens=512,
        places=places,
    )


@contextlib.asynccontextmanager
async def real(places: int) -> AsyncIterator[Engine]:
    async with running(
        context_tokens=512, sequences=1, queued_requests=places - 1
    ) as engine:
        yield engine


@pytest.fixture(params=[fake, pytest.param(real, marks=pytest.mark.system)])
def make(request: pytest.FixtureRequest) -> Maker:
    return cast("Maker", request.param)


def with_engine(make: Maker, test: Callable[[Engine], Any], *, places: int = 4) -> None:
    async def run() -> None:
        async with make(places) as engine:
            await asyncio.wait_for(test(engine), 30)

    asyncio.run(run())


async def hold(
    engine: Engine, name: str, *, text: str = QUESTION, sampling: Sampling = GREEDY
) -> Ticket:
    return await engine.prepare(
        name, tenant="red", messages=asks(text), sampling=sampling
    )


def test_only_the_last_piece_has_reason_and_usage(make: Maker) -> None:
    async def run(engine: Engine) -> None:
        ticket = await hold(engine, "r", sampling=Sampling(temperature=0, max_tokens=5))
        pieces = [piece async for piece in engine.generate(ticket)]
        assert ticket.max_new_tokens == 5
        assert [p for p in pieces[:-1] if p.finish_reason or p.usage] == []
        assert pieces[-1].finish_reason == "length"
        assert pieces[-1].usage == Usage(
            prompt_tokens=ticket.prompt_tokens, completion_tokens=5
        )
        assert "".join(piece.text for piece in pieces)

    with_engine(make, run)


def test_default_of_new_tokens_is_finite_and_fits_the_context(make: Maker) -> None:
    async def run(engine: Engine) -> None:
        ticket = await hold(engine, "r")
        assert ticket.prompt_tokens > 0
        assert ticket.prompt_tokens + ticket.max_new_tokens == 512

    with_engine(make, run)


@pytest.mark.parametrize(("words", "max_tokens"), [(600, None), (3, 512)])
def test_request_beyond_the_context_is_refused_and_holds_no_place(
    make: Maker, words: int, max_tokens: int | None
) -> None:
    async def run(engine: Engine) -> None:
        with pytest.raises(ContextLengthError) as caught:
            await hold(
                engine,
                "long",
                text=" ".join(["bundle"] * words),
                sampling=Sampling(max_tokens=max_tokens),
            )
        assert caught.value.code == "context-length-exceeded"
        assert caught.value.limit_tokens == 512
        assert caught.value.prompt_tokens + caught.value.new_tokens > 512
        for name in ("short", "shorter"):
            await hold(engine, name)

    with_engine(make, run, places=2)


def test_request_beyond_the_last_place_is_refused_until_one_is_free(
    make: Maker,
) -> None:
    async def run(engine: Engine) -> None:
        for name in ("a", "b"):
            await hold(engine, name)
        with pytest.raises(OverloadedError) as caught:
            await hold(engine, "c")
        assert 1 <= caught.value.retry_after_s <= 120
        used = await engine.cancel("a")
        assert used.prompt_tokens > 0
        assert used.completion_tokens == 0
        await hold(engine, "c")

    with_engine(make, run, places=2)


def test_prepared_request_that_is_never_started_blocks_nobody(make: Maker) -> None:
    async def run(engine: Engine) -> None:
        await hold(engine, "asleep")
        _, last = await answer(
            engine, "awake", sampling=Sampling(temperature=0, max_tokens=4)
        )
        assert last.finish_reason == "length"

    with_engine(make, run, places=2)


def test_cancel_ends_the_pieces_without_a_last_one_and_tells_the_usage(
    make: Maker,
) -> None:
    async def run(engine: Engine) -> None:
        await hold(engine, "other")
        ticket = await hold(engine, "r", sampling=RAMBLING)
        pieces: list[Piece] = []
        used = None
        async for piece in engine.generate(ticket):
            pieces.append(piece)
            used = used or await engine.cancel("r")
        assert used is not None
        assert used.prompt_tokens == ticket.prompt_tokens
        assert 0 < used.completion_tokens < ticket.max_new_tokens
        assert pieces[-1].finish_reason is None
        assert await engine.cancel("r") == used
        await hold(engine, "next")

    with_engine(make, run, places=2)


def test_consumer_that_walks_away_frees_the_place(make: Maker) -> None:
    async def run(engine: Engine) -> None:
        await hold(engine, "other")
        ticket = await hold(engine, "r", sampling=RAMBLING)
        pieces = cast("Any", engine.generate(ticket))
        async with aclosing(pieces):
            async for _ in pieces:
                break
        await engine.cancel("r")
        await hold(engine, "next")

    with_engine(make, run, places=2)


def test_cancelled_place_cannot_be_started(make: Maker) -> None:
    async def run(engine: Engine) -> None:
        ticket = await hold(engine, "r")
        await engine.cancel("r")
        with pytest.raises(OverloadedError):
            [piece async for piece in engine.generate(ticket)]

    with_engine(make, run)


def test_cancel_is_harmless_for_finished_and_for_unknown_requests(make: Maker) -> None:
    async def run(engine: Engine) -> None:
        _, last = await answer(
            engine, "r", sampling=Sampling(temperature=0, max_tokens=4)
        )
        assert await engine.cancel("r") == last.usage
        assert await engine.cancel("never seen") == Usage(
            prompt_tokens=0, completion_tokens=0
        )

    with_engine(make, run)
