"""The pool on numbers that a probe measured, with memory for two models of three."""

import asyncio
from pathlib import Path

import pytest

from appliance.engine.planning.budget import Margins
from appliance.engine.planning.memory import Ceiling
from appliance.engine.planning.planned_budget import PlannedBudget
from appliance.engine.planning.planner import Planner
from appliance.engine.planning.processes import taken_bytes
from appliance.errors import NoRoomError
from tests.support.pools import (
    SETTINGS,
    Pool,
    engine_processes,
    play,
    refused,
    stream,
    until,
    write_models,
)

pytestmark = pytest.mark.system


class Host:
    """A host of as much memory as a test says, of which its engines take theirs.

    As the kernel does it counts pages of mapped files as available.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def read(self) -> tuple[Ceiling, ...]:
        taken = sum(map(taken_bytes, engine_processes()))
        return (Ceiling(name="a small host", left_bytes=self.size_bytes - taken),)


def test_what_a_probe_measured_decides_how_many_models_are_loaded(
    tmp_path: Path,
) -> None:
    paths = write_models(tmp_path, "a", "b", "c")
    host = Host(2**40)
    planner = Planner(Margins(host_bytes=0, gpu_bytes=0), read=host.read)
    budget = PlannedBudget(planner, settings=SETTINGS)
    needed_bytes = asyncio.run(budget.need_bytes(paths[0]))
    host.size_bytes = needed_bytes * 5 // 2

    async def story(pool: Pool) -> None:
        assert await pool.pool.warm() == ()
        assert pool.loaded() == ["a", "b"]
        assert await pool.ask("c") == 2
        assert pool.loaded() == ["b", "c"]
        running = [stream(pool.engine(name), name) for name in ("b", "c")]
        for each in running:
            await anext(each)
        pool.stop("b")
        pool.stop("c")
        error = await refused(pool, "a")
        assert isinstance(error, NoRoomError)
        assert error.needed_bytes == needed_bytes
        assert 0 < error.free_bytes < needed_bytes
        pool.go_on("b")
        pool.go_on("c")
        for each in running:
            assert [piece async for piece in each][-1].finish_reason == "length"
        await until(lambda: not pool.supervisor("b").open_requests)
        assert await pool.ask("a") == 2
        assert len(engine_processes()) == 2

    play(paths, story, budget=budget, planner=planner, resident=3, load_wait_s=20)
