"""Several small real models in one pool, with room for as many as a test says."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.engine.planning.choices import Choice
from appliance.engine.planning.planner import Planner
from appliance.engine.pool.budget import MemoryBudget
from appliance.engine.pool.door import PooledEngine
from appliance.engine.pool.offer import Offer
from appliance.engine.pool.pool import EnginePool
from appliance.engine.port import Piece, Sampling
from appliance.engine.supervisor import Crash, EngineSupervisor
from appliance.settings import EngineSettings, ModelSettings
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import Error
from tests.support.demo_engine import asks
from tests.support.gguf_writer import TinyModel, write_model

SIZE = 100
"""What every model needs of the pretended memory. Unit: bytes."""

SETTINGS = EngineSettings(threads=1, context_tokens=512, cells=2048)
"""The limits of every engine."""

LONG = Sampling(temperature=0, max_tokens=400)
"""A random-weight model says nothing that would end it sooner."""

SHORT = Sampling(temperature=0, max_tokens=2)


@dataclass
class FixedBudget:
    """A host of as many bytes as a test says, where every model needs :data:`SIZE`."""

    available: int = 100 * SIZE
    needs: dict[str, int] = field(default_factory=dict)

    async def need_bytes(self, *paths: Path, choice: Choice | None = None) -> int:
        assert choice is None
        return self.needs.get(paths[0].stem, SIZE)

    def taken_bytes(self, pid: int) -> int:
        # What is available is what this says: nobody has taken of it yet.
        assert pid
        return 0

    def available_bytes(self) -> int:
        return self.available


@dataclass
class Model:
    """One offered model; ``check`` may hold its loads up, and counts them."""

    path: Path
    pinned: bool = False
    starts: int = 0
    gate: asyncio.Event | None = None

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def sha256(self) -> Sha256:
        return sha256_of(self.name.encode())

    async def check(self) -> None:
        self.starts += 1
        if self.gate is not None:
            await self.gate.wait()

    def offer(self) -> Offer:
        return Offer(
            sha256=self.sha256,
            name=self.name,
            paths=(self.path,),
            pinned=self.pinned,
            check=self.check,
        )


@dataclass
class Pool:
    """A pool over ``models``, and what it told of crashes."""

    pool: EnginePool
    models: tuple[Model, ...]
    crashes: list[tuple[str, Crash]]

    def engine(self, name: str) -> PooledEngine:
        return self.pool.engine(self.model(name).sha256)

    def model(self, name: str) -> Model:
        (found,) = [model for model in self.models if model.name == name]
        return found

    def loaded(self) -> list[str]:
        """Names of the loaded models, the least recently used first."""
        names = {model.sha256: model.name for model in self.models}
        return [names[sha256] for sha256 in self.pool.loaded()]

    def supervisor(self, name: str) -> EngineSupervisor:
        engine = self.pool._seats[self.model(name).sha256].engine
        assert engine is not None
        return engine

    def pid(self, name: str) -> int:
        """The process of a loaded model."""
        pid = self.supervisor(name).pid
        assert pid is not None
        return pid

    async def threads(self, name: str) -> int:
        """How many threads compute for a loaded model."""
        return (await self.supervisor(name).stats()).threads

    def stop(self, name: str) -> None:
        """Stop a process in its tracks: what it works on does not end meanwhile."""
        os.kill(self.pid(name), signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGCONT)

    async def ask(self, name: str, request_id: str = "r") -> int:
        """Have a short answer; return its tokens."""
        pieces = [
            piece
            async for piece in stream(self.engine(name), request_id, sampling=SHORT)
        ]
        assert pieces[-1].usage is not None
        return pieces[-1].usage.completion_tokens


async def stream(
    engine: PooledEngine, request_id: str, *, sampling: Sampling = LONG
) -> AsyncGenerator[Piece, None]:
    """Ask for an answer and yield its pieces."""
    ticket = await engine.prepare(
        request_id, tenant="red", messages=asks("go on"), sampling=sampling
    )
    async with contextlib.aclosing(engine.generate(ticket)) as pieces:
        async for piece in pieces:
            yield piece


def write_models(folder: Path, *names: str) -> tuple[Path, ...]:
    """Write small models of different random weights."""
    return tuple(
        write_model(folder / f"{name}.gguf", TinyModel(name=name, seed=seed))
        for seed, name in enumerate(names, start=1)
    )


def play(
    paths: Sequence[Path],
    story: Callable[[Pool], Coroutine[Any, Any, object]],
    *,
    budget: MemoryBudget | None = None,
    planner: Planner | None = None,
    pinned: Sequence[str] = (),
    threads: int = 1,
    limit_s: float = 100,
    **settings: int,
) -> None:
    """Run ``story`` on a pool over the models in ``paths``; no process is left."""

    async def run() -> None:
        crashes: list[tuple[str, Crash]] = []
        pool = EnginePool(
            engine=SETTINGS.model_copy(update={"threads": threads}),
            models=ModelSettings.model_validate({"resident": 2, **settings}),
            budget=budget or FixedBudget(),
            planner=planner,
            drain_s=20,
            on_crash=lambda offer, crash: crashes.append((offer.name, crash)),
        )
        models = tuple(Model(path, pinned=path.stem in pinned) for path in paths)
        pool.offer([model.offer() for model in models])
        try:
            async with asyncio.timeout(limit_s):
                await story(Pool(pool=pool, models=models, crashes=crashes))
        finally:
            await pool.close()
        assert engine_processes() == set()

    asyncio.run(run())


async def refused(pool: Pool, name: str, *, request_id: str = "refused") -> Error:
    """Ask a model that cannot answer now; return why."""
    with pytest.raises(Error) as caught:
        await pool.ask(name, request_id)
    return caught.value


async def until(condition: Callable[[], object]) -> None:
    """Return when ``condition`` holds; a test has its own time limit."""
    while not condition():  # noqa: ASYNC110 - many things end it
        await asyncio.sleep(0.01)


def engine_processes() -> set[int]:
    """The engine processes that this process started and that are still there.

    Those that only measure are none.
    """
    found = set()
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            with contextlib.suppress(OSError):
                if (
                    b"appliance.engine.worker\0"
                    in Path(f"/proc/{pid}/cmdline").read_bytes()
                ):
                    found.add(int(pid))
    return found
