"""A team that asks now and then beside one that never stops: its first tokens."""

import asyncio
import contextlib
import itertools

from benchmarks.engine.client import OK, ask
from benchmarks.engine.crowd import prompt
from benchmarks.engine.models import large_model
from benchmarks.engine.peers import peers
from benchmarks.engine.servers import Load, Server, sallyport
from benchmarks.measure import Plan, measure_rounds
from benchmarks.report import Figure, Result

HEAVY_CALLERS = 32
"""Callers of the heavy team, each asking again as soon as it is answered."""
HEAVY_TOKENS = 64
LIGHT_REQUESTS = 16
LIGHT_TOKENS = 8
PROMPT_WORDS = 24
SLOTS = 16


def run(plan: Plan) -> Result:
    """Measure the light team alone and beside the heavy one, in turns."""
    load = Load(
        model=large_model(plan.scratch, peers()),
        slots=SLOTS,
        cells=16_384,
        spare_slots=1,
    )
    requests = max(4, plan.amount(LIGHT_REQUESTS))
    seeds = itertools.count()
    with sallyport(plan.scratch / "ours", load) as server:
        rounds = measure_rounds(
            lambda: {"solo_s": asyncio.run(_light(server, requests, next(seeds)))},
            [lambda: {"beside_s": asyncio.run(_beside(server, requests, next(seeds)))}],
            repetitions=plan.repetitions,
        )
    return Result(
        name="engine_fairness",
        title=f"a light team beside a heavy one of {HEAVY_CALLERS} callers",
        ratios=(
            Figure(
                name="p95 time to first token, beside over solo",
                values=rounds.ratio("beside_s", "solo_s"),
            ),
        ),
        context=(
            Figure(name="solo p95", values=rounds.of("solo_s"), unit="s"),
            Figure(name="beside p95", values=rounds.of("beside_s"), unit="s"),
        ),
        noise=Figure(
            name="noise: solo again over itself", values=rounds.noise("solo_s")
        ),
    )


async def _light(server: Server, requests: int, seed: int) -> float:
    """Return the light team's p95 time to first token, one request at a time."""
    firsts = []
    for number in range(requests):
        words = prompt(PROMPT_WORDS, seed=10_000 * seed + number)
        answer = await ask(server, words, tokens=LIGHT_TOKENS, key=server.other_key)
        firsts.append(answer.first_s)
    return sorted(firsts)[int(0.95 * (len(firsts) - 1))]


async def _beside(server: Server, requests: int, seed: int) -> float:
    """Return the same while the heavy team keeps every slot busy."""
    heavy = [
        asyncio.ensure_future(_heavy(server, seed=1_000_000 * (seed + 1) + 1_000 * n))
        for n in range(HEAVY_CALLERS)
    ]
    try:
        await asyncio.sleep(1)
        return await _light(server, requests, seed)
    finally:
        for caller in heavy:
            caller.cancel()
        await asyncio.gather(*heavy, return_exceptions=True)


async def _heavy(server: Server, *, seed: int) -> None:
    for number in itertools.count():
        # A full queue is told at once; the caller asks again.
        with contextlib.suppress(OSError):
            words = prompt(PROMPT_WORDS, seed=seed + number)
            answer = await ask(server, words, tokens=HEAVY_TOKENS)
            if answer.status != OK:
                await asyncio.sleep(0.1)
