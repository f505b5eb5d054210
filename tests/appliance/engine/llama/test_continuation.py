"""A sequence that goes on where another ended says what a fresh one would say."""

import math
from pathlib import Path

import pytest

from appliance.engine.llama.context import Context
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import Parameters
from appliance.engine.port import Sampling
from appliance.engine.scheduling.admission import Limits, fit
from appliance.engine.scheduling.pacing import Pace
from appliance.engine.scheduling.scheduler import Scheduler
from tests.support.gguf_writer import family, write_model

LIMITS = Limits(
    context_tokens=400,
    cells=1_024,
    sequences=3,
    batch_tokens=64,
    queued_requests=2,
    queue_timeout_s=60,
    default_max_tokens=8,
    cached_sequences=2,
    spill_bytes=2**24,
    spill_tokens=16,
)
PROMPT = tuple(range(20, 110))
GREEDY = Sampling(temperature=0, max_tokens=24)
LONG = Sampling(temperature=0, max_tokens=250)


def eager() -> Pace:
    """A pace at which guesses always pay."""
    pace = Pace(target_s=math.inf, alone_s=math.inf, batch_tokens=64, token_s=0)
    pace.observe(rows=1, prompt_tokens=0, took_s=1)
    return pace


class Recorder(Context):
    """A context that remembers every sampled token."""

    def __init__(self, model: Model, parameters: Parameters) -> None:
        super().__init__(model, parameters)
        self.sampled: list[int] = []

    def is_end(self, token: int) -> bool:
        self.sampled.append(token)
        return False


def scheduler_of(path: Path, *, cells: int = 1_024) -> tuple[Scheduler, Recorder]:
    parameters = Parameters(
        cells=cells, sequences=5, outputs=5, batch_tokens=64, threads=1
    )
    model = Model(str(path), parameters=parameters)
    limits = fit(LIMITS, trained_tokens=400, shares=model.shares_cells)
    context = Recorder(model, parameters)
    return Scheduler(context, limits=limits), context


def run(
    scheduler: Scheduler,
    context: Recorder,
    name: str,
    prompt: tuple[int, ...],
    sampling: Sampling = GREEDY,
) -> tuple[tuple[int, ...], int]:
    """Return the answer's tokens, and how many of the prompt were not computed."""
    context.sampled.clear()
    scheduler.prepare(name, prompt=prompt, sampling=sampling, now_s=0)
    scheduler.start(name)
    cached = 0
    while scheduler.busy:
        for progress in scheduler.step():
            cached = progress.cached_tokens
    return tuple(context.sampled), cached


@pytest.mark.parametrize(
    "name", ["llama", "gemma3", "phi3", "deepseek2", "mamba", "granitehybrid"]
)
def test_the_next_turn_continues_and_says_the_same(name: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", family(name))
    scheduler, context = scheduler_of(path)
    first, cached = run(scheduler, context, "first", PROMPT)
    assert (len(first), cached) == (24, 0)
    turn = (*PROMPT, *first, *range(30, 60))
    continued, cached = run(scheduler, context, "next", turn)
    assert cached == len(PROMPT) + len(first) - 1
    fresh, fresh_context = scheduler_of(path)
    assert run(fresh, fresh_context, "only", turn) == (continued, 0)


@pytest.mark.parametrize("name", ["llama", "gemma3", "mamba", "granitehybrid"])
def test_a_spilled_sequence_comes_back_and_says_the_same(
    name: str, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "m.gguf", family(name))
    scheduler, context = scheduler_of(path)
    first, _ = run(scheduler, context, "first", PROMPT)
    for number in range(8):
        run(scheduler, context, f"{number}", (200 + number, *PROMPT))
    turn = (*PROMPT, *first, *range(30, 60))
    continued, cached = run(scheduler, context, "next", turn)
    assert cached == len(PROMPT) + len(first) - 1
    fresh, fresh_context = scheduler_of(path)
    assert run(fresh, fresh_context, "only", turn) == (continued, 0)


def test_guesses_leave_a_greedy_answer_as_it_is(tmp_path: Path) -> None:
    """A random model soon repeats itself, so many guesses are right."""
    path = write_model(tmp_path / "m.gguf", family("llama"))
    plain, context = scheduler_of(path)
    expected, _ = run(plain, context, "plain", PROMPT, LONG)
    parameters = Parameters(
        cells=1_024, sequences=8, outputs=8, batch_tokens=64, threads=1
    )
    guessing_context = Recorder(Model(str(path), parameters=parameters), parameters)
    limits = Limits(
        context_tokens=400,
        cells=1_024,
        sequences=3,
        batch_tokens=64,
        queued_requests=2,
        queue_timeout_s=60,
        default_max_tokens=8,
        draft_tokens=4,
    )
    guessing = Scheduler(guessing_context, limits=limits, pace=eager())
    assert run(guessing, guessing_context, "r", PROMPT, LONG)[0] == expected
    assert guessing.counts().done.tokens_drafted > 0
