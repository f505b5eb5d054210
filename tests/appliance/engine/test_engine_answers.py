"""The real process answers inside its limits, and gives back what it held."""

import asyncio

import pytest

from appliance.engine.port import Sampling
from appliance.engine.supervisor import EngineSupervisor
from appliance.errors import (
    ContextLengthError,
    OverloadedError,
    QueueTimeoutError,
    RequestRefusedError,
)
from bundleformat.errors import ConflictError
from tests.support.demo_engine import (
    ANSWER,
    QUESTION,
    RAMBLING,
    answer,
    freeze,
    hold,
    thaw,
    together,
    with_engine,
)

pytestmark = pytest.mark.system

WHY = "Can I trust a signed model?"


def test_demo_model_answers_word_for_word() -> None:
    async def run(engine: EngineSupervisor) -> None:
        text, last = await answer(engine, "r")
        assert text == ANSWER
        assert last.finish_reason == "stop"
        assert last.usage is not None
        assert last.usage.prompt_tokens == 8

    with_engine(run)


def test_answers_are_the_same_when_eight_run_in_one_batch() -> None:
    async def run(engine: EngineSupervisor) -> None:
        other, _ = await answer(engine, "alone", text=WHY)
        before = await engine.stats()
        texts = [QUESTION, WHY] * 4
        tickets = [
            await hold(engine, f"r{i}", text=text) for i, text in enumerate(texts)
        ]
        answers = await together(engine, tickets)
        after = await engine.stats()
        assert [text for text, _ in answers] == [ANSWER, other] * 4
        steps = after.steps - before.steps
        tokens = after.tokens_decoded - before.tokens_decoded
        assert tokens > 4 * steps
        assert (after.running, after.cells_reserved) == (0, 0)
        assert after.cells_used == after.cells_cached
        assert after.preemptions == 0

    with_engine(run)


def test_prompts_cut_into_chunks_give_the_same_answer() -> None:
    async def run(engine: EngineSupervisor) -> None:
        system = "You are a helpful assistant."
        answers = await asyncio.gather(
            *(
                answer(engine, f"{i}", text=text)
                for i, text in enumerate([QUESTION, system * 40, QUESTION, QUESTION])
            )
        )
        assert [answers[i][0] for i in (0, 2, 3)] == [ANSWER] * 3

    with_engine(run, batch_tokens=32, sequences=4)


def test_stop_string_ends_the_answer_before_it() -> None:
    async def run(engine: EngineSupervisor) -> None:
        text, last = await answer(
            engine, "r", sampling=Sampling(temperature=0, stop=(": metadata",))
        )
        assert text == "A bundle is one signed release"
        assert last.finish_reason == "stop"

    with_engine(run)


def test_same_seed_draws_the_same_answer_and_another_seed_another() -> None:
    async def run(engine: EngineSupervisor) -> None:
        texts = []
        for number, seed in enumerate((5, 5, 6, 2**63)):
            sampling = Sampling(temperature=2, top_p=1, seed=seed, max_tokens=60)
            texts.append((await answer(engine, f"{number}", sampling=sampling))[0])
        assert texts[0] == texts[1]
        assert len(set(texts)) == 3

    with_engine(run)


@pytest.mark.parametrize(
    "heavy",
    [
        Sampling(temperature=0, max_tokens=60, frequency_penalty=1_000),
        Sampling(temperature=0, max_tokens=60, presence_penalty=1_000),
    ],
    ids=["frequency", "presence"],
)
def test_penalty_of_overwhelming_weight_lets_no_token_appear_twice(
    heavy: Sampling,
) -> None:
    async def run(engine: EngineSupervisor) -> None:
        alone, _ = await answer(engine, "r1", sampling=Sampling(temperature=0))
        text, _ = await answer(engine, "r2", sampling=heavy)
        assert alone.count(" a") > 2
        assert text.count(" a ") < 2
        assert text != alone

    with_engine(run)


def test_cancel_in_mid_answer_frees_the_cells() -> None:
    async def interrupted(engine: EngineSupervisor, name: str) -> int:
        ticket = await hold(engine, name, sampling=RAMBLING)
        async for _ in engine.generate(ticket):
            break
        return (await engine.cancel(name)).completion_tokens

    async def run(engine: EngineSupervisor) -> None:
        counts = await asyncio.gather(
            *(interrupted(engine, f"r{i}") for i in range(16))
        )
        stats = await engine.stats()
        assert all(0 < count <= 480 for count in counts)
        assert min(counts) < 480
        assert (stats.running, stats.cells_reserved) == (0, 0)
        assert stats.cells_used == stats.cells_cached
        assert (await answer(engine, "next"))[0] == ANSWER

    with_engine(run)


