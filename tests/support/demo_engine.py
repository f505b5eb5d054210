"""The real engine on the demo model, for tests that start processes."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from appliance.engine.planning.orders import margins
from appliance.engine.planning.planner import Planner
from appliance.engine.port import Engine, Message, Piece, Sampling, Ticket
from appliance.engine.supervisor import EngineSupervisor
from appliance.settings import EngineSettings
from bundler.demo.model.chat import TEMPLATE

DEMO_MODEL = (
    Path(__file__).resolve().parents[2] / "bundler/demo/sallyport-demo.q8_0.gguf"
)
QUESTION = "What is a bundle?"
LONGER_QUESTION = "A newcomer asks me about bundles, what should I tell him?"
ANSWER = (
    "A bundle is one signed release: metadata, targets and chunks. "
    "It belongs to a channel and has a version that only goes up."
)
"""What both questions are answered with."""

GREEDY = Sampling(temperature=0)
RAMBLING = Sampling(temperature=2.0, seed=11, max_tokens=480)
"""Draws nearly at random, so the end token comes late: an answer to interrupt."""

PLANNER = Planner(margins(EngineSettings()))
"""Remembers what it measured, as a server does; most tests load the same model."""


@contextlib.asynccontextmanager
async def running(*models: Path, **settings: Any) -> AsyncIterator[EngineSupervisor]:
    """A started engine with one compute thread, closed afterwards."""
    chosen = EngineSettings.model_validate({"threads": 1, **settings})
    paths = models or (DEMO_MODEL,)
    engine = EngineSupervisor(*paths, settings=chosen, planner=PLANNER)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def asks(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


async def answer(
    engine: Engine, name: str, *, text: str = QUESTION, sampling: Sampling = GREEDY
) -> tuple[str, Piece]:
    """Ask one question; return the whole answer and the last piece."""
    ticket = await engine.prepare(
        name, tenant="red", messages=asks(text), sampling=sampling
    )
    return await finish(engine, ticket)


async def finish(engine: Engine, ticket: Ticket) -> tuple[str, Piece]:
    """Generate what was held; return the whole answer and the last piece."""
    pieces = [piece async for piece in engine.generate(ticket)]
    return "".join(piece.text for piece in pieces), pieces[-1]


async def together(
    engine: EngineSupervisor, tickets: Sequence[Ticket]
) -> list[tuple[str, Piece]]:
    """Finish all tickets, begun at one moment however busy this machine is."""
    freeze(engine)
    answers = [asyncio.ensure_future(finish(engine, ticket)) for ticket in tickets]
    await asyncio.sleep(0.05)
    thaw(engine)
    return list(await asyncio.gather(*answers))


def freeze(engine: EngineSupervisor) -> None:
    """Stop the process in its tracks: it lives and does not answer."""
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)


def thaw(engine: EngineSupervisor) -> None:
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGCONT)


def retemplated(folder: Path, template: str) -> Path:
    """A copy of the demo model with another chat template, of no greater length."""
    data = DEMO_MODEL.read_bytes()
    old = TEMPLATE.encode()
    new = template.encode().ljust(len(old))
    assert data.count(old) == 1
    assert len(new) == len(old)
    path = folder / "retemplated.gguf"
    path.write_bytes(data.replace(old, new))
    return path


def with_engine(
    test: Callable[[EngineSupervisor], Any],
    *,
    model: Path = DEMO_MODEL,
    **settings: Any,
) -> None:
    async def run() -> None:
        async with running(model, **settings) as engine:
            await asyncio.wait_for(test(engine), 60)

    asyncio.run(run())


async def hold(
    engine: EngineSupervisor,
    name: str,
    *,
    text: str = QUESTION,
    sampling: Sampling = GREEDY,
) -> Ticket:
    return await engine.prepare(
        name, tenant="red", messages=asks(text), sampling=sampling
    )


async def ready(engine: EngineSupervisor) -> None:
    while not engine.ready:  # noqa: ASYNC110  # readiness is a flag
        await asyncio.sleep(0.02)
