"""A batch of llama.cpp that is interrupted leaves the cache as it was."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.engine.llama.context import Context
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import Parameters
from appliance.engine.port import Sampling
from appliance.engine.scheduling.decoder import Slice, Undone
from tests.support.gguf_writer import family, write_model

TOKENS = 256
PROMPT = tuple(20 + number % 80 for number in range(TOKENS))
GREEDY = Sampling(temperature=0)


def context_of(name: str, folder: Path, *, unified: bool = True) -> Context:
    path = folder / f"{name}.gguf"
    write_model(path, family(name))
    parameters = Parameters(
        cells=2_048,
        sequences=2,
        outputs=2,
        batch_tokens=TOKENS,
        threads=1,
        unified=unified,
    )
    return Context(Model(str(path), parameters=parameters), parameters)


def opened(context: Context, sequence: int) -> None:
    context.open(sequence, sampling=GREEDY, max_new_tokens=9, generated=())


def part(sequence: int, begin: int, end: int) -> Slice:
    tokens = PROMPT[begin:end]
    return Slice(sequence=sequence, position=begin, tokens=tokens, wants_token=True)


def interrupted(context: Context, slices: Sequence[Slice]) -> int:
    """Decode, and interrupt it in the middle; return how often that came in time."""
    met = 0
    for _ in range(20):
        timer = threading.Timer(0.001, context.interrupt)
        timer.start()
        answer = context.decode(slices)
        timer.join()
        if answer is Undone.INTERRUPTED:
            met += 1
        else:
            for each in slices:
                context.cut(each.sequence, tokens=each.position)
    # One that came too late ends the next batch.
    if not isinstance(context.decode(slices), Undone):
        for each in slices:
            context.cut(each.sequence, tokens=each.position)
    return met


@pytest.mark.parametrize("unified", [True, False])
def test_an_interrupted_batch_is_undone(tmp_path: Path, *, unified: bool) -> None:
    context = context_of("llama", tmp_path, unified=unified)
    for sequence in (0, 1):
        opened(context, sequence)
        context.decode([part(sequence, 0, 40)])
    before = [context.save(sequence) for sequence in (0, 1)]
    batch = [part(0, 40, 41), part(1, 40, TOKENS - 8)]
    assert interrupted(context, batch), "no interruption came in time"
    assert [context.save(sequence) for sequence in (0, 1)] == before
    said = context.decode(batch)
    context.close()

    fresh = context_of("llama", tmp_path, unified=unified)
    for sequence in (0, 1):
        opened(fresh, sequence)
        fresh.decode([part(sequence, 0, 40)])
    assert said == fresh.decode(batch)
    fresh.close()


def test_an_interruption_without_a_batch_ends_the_next_one_alone(
    tmp_path: Path,
) -> None:
    context = context_of("llama", tmp_path)
    opened(context, 0)
    context.interrupt()
    assert context.decode([part(0, 0, 40)]) is Undone.INTERRUPTED
    assert not isinstance(context.decode([part(0, 0, 40)]), Undone)
    context.close()


def test_what_cannot_be_undone_is_not_interrupted(tmp_path: Path) -> None:
    context = context_of("mamba", tmp_path)
    opened(context, 0)
    context.interrupt()
    assert not isinstance(context.decode([part(0, 0, 40)]), Undone)
    context.close()


def test_an_interruption_is_no_line_of_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    context = context_of("llama", tmp_path)
    opened(context, 0)
    context.interrupt()
    assert context.decode([part(0, 0, 40)]) is Undone.INTERRUPTED
    context.close()
    assert capfd.readouterr().err == ""
