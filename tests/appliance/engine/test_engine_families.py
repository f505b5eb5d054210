"""A model of every family loads, streams, batches, cancels and keeps its cells.

Weights are random, so an answer means nothing; it must be the same alone and in
company, for a cache that forgets or mixes up anything would change it. Prompts
are longer than a batch and than the sliding window of those that have one.
"""

import asyncio
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from appliance.engine.port import Sampling
from appliance.engine.supervisor import EngineSupervisor
from tests.support.demo_engine import answer, hold, together, with_engine
from tests.support.gguf_writer import FAMILIES, family, write_model

pytestmark = pytest.mark.system

ONE_OF_EACH_CACHE = ("qwen3", "gemma3", "deepseek2", "mamba", "granitehybrid")
"""Full attention, sliding window, latent, recurrent, and recurrent beside full."""

TWO_CACHES = ("gemma3", "granitehybrid")
"""Those whose layers keep what they know in two kinds of cache."""

ONLY_CONTINUE = ("gemma3", "mamba", "granitehybrid")
"""Those whose sequences cannot be cut; ``test_engine_prefixes.py`` has them."""

SEEDS = {
    "llama": 268,
    "mistral": 268,
    "gemma3": 323,
    "phi3": 87,
    "qwen2": 87,
    "qwen3": 382,
    "qwen3moe": 91,
    "deepseek2": 202,
    "mamba": 131,
    "granitehybrid": 143,
}
"""Weights that never nearly tie in the first 12 tokens of the answers below.

The best token is ahead by at least 0.04 each time; rounding, which differs between
one batch and another, moves a logit by some 0.001.
"""

FAMILIES_THAT_WRITE = [name for name in FAMILIES if FAMILIES[name].pooling is None]


def fast(*names: str) -> list[ParameterSet]:
    """Every family, of which only those named are tested each time."""
    return [
        pytest.param(name, marks=() if name in names else pytest.mark.slow)
        for name in FAMILIES_THAT_WRITE
    ]


TEXTS = ("who holds the tree", "the host " * 60, "hello", "a record, a place " * 12)
SAMPLING = Sampling(temperature=0, max_tokens=12)
SMALL = {"sequences": 4, "batch_tokens": 64, "cells": 1_024, "context_tokens": 256}


def written(folder: Path, name: str) -> Path:
    model = family(name, context=1_024, seed=SEEDS[name])
    return write_model(folder / "model.gguf", model)


@pytest.mark.parametrize("name", fast(*ONE_OF_EACH_CACHE))
def test_four_answers_at_once_are_those_of_each_alone(
    tmp_path: Path, name: str
) -> None:
    async def run(engine: EngineSupervisor) -> None:
        alone = [
            (await answer(engine, f"a{i}", text=text, sampling=SAMPLING))[0]
            for i, text in enumerate(TEXTS)
        ]
        before = await engine.stats()
        tickets = [
            await hold(engine, f"t{i}", text=text, sampling=SAMPLING)
            for i, text in enumerate(TEXTS)
        ]
        assert max(ticket.prompt_tokens for ticket in tickets) > 100
        answers = await together(engine, tickets)
        after = await engine.stats()
        assert [text for text, _ in answers] == alone
        assert len(set(alone)) == len(TEXTS)
        decoded = after.tokens_decoded - before.tokens_decoded
        assert decoded > 2 * (after.steps - before.steps)
        assert (after.running, after.cells_reserved, after.preemptions) == (0, 0, 0)

    with_engine(run, model=written(tmp_path, name), **SMALL)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "deepseek2" else pytest.mark.slow)
        for name in FAMILIES_THAT_WRITE
        if name not in ONLY_CONTINUE
    ],
)
def test_a_beginning_that_is_known_is_not_computed_again(
    tmp_path: Path, name: str
) -> None:
    beginning = "the host keeps nothing that was not signed, " * 6
    texts = (beginning + "who asks?", beginning + "what is a place?")

    async def run(engine: EngineSupervisor) -> None:
        alone = [
            await answer(engine, f"a{n}", text=text, sampling=SAMPLING)
            for n, text in enumerate(texts)
        ]
        again = await answer(engine, "again", text=texts[0], sampling=SAMPLING)
        first, second, third = (last.usage for _, last in (*alone, again))
        assert first is not None
        assert second is not None
        assert third is not None
        assert first.cached_tokens == 0
        assert second.cached_tokens > 60
        assert third.cached_tokens == third.prompt_tokens - 1
        assert again[0] == alone[0][0]

    with_engine(run, model=written(tmp_path, name), **SMALL)


@pytest.mark.parametrize("name", fast(*TWO_CACHES))
def test_a_cancelled_answer_leaves_its_cells_to_the_next(
    tmp_path: Path, name: str
) -> None:
    long = Sampling(temperature=1.0, seed=7, max_tokens=100)

    async def interrupted(engine: EngineSupervisor, request_id: str) -> None:
        ticket = await hold(engine, request_id, text=TEXTS[1], sampling=long)
        async for _ in engine.generate(ticket):
            stats = await engine.stats()
            assert max(stats.cells_used, stats.cells_reserved) <= stats.cells
            break
        await engine.cancel(request_id)

    async def run(engine: EngineSupervisor) -> None:
        first, _ = await answer(engine, "first", sampling=SAMPLING)
        for turn in range(2):
            await asyncio.gather(
                *(interrupted(engine, f"{turn}-{i}") for i in range(6))
            )
            stats = await engine.stats()
            assert (stats.running, stats.cells_reserved) == (0, 0)
        again, _ = await answer(engine, "again", sampling=SAMPLING)
        assert again == first

    with_engine(run, model=written(tmp_path, name), **SMALL)