def test_cancel_before_the_first_token_frees_the_cells() -> None:
    async def run(engine: EngineSupervisor) -> None:
        text = "Sallyport takes models across an air gap. " * 20
        ticket = await hold(engine, "r", text=text, sampling=Sampling(max_tokens=1))
        assert ticket.prompt_tokens > 5 * 32
        freeze(engine)  # so that both orders are there when it looks
        pieces = aiter(engine.generate(ticket))
        waiting = asyncio.ensure_future(anext(pieces, None))
        await asyncio.sleep(0.05)
        ending = asyncio.ensure_future(engine.cancel("r"))
        await asyncio.sleep(0.05)
        thaw(engine)
        assert (await ending).completion_tokens == 0
        assert await waiting is None
        stats = await engine.stats()
        assert (stats.running, stats.cells_used, stats.cells_reserved) == (0, 0, 0)

    with_engine(run, batch_tokens=32)


def test_caller_that_is_cancelled_while_it_prepares_leaves_no_place() -> None:
    async def run(engine: EngineSupervisor) -> None:
        freeze(engine)
        task = asyncio.create_task(hold(engine, "r"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        thaw(engine)
        await engine.cancel("r")
        stats = await engine.stats()
        assert (stats.prepared, stats.waiting, stats.running) == (0, 0, 0)

    with_engine(run)


def test_over_long_prompt_is_refused_with_its_numbers() -> None:
    async def run(engine: EngineSupervisor) -> None:
        assert engine.context_tokens == 512
        with pytest.raises(ContextLengthError) as caught:
            await hold(engine, "r", text="bundle " * 4_000)
        assert caught.value.param == "messages"
        assert caught.value.limit_tokens == 512
        assert caught.value.prompt_tokens > 512
        assert (await engine.stats()).prepared == 0

    with_engine(run)


def test_messages_that_are_no_unicode_are_refused_and_hold_no_place() -> None:
    async def run(engine: EngineSupervisor) -> None:
        with pytest.raises(RequestRefusedError) as caught:
            await hold(engine, "r", text="half a pair: \ud800")
        assert caught.value.param == "messages"
        assert (await answer(engine, "r"))[0] == ANSWER

    with_engine(run)


def test_flood_is_refused_beyond_the_places_and_all_others_are_answered() -> None:
    async def run(engine: EngineSupervisor) -> None:
        results = await asyncio.gather(
            *(answer(engine, f"r{i}") for i in range(60)), return_exceptions=True
        )
        refused = [r for r in results if isinstance(r, OverloadedError)]
        answered = [r[0] for r in results if isinstance(r, tuple)]
        assert len(refused) + len(answered) == 60
        assert len(answered) >= 6
        assert refused
        assert set(answered) == {ANSWER}
        assert (await engine.stats()).cells_reserved == 0

    with_engine(run, sequences=2, queued_requests=4)


def test_request_id_in_use_is_refused() -> None:
    async def run(engine: EngineSupervisor) -> None:
        await hold(engine, "r")
        with pytest.raises(ConflictError):
            await hold(engine, "r")

    with_engine(run)


def test_late_close_of_an_old_answer_spares_a_new_one_of_the_same_id() -> None:
    async def run(engine: EngineSupervisor) -> None:
        old = engine.generate(await hold(engine, "r", sampling=RAMBLING))
        await anext(old)
        await engine.cancel("r")
        new = await hold(engine, "r")
        await old.aclose()
        pieces = [piece async for piece in engine.generate(new)]
        assert "".join(piece.text for piece in pieces) == ANSWER

    with_engine(run)


def test_place_that_waits_too_long_is_given_up() -> None:
    async def run(engine: EngineSupervisor) -> None:
        asleep = await hold(engine, "asleep")
        waits = await hold(engine, "waits")
        freeze(engine)
        pieces = aiter(engine.generate(waits))
        first = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(1.1)
        thaw(engine)
        for started in (first, anext(aiter(engine.generate(asleep)))):
            with pytest.raises(QueueTimeoutError):
                await started
        assert (await engine.stats()).prepared == 0

    with_engine(run, queue_timeout_s=1)
