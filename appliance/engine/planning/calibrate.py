"""Measures the choices of one model on this machine, one after another, in rounds.

Every round measures each choice once, so that what else the machine does falls on
all of them alike; the median of the rounds counts. A choice that does not fit, or
that llama.cpp cannot make for this model, is left out and told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from msgspec.structs import replace

from appliance.engine.launch import STOPWATCH
from appliance.engine.planning.child import Child, nonsense, open_child
from appliance.engine.planning.choices import CANDIDATES, Choice, Measurement, Timing
from appliance.engine.planning.planner import Planner
from appliance.engine.protocol import Load, Timed
from appliance.errors import (
    EngineUnavailableError,
    InsufficientMemoryError,
    ProbeDiedError,
    UnsuitableModelError,
)

ROUNDS = 3
"""How often each choice is measured."""

ANSWER_S = 600.0
"""How long one measurement may take, the first with the load. Unit: seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What was measured, and why other choices were not.

    Attributes:
        measured: Each choice and its timing.
        left_out: Each other choice and why.
    """

    measured: tuple[Measurement, ...]
    left_out: tuple[tuple[Choice, str], ...]


async def calibrate(
    planner: Planner,
    order: Load,
    *,
    progress: Callable[[int, int], object] = lambda _done, _of: None,
) -> Calibration:
    """Return how fast each choice is for the model of ``order``.

    Raises:
        UnsuitableModelError: It makes vectors; there is nothing to choose.
        EngineUnavailableError: llama.cpp cannot load it, or not measure it.
        InsufficientMemoryError: There is memory for none.
    """
    orders, left_out = await _plans(planner, order)
    taken: dict[Choice, list[Timing]] = {choice: [] for choice in orders}
    turns = [(number, choice) for number in range(ROUNDS) for choice in orders]
    async with open_child(STOPWATCH) as child:
        for done, (_, choice) in enumerate(turns):
            progress(done, len(turns))
            taken[choice].append(await _time(child, orders[choice]))
    progress(len(turns), len(turns))
    return Calibration(
        measured=tuple(
            Measurement(choice=choice, timing=_middle(timings))
            for choice, timings in taken.items()
        ),
        left_out=tuple(left_out),
    )


async def _plans(
    planner: Planner, order: Load
) -> tuple[dict[Choice, Load], list[tuple[Choice, str]]]:
    """Return the loads that fit, and why others do not.

    Raises:
        InsufficientMemoryError, EngineUnavailableError: None does.
    """
    orders: dict[Choice, Load] = {}
    left_out: list[tuple[Choice, str]] = []
    problem: EngineUnavailableError | InsufficientMemoryError | None = None
    for choice in CANDIDATES:
        wanted = replace(
            order,
            cache_type=choice.cache_type,
            flash_attention=choice.flash_attention,
        )
        try:
            plan = await planner.plan(wanted)
        except ProbeDiedError:
            raise
        except (EngineUnavailableError, InsufficientMemoryError) as error:
            problem = problem or error
            left_out.append((choice, error.text()))
        else:
            if plan.footprint.vectors:
                raise UnsuitableModelError(
                    "this model makes vectors; it keeps no cache"
                )
            orders[choice] = plan.order
    if not orders and problem is not None:
        raise problem
    return orders, left_out


async def _time(child: Child, order: Load) -> Timing:
    report = await child.ask(order, answer_s=ANSWER_S)
    if not isinstance(report, Timed):
        raise nonsense()
    return report.timing


def _middle(timings: Sequence[Timing]) -> Timing:
    return Timing(
        prompt_s=median(each.prompt_s for each in timings),
        alone_s=median(each.alone_s for each in timings),
        together_s=median(each.together_s for each in timings),
        rows=timings[0].rows,
        filled_cells=timings[0].filled_cells,
    )
