"""Asks an engine how it is, for whoever counts; never for long."""

import asyncio

from appliance.engine.pool.seat import Seat
from appliance.engine.supervisor import EngineSupervisor
from appliance.metrics.engines import EngineSample, Work
from bundleformat.errors import Error

ANSWER_S = 1.0
"""How long an engine is waited for: it answers between two steps. Unit: seconds."""


async def sample(seat: Seat) -> EngineSample:
    """Return how the engine of one seat is."""
    engine = seat.engine
    return EngineSample(
        model=seat.offer.name,
        restarts=0 if engine is None else engine.restarts,
        planned_bytes=seat.planned_bytes,
        work=None if engine is None else await _work(engine),
    )


async def _work(engine: EngineSupervisor) -> Work | None:
    try:
        async with asyncio.timeout(ANSWER_S):
            stats = await engine.stats()
    except (Error, TimeoutError):
        return None
    return Work(
        running=stats.running,
        waiting=stats.waiting + stats.prepared,
        cells=stats.cells,
        cells_used=stats.cells_used,
        prompt_tokens=stats.tokens_prefilled + stats.tokens_reused,
        reused_tokens=stats.tokens_reused,
        preemptions=stats.preemptions,
        interruptions=stats.interruptions,
    )
