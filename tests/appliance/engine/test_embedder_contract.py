"""What every engine that makes vectors promises a flow: the fake and the real one."""

import asyncio
import contextlib
from array import array
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.engine.embedding import Inputs, ModelEngine
from appliance.engine.port import Ticket, Usage
from appliance.errors import (
    ContextLengthError,
    OverloadedError,
    RequestRefusedError,
    UnsuitableModelError,
)
from tests.support.demo_engine import GREEDY, asks, running
from tests.support.fake_embedder import FakeEmbedder
from tests.support.gguf_writer import family, write_model

PLACES = 3


class Desk:
    """An engine for texts of at most 64 tokens, and the loop that it lives on."""

    def __init__(self, runner: asyncio.Runner, engine: ModelEngine) -> None:
        self._runner = runner
        self._engine = engine
        self._held: list[str] = []

    def run(self, test: Callable[["Desk"], Coroutine[Any, Any, None]]) -> None:
        """Run a test, and give back whatever it holds in the end."""
        try:
            self._runner.run(asyncio.wait_for(test(self), 30))
        finally:
            for name in self._held:
                self._runner.run(self._engine.cancel(name))
            self._held.clear()

    @property
    def engine(self) -> ModelEngine:
        return self._engine

    async def hold(self, name: str, *texts: str) -> Ticket:
        """Hold a place for texts, or for one if none is named."""
        return await self.ask(name, Inputs(texts=texts or ("a text",)))

    async def ask(
        self, name: str, inputs: Inputs, *, dimensions: int | None = None
    ) -> Ticket:
        self._held.append(name)
        return await self._engine.prepare_inputs(
            name, tenant="red", inputs=inputs, dimensions=dimensions
        )

    async def all_places_are_free(self) -> None:
        for number in range(PLACES):
            await self.hold(f"free-{number}")


@contextlib.asynccontextmanager
async def fake(_folder: Path) -> AsyncIterator[ModelEngine]:
    yield FakeEmbedder(places=PLACES, input_tokens=64, vector_size=64)


@contextlib.asynccontextmanager
async def real(folder: Path) -> AsyncIterator[ModelEngine]:
    model = write_model(folder / "model.gguf", family("bert"))
    async with running(
        model, input_tokens=64, sequences=1, queued_requests=PLACES - 1
    ) as engine:
        yield engine


@pytest.fixture(
    scope="module", params=[fake, pytest.param(real, marks=pytest.mark.system)]
)
def desk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    made = request.param(tmp_path_factory.mktemp("model"))
    with asyncio.Runner() as runner:
        yield Desk(runner, runner.run(made.__aenter__()))
        runner.run(made.__aexit__(None, None, None))


def test_every_input_has_a_vector_in_order_and_the_last_have_the_usage(
    desk: Desk,
) -> None:
    async def run(desk: Desk) -> None:
        texts = tuple(f"text {'x' * i}" for i in range(1, 8))
        ticket = await desk.hold("r", *texts)
        parts = [part async for part in desk.engine.embed(ticket)]
        assert [part.usage for part in parts[:-1]] == [None] * (len(parts) - 1)
        assert parts[-1].usage == Usage(
            prompt_tokens=ticket.prompt_tokens, completion_tokens=0
        )
        vectors = [vector for part in parts for vector in part.vectors]
        assert len(vectors) == len(texts)
        first = 0
        for part in parts:
            assert part.first == first
            first += len(part.vectors)
        for vector in vectors:
            numbers = array("f", vector)
            assert len(numbers) == 64
            assert sum(n * n for n in numbers) == pytest.approx(1, abs=1e-5)

    desk.run(run)


def test_tokens_may_be_given_instead_of_texts(desk: Desk) -> None:
    async def run(desk: Desk) -> None:
        tokens = tuple(array("i", [2, n, 3]).tobytes() for n in (5, 6))
        ticket = await desk.ask("r", Inputs(tokens=tokens), dimensions=64)
        assert ticket.prompt_tokens == 6
        parts = [part async for part in desk.engine.embed(ticket)]
        assert sum(len(part.vectors) for part in parts) == 2

    desk.run(run)


def test_an_input_that_is_too_long_is_refused_and_holds_no_place(desk: Desk) -> None:
    async def run(desk: Desk) -> None:
        with pytest.raises(ContextLengthError) as caught:
            await desk.hold("long", "short", "bundle " * 70)
        assert (caught.value.index, caught.value.limit_tokens) == (1, 64)
        assert caught.value.param == "input"
        await desk.all_places_are_free()

    desk.run(run)


@pytest.mark.parametrize(
    ("inputs", "dimensions", "param"),
    [
        (Inputs(texts=("a",)), 63, "dimensions"),
        (Inputs(tokens=(array("i", [10**6]).tobytes(),)), None, "input"),
    ],
)
def test_what_the_model_does_not_have_is_refused(
    desk: Desk, inputs: Inputs, dimensions: int | None, param: str
) -> None:
    async def run(desk: Desk) -> None:
        with pytest.raises(RequestRefusedError) as caught:
            await desk.ask("r", inputs, dimensions=dimensions)
        assert caught.value.param == param
        await desk.all_places_are_free()

    desk.run(run)


def test_it_writes_no_text(desk: Desk) -> None:
    async def run(desk: Desk) -> None:
        with pytest.raises(UnsuitableModelError) as caught:
            await desk.engine.prepare(
                "r", tenant="red", messages=asks("hello"), sampling=GREEDY
            )
        assert caught.value.param == "model"
        await desk.all_places_are_free()

    desk.run(run)


def test_a_request_beyond_the_last_place_is_refused_until_one_is_free(
    desk: Desk,
) -> None:
    async def run(desk: Desk) -> None:
        await desk.all_places_are_free()
        with pytest.raises(OverloadedError) as caught:
            await desk.hold("c")
        assert 1 <= caught.value.retry_after_s <= 120
        assert (await desk.engine.cancel("free-0")).completion_tokens == 0
        await desk.hold("c")

    desk.run(run)


def test_a_cancelled_place_cannot_be_started(desk: Desk) -> None:
    async def run(desk: Desk) -> None:
        ticket = await desk.hold("r")
        await desk.engine.cancel("r")
        with pytest.raises(OverloadedError):
            [part async for part in desk.engine.embed(ticket)]

    desk.run(run)


def test_a_caller_that_walks_away_frees_the_place(desk: Desk) -> None:
    async def run(desk: Desk) -> None:
        ticket = await desk.hold("r", *(["bundle " * 30] * 40))
        parts = cast("Any", desk.engine.embed(ticket))
        async with aclosing(parts):
            async for _ in parts:
                break
        used = await desk.engine.cancel("r")
        assert 0 < used.prompt_tokens <= ticket.prompt_tokens
        await desk.all_places_are_free()

    desk.run(run)


def test_cancel_is_harmless_for_finished_and_for_unknown_requests(desk: Desk) -> None:
    async def run(desk: Desk) -> None:
        ticket = await desk.hold("r")
        parts = [part async for part in desk.engine.embed(ticket)]
        assert await desk.engine.cancel("r") == parts[-1].usage
        assert await desk.engine.cancel("never seen") == Usage(
            prompt_tokens=0, completion_tokens=0
        )

    desk.run(run)
