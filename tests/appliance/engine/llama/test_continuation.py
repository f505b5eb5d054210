"""A sequence that goes on where another ended says what a fresh one would say."""

import dataclasses
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
PARTED = dataclasses.replace(LIMITS, cells=3 * 512, spill_bytes=0, parted=True)
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


def scheduler_of(path: Path, *, limits: Limits = LIMITS) -> tuple[Scheduler, Recorder]:
    fitted = fit(limits, trained_tokens=400, shares=True)
    parameters = Parameters(
        cells=fitted.cells,
        sequences=fitted.resident_sequences,
        outputs=fitted.resident_sequences,
        batch_tokens=64,
        threads=1,
        unified=not fitted.parted,
    )
    model = Model(str(path), parameters=parameters)
    limits = fit(limits, trained_tokens=400, shares=model.shares_cells)
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


def say(scheduler: Scheduler, name: str, prompt: tuple[int, ...]) -> tuple[str, int]:
    """Return an answer, beside whatever runs, and what was not computed for it."""
    scheduler.prepare(name, prompt=prompt, sampling=GREEDY, now_s=0)
    scheduler.start(name)
    text = ""
    while True:
        for progress in scheduler.step():
            if progress.request_id == name:
                text += progress.text
                if progress.finish_reason is not None:
                    return text, progress.cached_tokens


@pytest.mark.parametrize("name", ["llama", "phi3", "deepseek2"])
def test_what_is_copied_from_another_part_says_the_same(
    name: str, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "m.gguf", family(name))
    turn = (*PROMPT, *range(30, 60))
    expected, cached = say(scheduler_of(path)[0], "only", turn)
    assert cached == 0
    scheduler, _ = scheduler_of(path, limits=PARTED)
    scheduler.prepare("long", prompt=PROMPT, sampling=LONG, now_s=0)
    scheduler.start("long")
    for _ in range(4):
        scheduler.step()
    # From one that runs, in place, and from one that has ended.
    assert say(scheduler, "first", turn) == (expected, len(PROMPT))
    assert say(scheduler, "again", turn) == (expected, len(turn) - 1)
    scheduler.prepare("beside", prompt=turn, sampling=LONG, now_s=0)
    scheduler.start("beside")
    assert say(scheduler, "third", turn) == (expected, len(turn) - 1)
    assert scheduler.counts().running == 2
    assert scheduler.counts().done.preemptions == 0


def test_prompts_that_begin_alike_are_computed_once_and_copied(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", family("llama"))
    scheduler, _ = scheduler_of(path, limits=PARTED)
    for number in range(3):
        prompt = (*PROMPT, 40 + number, *range(30, 50))
        scheduler.prepare(f"{number}", prompt=prompt, sampling=GREEDY, now_s=0)
        scheduler.start(f"{number}")
    while scheduler.busy:
        scheduler.step()
    assert scheduler.counts().done.tokens_reused == 2 * len(PROMPT)


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
