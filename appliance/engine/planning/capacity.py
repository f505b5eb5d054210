"""How many users at which context this machine can serve with a model, measured.

A user here is a request of full length that runs at the same time as the others.
Cells are set aside for all of them, and for one more of a team that has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.engine.planning.budget import Allowance, Shortfall
from appliance.engine.planning.memory import Footprint
from appliance.engine.planning.planner import Planner
from appliance.engine.planning.probe import Probe
from appliance.engine.planning.search import (
    find_fitting,
    largest,
    limited,
    rounded_up,
)
from appliance.engine.protocol import Load

USERS = (1, 2, 4, 8, 16, 32)
"""Numbers of users that are looked at; the largest number that fits, besides."""

SHORTEST_CONTEXT = 1_024
"""Shortest context that is looked at, unless the model's own is shorter."""

CONTEXTS = 8
"""Most contexts that are looked at: the shortest one doubled so often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """So many users: what they take, and whether that fits."""

    users: int
    total_bytes: int
    fits: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One context: what different numbers of users take, and how many fit at most."""

    context_tokens: int
    most_users: int
    cases: tuple[Case, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """What was asked about, and what this machine can serve.

    Attributes:
        order: The load, as it would be done.
        footprint: What it takes.
        allowed: What it may take, of the machine's memory first.
        short: What it takes too much of.
        fitting: What would fit instead, if it does not.
        rows: Users and contexts; none for a model that makes vectors.
    """

    order: Load
    footprint: Footprint
    allowed: tuple[Allowance, ...]
    short: tuple[Shortfall, ...]
    fitting: Load | None
    rows: tuple[Row, ...]


def for_users(order: Load, *, users: int, context_tokens: int) -> Load:
    """Return ``order`` for so many requests at once, each of that length.

    Half of each batch is kept for prompts, and some cells for a request of
    another team; see ``Limits.spare_cells``.
    """
    needed = users * context_tokens
    spare = order.limits.spare_sequences and min(context_tokens, -(-needed // 7))
    return limited(
        order,
        context_tokens=context_tokens,
        sequences=users,
        cells=rounded_up(needed + spare),
        batch_tokens=max(order.limits.batch_tokens, 2 * users),
    )


async def find_capacity(planner: Planner, order: Load, *, most_users: int) -> Capacity:
    """Return what ``order`` takes and what else would fit.

    Raises:
        EngineUnavailableError: The probe cannot load the model, or died on it.
        InternalFaultError: The memory of this machine cannot be told.
    """
    async with planner.probe() as probe:
        chosen, footprint = await planner.choose(order, probe)
        short = planner.check(footprint)
        fitting = None
        if short:
            fitting = await find_fitting(chosen, probe.measure, planner.check)
        table = _Table(planner, probe, order=order, most_users=most_users)
        contexts = () if footprint.vectors else contexts_of(footprint.trained_tokens)
        return Capacity(
            order=chosen,
            footprint=footprint,
            allowed=planner.allowed(footprint),
            short=short,
            fitting=fitting,
            rows=tuple([await table.row(each) for each in contexts]),
        )


def contexts_of(trained_tokens: int) -> Sequence[int]:
    """Return the contexts to look at for a model that was trained for so many."""
    doubled = [SHORTEST_CONTEXT * 2**power for power in range(CONTEXTS)]
    shorter = [each for each in doubled if each < trained_tokens]
    return [*shorter, trained_tokens][:CONTEXTS]


class _Table:
    """Measures one row after another."""

    def __init__(
        self, planner: Planner, probe: Probe, *, order: Load, most_users: int
    ) -> None:
        self._planner = planner
        self._probe = probe
        self._order = order
        self._most_users = most_users

    async def row(self, context_tokens: int) -> Row:
        async def fits(users: int) -> bool:
            return (await self._case(context_tokens, users)).fits

        return Row(
            context_tokens=context_tokens,
            most_users=await largest(1, self._most_users, fits) or 0,
            cases=tuple([await self._case(context_tokens, users) for users in USERS]),
        )

    async def _case(self, context_tokens: int, users: int) -> Case:
        order = for_users(self._order, users=users, context_tokens=context_tokens)
        _, footprint = await self._planner.choose(order, self._probe)
        return Case(
            users=users,
            total_bytes=footprint.memory.total_bytes,
            fits=not self._planner.check(footprint),
        )
