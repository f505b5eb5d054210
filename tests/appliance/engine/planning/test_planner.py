"""Loads are planned by a real probe, and refused before anything is loaded."""

import asyncio
import dataclasses
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance.engine.planning.budget import Margins
from appliance.engine.planning.memory import HOST, Ceiling, DeviceMemory, Loaded
from appliance.engine.planning.planner import Plan, Planner
from appliance.engine.planning.search import limited
from appliance.engine.protocol import Load
from appliance.engine.supervisor import EngineSupervisor
from appliance.errors import (
    EngineUnavailableError,
    InsufficientMemoryError,
    ProbeDiedError,
)
from appliance.settings import EngineSettings
from tests.appliance.engine.peer import LOAD
from tests.support.demo_engine import DEMO_MODEL, GREEDY, answer, running
from tests.support.gguf_writer import family, write_model, write_split_model

pytestmark = pytest.mark.system

MARGINS = Margins(host_bytes=2**24, gpu_bytes=2**24)
HOSTILE = Path(__file__).parents[3] / "vectors/reject/gguf"
ORDER = limited(
    replace(LOAD, model_paths=(str(DEMO_MODEL),)),
    context_tokens=1_024,
    cells=8_192,
    sequences=8,
    batch_tokens=128,
)


class Room:
    """Made-up ceilings of a host."""

    def __init__(self, left_bytes: int = 2**40) -> None:
        self.left_bytes = left_bytes

    def __call__(self) -> Sequence[Ceiling]:
        return (Ceiling(name="made up", left_bytes=self.left_bytes),)


def plan(order: Load, room: Room | None = None) -> Plan:
    return asyncio.run(Planner(MARGINS, read=room or Room()).plan(order))


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def child_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("name", ["block-count-max", "expert-count-513"])
def test_a_model_that_kills_its_probe_is_refused_and_leaves_nothing(name: str) -> None:
    before = children()
    with pytest.raises(ProbeDiedError) as caught:
        plan(replace(ORDER, model_paths=(str(HOSTILE / f"{name}.gguf"),)))
    assert caught.value.process_status == -signal.SIGABRT
    assert children() == before


@pytest.mark.parametrize("name", ["string-2-to-63", "empty"])
def test_a_model_that_cannot_be_laid_out_is_refused_and_leaves_nothing(
    name: str,
) -> None:
    before = children()
    with pytest.raises(EngineUnavailableError) as caught:
        plan(replace(ORDER, model_paths=(str(HOSTILE / f"{name}.gguf"),)))
    assert caught.value.code == "engine-unavailable"
    assert children() == before


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError):
        plan(replace(ORDER, model_paths=(str(tmp_path / "none.gguf"),)))


def test_a_load_that_does_not_fit_is_refused_with_what_would() -> None:
    needed = plan(ORDER).footprint.memory.host_bytes
    before = children()
    # A process is never the same size twice, to the page.
    allowed = needed - 2**20
    room = Room(allowed + MARGINS.host_bytes)
    with pytest.raises(InsufficientMemoryError) as caught:
        plan(ORDER, room)
    error = caught.value
    assert (error.code, error.exit_status) == ("insufficient-memory", 4)
    assert (error.device, error.limit) == (HOST, "made up")
    assert error.allowed_bytes == allowed
    assert error.needed_bytes == pytest.approx(needed, abs=2**19)
    assert error.fitting is not None
    context, sequences, cells = error.fitting
    assert (context, sequences) == (1_024, 8)
    assert 1_024 <= cells < 8_192
    assert children() == before
    assert plan(limited(ORDER, cells=cells - 2_048), room).footprint.exact
    with pytest.raises(InsufficientMemoryError):
        # Two probes differ by some hundred kilobytes of their own.
        plan(limited(ORDER, cells=cells + 4_096), room)


@pytest.mark.parametrize("left_bytes", [-(2**30), 0, 2**25])
def test_where_nothing_fits_nothing_is_said_to_fit(left_bytes: int) -> None:
    with pytest.raises(InsufficientMemoryError) as caught:
        plan(ORDER, Room(left_bytes))
    assert caught.value.fitting is None
    assert caught.value.allowed_bytes == max(0, left_bytes - MARGINS.host_bytes)


def test_an_engine_is_not_started_without_the_memory_for_it() -> None:
    async def run() -> None:
        before = children()
        engine = EngineSupervisor(
            DEMO_MODEL,
            settings=EngineSettings(threads=1),
            planner=Planner(MARGINS, read=Room(2**25)),
        )
        with pytest.raises(InsufficientMemoryError):
            await engine.start()
        assert not engine.ready
        assert engine.pid is None
        assert children() == before

    asyncio.run(run())


def test_an_engine_that_took_more_than_allowed_does_not_serve() -> None:
    planner = Planner(MARGINS, read=Room())
    planned = asyncio.run(planner.plan(ORDER))
    memory = planned.footprint.memory
    loaded = Loaded(memory=memory, resident_bytes=1, anonymous_bytes=1)
    planner.check_loaded(planned, loaded)
    grown = dataclasses.replace(
        memory, host=DeviceMemory(device=HOST, weights_bytes=2**41)
    )
    with pytest.raises(InsufficientMemoryError) as caught:
        planner.check_loaded(planned, dataclasses.replace(loaded, memory=grown))
    assert caught.value.needed_bytes > 2**41
    unknown = dataclasses.replace(
        memory, gpus=(DeviceMemory(device="G", weights_bytes=1),)
    )
    with pytest.raises(InsufficientMemoryError):
        planner.check_loaded(planned, dataclasses.replace(loaded, memory=unknown))


def test_what_fits_is_loaded_as_it_was_measured() -> None:
    planned = plan(ORDER)
    assert planned.order == replace(
        ORDER, gpu_layers=0, mapped=not planned.footprint.repacked
    )
    assert planned.footprint.exact
    assert planned.footprint.cells == 8_192


def test_a_second_plan_costs_no_second_probe_but_looks_at_memory_again() -> None:
    room = Room()
    planner = Planner(MARGINS, read=room)

    async def twice() -> None:
        first = await planner.plan(ORDER)
        spent = child_s()
        assert (await planner.plan(ORDER)).footprint == first.footprint
        assert child_s() - spent < 0.05
        room.left_bytes = 2**25
        with pytest.raises(InsufficientMemoryError):
            await planner.plan(ORDER)

    asyncio.run(twice())


def test_another_model_at_the_same_path_is_measured_anew(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf")
    order = replace(ORDER, model_paths=(str(path),))
    planner = Planner(MARGINS, read=Room())

    async def both() -> tuple[int, int]:
        first = await planner.plan(order)
        path.unlink()
        write_model(path, family("llama", layers=6))
        second = await planner.plan(order)
        return first.footprint.layers, second.footprint.layers

    assert asyncio.run(both()) == (2, 6)


def test_the_parts_of_a_model_are_measured_together(tmp_path: Path) -> None:
    whole = plan(replace(ORDER, model_paths=(str(write_model(tmp_path / "w.gguf")),)))
    parts = write_split_model(tmp_path / "p.gguf")
    split = plan(replace(ORDER, model_paths=tuple(map(str, parts))))
    assert split.footprint.memory.host == whole.footprint.memory.host


def test_a_running_engine_says_what_it_takes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        with caplog.at_level("INFO"):
            async with running(cells=2_048) as engine:
                await answer(engine, "r", sampling=GREEDY)

    asyncio.run(run())
    (line,) = [text for text in caplog.messages if text.startswith("model loaded")]
    assert "(+0.00%)" in line
