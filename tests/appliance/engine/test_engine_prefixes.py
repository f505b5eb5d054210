"""What was computed once is not computed again, and no answer is another for it."""

import asyncio
from pathlib import Path

import pytest

from appliance.engine.port import Message, Sampling
from appliance.engine.supervisor import EngineSupervisor
from tests.support.demo_engine import (
    ANSWER,
    GREEDY,
    LONGER_QUESTION,
    QUESTION,
    asks,
    finish,
    together,
    with_engine,
)
from tests.support.gguf_writer import family, write_model

pytestmark = pytest.mark.system

LONG = "You answer in one sentence and never guess. " * 12
SHORT = Sampling(temperature=0, max_tokens=12)


async def chat(
    engine: EngineSupervisor,
    name: str,
    *messages: Message,
    tenant: str = "red",
    sampling: Sampling = SHORT,
) -> tuple[str, int]:
    """Return the answer and how many tokens of the prompt were not computed."""
    ticket = await engine.prepare(
        name, tenant=tenant, messages=messages, sampling=sampling
    )
    text, last = await finish(engine, ticket)
    assert last.usage is not None
    return text, last.usage.cached_tokens


def system(text: str) -> Message:
    return Message(role="system", content=text)


def test_an_answer_from_shared_cells_is_word_for_word_the_same() -> None:
    async def run(engine: EngineSupervisor) -> None:
        first = await chat(engine, "1", *asks(LONGER_QUESTION), sampling=GREEDY)
        again = await chat(engine, "2", *asks(LONGER_QUESTION), sampling=GREEDY)
        assert first == (ANSWER, 0)
        assert again == (ANSWER, 18)

    with_engine(run, cache_layout="shared")


@pytest.mark.parametrize("layout", ["auto", "shared"])
def test_many_callers_compute_one_system_prompt_once(layout: str) -> None:
    async def run(engine: EngineSupervisor) -> None:
        tickets = [
            await engine.prepare(
                f"{number}",
                tenant="red",
                messages=(system(LONG), *asks(f"Question {number}?")),
                sampling=SHORT,
            )
            for number in range(8)
        ]
        answers = await together(engine, tickets)
        stats = await engine.stats()
        whole = sum(ticket.prompt_tokens for ticket in tickets)
        assert stats.tokens_prefilled + stats.tokens_reused == whole
        assert stats.tokens_prefilled < 0.25 * whole
        alone = [
            await chat(engine, f"again {n}", system(LONG), *asks(f"Question {n}?"))
            for n in range(8)
        ]
        assert [text for text, _ in answers] == [text for text, _ in alone]
        assert stats.preemptions == 0

    with_engine(run, cache_layout=layout)


def test_another_team_never_finds_what_a_team_has_asked() -> None:
    async def run(engine: EngineSupervisor) -> None:
        secret = system(LONG + "The word is heron.")
        await chat(engine, "1", secret, *asks("?"), tenant="red")
        _, own = await chat(engine, "2", secret, *asks("?"), tenant="red")
        _, other = await chat(engine, "3", secret, *asks("?"), tenant="blue")
        assert own > 100
        assert other == 0

    with_engine(run)


def test_a_declared_system_prompt_is_shared_and_the_question_is_not() -> None:
    async def run(engine: EngineSupervisor) -> None:
        await chat(engine, "1", system(LONG), *asks("What is a chunk?"), tenant="red")
        _, shared = await chat(
            engine, "2", system(LONG), *asks("What is a chunk?"), tenant="blue"
        )
        _, own = await chat(
            engine, "3", system(LONG), *asks("What is a chunk?"), tenant="blue"
        )
        assert 100 < shared < own

    with_engine(run, shared_prompts=(LONG,))


def test_a_conversation_that_left_the_cache_comes_back_from_memory() -> None:
    async def run(engine: EngineSupervisor) -> None:
        asked = (system(LONG), *asks(QUESTION))
        text, _ = await chat(engine, "1", *asked)
        for number in range(4):
            other = system(f"{number}: " + LONG)
            await chat(engine, f"other {number}", other, *asks("?"))
        before = await engine.stats()
        again, cached = await chat(engine, "2", *asked)
        after = await engine.stats()
        assert again == text
        assert cached > 100
        assert after.tokens_prefilled - before.tokens_prefilled < 20

    with_engine(run, cells=512, context_tokens=512)


def test_without_memory_to_spill_to_it_is_computed_again() -> None:
    async def run(engine: EngineSupervisor) -> None:
        asked = (system(LONG), *asks(QUESTION))
        text, _ = await chat(engine, "1", *asked)
        for number in range(4):
            other = system(f"{number}: " + LONG)
            await chat(engine, f"other {number}", other, *asks("?"))
        again, cached = await chat(engine, "2", *asked)
        assert (again, cached) == (text, 0)

    with_engine(run, cells=512, context_tokens=512, spill_bytes=0)


@pytest.mark.parametrize("name", ["gemma3", "mamba", "granitehybrid"])
def test_models_whose_sequences_cannot_be_cut_only_continue(
    name: str, tmp_path: Path
) -> None:
    """A sliding window, a recurrent state, and a mixture with one."""

    async def run(engine: EngineSupervisor) -> None:
        first = asks("One two three four five six seven eight nine ten.")
        text, cached = await chat(engine, "1", *first)
        assert cached == 0
        _, cached = await chat(engine, "2", *first)
        assert cached == 0
        said = Message(role="assistant", content=text)
        turn = (*first, said, *asks("And now?"))
        continued, cached = await chat(engine, "3", *turn)
        computed, nothing = await chat(engine, "4", *turn, tenant="blue")
        assert nothing == 0
        assert continued == computed
        stats = await engine.stats()
        assert stats.preemptions == 0
        assert stats.tokens_drafted == 0

    with_engine(run, model=write_model(tmp_path / "m.gguf", family(name)))


def test_a_crowd_on_a_cache_of_half_its_size_is_served_without_a_loss() -> None:
    async def run(engine: EngineSupervisor) -> None:
        async def one(number: int) -> str:
            text, _ = await chat(
                engine, f"{number}", system(f"{number}" + LONG), *asks(QUESTION)
            )
            return text

        await asyncio.gather(*(one(number) for number in range(24)))
        stats = await engine.stats()
        assert (stats.running, stats.cells_reserved, stats.preemptions) == (0, 0, 0)

    with_engine(run, cells=1_024, context_tokens=512)
