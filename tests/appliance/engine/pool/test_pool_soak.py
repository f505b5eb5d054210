"""Ten minutes of loads, unloads, crashes, cancellations, new generations: no leak."""

import asyncio
import contextlib
import gc
import os
import random
import signal
import time
from pathlib import Path

import pytest

from bundleformat.errors import Error
from tests.support.pools import (
    Pool,
    engine_processes,
    play,
    stream,
    until,
    write_models,
)

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(1_000)]

SOAK_S = 600.0
"""How long it goes on."""

GROWTH_BYTES = 8 * 2**20
"""How much a process may have grown since the first tenth of that time."""

STEADY = "steady"
"""The pinned model whose process nobody kills: what leaks there, adds up."""

CALLERS = 6


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes(pid: int | str) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def sizes_of(pool: Pool) -> tuple[int, int]:
    """Resident bytes of this process and of the steady engine's."""
    gc.collect()
    return resident_bytes("self"), resident_bytes(pool.pid(STEADY))


async def call(pool: Pool, chance: random.Random, *, name: str, number: str) -> str:
    """Ask once, and perhaps stop listening; return how it went."""
    try:
        pieces = stream(pool.engine(name), number)
        listen = chance.choice((1, 20, 1_000))
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                listen -= 1
                if piece.finish_reason is not None:
                    return "answered"
                if not listen:
                    return "left"
    except Error as error:
        return error.code
    return "ended early"


async def caller(
    pool: Pool, chance: random.Random, *, until_s: float, seen: dict[str, int]
) -> None:
    number = 0
    while time.monotonic() < until_s:
        number += 1
        name = chance.choice(pool.models).name
        asking = asyncio.create_task(
            call(pool, chance, name=name, number=f"{id(chance)}-{number}")
        )
        if chance.random() < 0.2:
            await asyncio.wait({asking}, timeout=chance.random())
            asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            outcome = await asking
            seen[outcome] = seen.get(outcome, 0) + 1
            if outcome not in {"answered", "left"}:
                await asyncio.sleep(0.1)


async def trouble(pool: Pool, chance: random.Random, *, until_s: float) -> None:
    """Kill engines, put models back, and have generations come and go."""
    digests = {model.sha256 for model in pool.models}
    steady = pool.pid(STEADY)
    others = [model for model in pool.models if model.name != STEADY]
    while time.monotonic() < until_s:
        await asyncio.sleep(chance.uniform(0.5, 2.0))
        match chance.randrange(3):
            case 0:
                for pid in sorted(engine_processes() - {steady})[:1]:
                    os.kill(pid, signal.SIGKILL)
            case 1:
                for sha256 in pool.pool.taken_out():
                    pool.pool.give_another_try(sha256)
            case _:
                gone = chance.choice(others)
                pool.pool.keep_only(digests - {gone.sha256})
                pool.pool.offer([model.offer() for model in pool.models])


async def check_nothing_is_held(pool: Pool, name: str) -> None:
    """Every cell of a loaded model is free or cached, and every sequence is free."""
    engine = pool.supervisor(name)
    stats = await engine.stats()
    assert (stats.prepared, stats.waiting, stats.running) == (0, 0, 0)
    assert stats.cells_reserved == 0
    assert stats.cells_used == stats.cells_cached <= stats.cells
    assert stats.preemptions == 0


def test_a_pool_in_trouble_for_minutes_leaks_nothing(tmp_path: Path) -> None:
    before = descriptors()
    seen: dict[str, int] = {}
    sizes: list[tuple[int, int]] = []

    async def story(pool: Pool) -> None:
        begun, until_s = time.monotonic(), time.monotonic() + SOAK_S
        await pool.pool.warm()
        # Moments and choices, not secrets.
        chances = [random.Random(seed) for seed in range(CALLERS + 1)]  # noqa: S311
        work = [trouble(pool, chances.pop(), until_s=until_s)]
        work += [caller(pool, chance, until_s=until_s, seen=seen) for chance in chances]
        tasks = [asyncio.create_task(each) for each in work]
        await asyncio.sleep(SOAK_S / 10)
        steady = pool.pid(STEADY)
        sizes.append(sizes_of(pool))
        await asyncio.gather(*tasks)
        pool.pool.check()
        assert pool.pid(STEADY) == steady
        for sha256 in pool.pool.taken_out():
            pool.pool.give_another_try(sha256)
        # However it went, every model answers afterwards, and nobody is busy.
        for model in pool.models:
            await until(lambda: not pool.pool.failures())
            await asyncio.sleep(2)
            assert await pool.ask(model.name, f"last-{model.name}") == 2
            await check_nothing_is_held(pool, model.name)
        assert len(engine_processes()) <= 3
        assert time.monotonic() - begun >= SOAK_S
        sizes.append(sizes_of(pool))

    play(
        write_models(tmp_path, "a", "b", "c", STEADY),
        story,
        pinned=[STEADY],
        resident=3,
        limit_s=SOAK_S + 200,
    )
    gc.collect()
    assert descriptors() <= before + 1
    for early, late in zip(*sizes, strict=True):
        assert late - early < GROWTH_BYTES
    assert seen["answered"] > 100
    assert seen["left"] > 10
    known = {
        "answered",
        "left",
        "engine-unavailable",
        "model-unavailable",
        "model-no-room",
        "model-loading",
        "server-overloaded",
    }
    assert set(seen) <= known
