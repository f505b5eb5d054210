"""Every start of a process is checked first, and every one that fails is told."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.engine.supervisor import EngineSupervisor
from appliance.errors import EngineUnavailableError
from appliance.settings import EngineSettings
from bundleformat.errors import DigestMismatchError, Error
from tests.support.demo_engine import (
    ANSWER,
    DEMO_MODEL,
    answer,
    freeze,
    ready,
    running,
)

pytestmark = pytest.mark.system


class Doorkeeper:
    """A check that says what it is told to say, and counts."""

    def __init__(self, *script: Error | None) -> None:
        self.asked = 0
        self._script = list(script)

    async def check(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        error = self._script.pop(0) if self._script else None
        if error is not None:
            raise error


def changed(name: str) -> DigestMismatchError:
    return DigestMismatchError("a stored model has changed", where=name)


def crash(engine: EngineSupervisor) -> None:
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)


async def told(crashes: list[tuple[int, int]], count: int) -> None:
    while len(crashes) < count:  # noqa: ASYNC110  # told by a plain call
        await asyncio.sleep(0.02)


def sockets() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> set[str]:
    tasks = Path("/proc/self/task")
    return {
        pid
        for task in tasks.iterdir()
        for pid in (task / "children").read_text().split()
    }


@contextlib.asynccontextmanager
async def watched(
    model: Path = DEMO_MODEL, *, doorkeeper: Doorkeeper
) -> AsyncIterator[tuple[EngineSupervisor, list[tuple[int, int]]]]:
    crashes: list[tuple[int, int]] = []
    engine = EngineSupervisor(
        model,
        settings=EngineSettings(threads=1),
        on_crash=lambda crash: crashes.append((crash.exit_status, crash.restarts)),
        check=doorkeeper.check,
    )
    await engine.start()
    try:
        async with asyncio.timeout(30):
            yield engine, crashes
    finally:
        await engine.close()


def test_start_that_the_check_refuses_makes_no_process() -> None:
    async def run() -> None:
        before = children()
        engine = EngineSupervisor(
            DEMO_MODEL,
            settings=EngineSettings(threads=1),
            check=Doorkeeper(changed("demo")).check,
        )
        with pytest.raises(DigestMismatchError) as caught:
            await engine.start()
        assert caught.value.where == "demo"
        assert engine.pid is None
        assert not engine.ready
        assert children() == before
        await engine.close()

    asyncio.run(run())


def test_check_is_asked_before_the_first_start_and_before_every_other() -> None:
    async def run() -> None:
        doorkeeper = Doorkeeper()
        async with watched(doorkeeper=doorkeeper) as (engine, crashes):
            assert doorkeeper.asked == 1
            for restarts in (1, 2):
                crash(engine)
                await told(crashes, restarts)
                await ready(engine)
                assert doorkeeper.asked == 1 + restarts
            assert crashes == [(-signal.SIGKILL, 0), (-signal.SIGKILL, 1)]

    asyncio.run(run())


def test_restarts_that_the_check_refuses_are_told_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        doorkeeper = Doorkeeper(None, changed("demo"), changed("demo"))
        async with watched(doorkeeper=doorkeeper) as (engine, crashes):
            crash(engine)
            await told(crashes, 3)
            assert engine.pid is None
            with pytest.raises(EngineUnavailableError):
                await answer(engine, "early")
            await ready(engine)
            assert crashes == [(-signal.SIGKILL, 0), (0, 1), (0, 2)]
            assert engine.restarts == 3
            assert doorkeeper.asked == 4
            assert (await answer(engine, "after"))[0] == ANSWER

    asyncio.run(run())
    reasons = [str(changed("demo")) in text for text in caplog.messages]
    assert reasons.count(True) == 1


def test_restart_that_cannot_load_the_model_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Path(shutil.copy(DEMO_MODEL, tmp_path / "model.gguf"))

    async def run() -> None:
        async with watched(model, doorkeeper=Doorkeeper()) as (engine, crashes):
            away = model.rename(tmp_path / "away.gguf")  # noqa: ASYNC240  # at once
            crash(engine)
            await told(crashes, 3)
            away.rename(model)
            assert [restarts for _, restarts in crashes] == [0, 1, 2]
            await ready(engine)

    asyncio.run(run())
    reasons = ["cannot load this model" in text for text in caplog.messages]
    assert reasons.count(True) == 1


@pytest.mark.parametrize("turns", [1, 3, 5, 8])
def test_close_while_a_process_that_hung_is_ended_leaves_nothing(turns: int) -> None:
    async def run() -> None:
        before = children(), sockets()
        async with running(reply_timeout_s=1) as engine:
            freeze(engine)
            while engine.ready:  # noqa: ASYNC110  # readiness is a flag
                await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert engine.pid is None
        assert (children(), sockets()) == before

    asyncio.run(run())


async def has_process(engine: EngineSupervisor) -> None:
    """Wait for the process, which a probe goes before."""
    while engine.pid is None:  # noqa: ASYNC110  # it sets no Event
        await asyncio.sleep(0)


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_load_that_is_cancelled_leaves_neither_process_nor_socket(turns: int) -> None:
    async def run() -> None:
        before = children(), sockets()
        engine = EngineSupervisor(DEMO_MODEL, settings=EngineSettings(threads=1))
        starting = asyncio.create_task(engine.start())
        await has_process(engine)
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await asyncio.sleep(0.05)
        assert engine.pid is None
        assert (children(), sockets()) == before

    asyncio.run(run())


@pytest.mark.parametrize("turns", [2, 3, 4])
def test_start_that_is_cancelled_leaves_neither_process_nor_socket(turns: int) -> None:
    async def run() -> None:
        before = children(), sockets()
        engine = EngineSupervisor(DEMO_MODEL, settings=EngineSettings(threads=1))
        starting = asyncio.create_task(engine.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        assert children() != before[0]
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await asyncio.sleep(0.05)
        assert engine.pid is None
        assert (children(), sockets()) == before

    asyncio.run(run())
