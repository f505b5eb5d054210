"""What requests are shown while generations change under a serving host."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.core_policies import core_files
from appliance.engine.planning.choices import USUAL, Choice, Measurement, Timing
from appliance.engine.planning.measured import encode_measured, host_kind
from appliance.engine.pool.setbacks import TakenOut
from appliance.errors import HostNotReadyError, ModelUnavailableError
from appliance.home import Home
from appliance.host import OpenHost
from appliance.ledger.records.events import Draft
from appliance.live.host import LiveHost
from appliance.registry.calibrations import keep_calibration
from appliance.settings import EngineSettings, ModelSettings, Settings
from appliance.taken_out_flow import record_taken_out, try_all_again
from bundleformat.digest import sha256_of
from bundleformat.errors import DigestMismatchError, Error
from tests.support.demo_engine import asks
from tests.support.generations import Kept, kept_host
from tests.support.ledgers import guard_of
from tests.support.pools import (
    SHORT,
    FixedBudget,
    engine_processes,
    until,
    write_models,
)

pytestmark = pytest.mark.system

BROKEN = b"GGUF and nothing else"
POLICY = b"""@id("site-none") @reason("nothing is processed here")
forbid (principal, action, resource);
"""


@dataclass
class HeldBudget(FixedBudget):
    """Holds up whoever wants to load a model while its gate is shut."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    choices: list[Choice | None] = field(default_factory=list)

    async def need_bytes(self, *paths: Path, choice: Choice | None = None) -> int:
        self.choices.append(choice)
        await self.gate.wait()
        return await super().need_bytes(*paths)


@dataclass
class Serving:
    """A serving host, the generations it follows, and what it recorded."""

    live: LiveHost
    kept: Kept
    budget: HeldBudget
    drafts: list[Draft]

    def shown(self) -> dict[str, int]:
        """The generation in which each model is served now."""
        models = self.live.view().models
        return {name: model.generation for name, model in models.items()}

    async def ask(self, name: str) -> int:
        engine = self.live.view().models[name].engine
        ticket = await engine.prepare(
            "r", tenant="red", messages=asks("go on"), sampling=SHORT
        )
        pieces = [piece async for piece in engine.generate(ticket)]
        assert pieces[-1].usage is not None
        return pieces[-1].usage.completion_tokens


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, ...]:
    """The bytes of three small models."""
    paths = write_models(tmp_path_factory.mktemp("live"), "a", "b", "c")
    return tuple(path.read_bytes() for path in paths)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = kept_host(tmp_path / "home")
    yield kept
    kept.host.close()


def opened(kept: Kept) -> OpenHost:
    host = kept.host
    return OpenHost(
        home=Home(host.home),
        settings=Settings(
            engine=EngineSettings(threads=1, context_tokens=512, cells=2048),
            models=ModelSettings(resident=2),
        ),
        clock=host.clock,
        database=host.database,
        log=host.log,
        keys=host.keys,
        pepper=bytes(32),
        guard=guard_of(host.database, log=host.log, keys=host.keys),
    )


def serve(kept: Kept, story: Callable[[Serving], Coroutine[Any, Any, object]]) -> None:
    """Run ``story`` on a host that is not started yet; no process is left."""

    async def run() -> None:
        drafts: list[Draft] = []
        budget = HeldBudget()
        budget.gate.set()
        live = LiveHost(
            opened(kept),
            store=kept.host.store,
            core=core_files(),
            budget=budget,
            record=drafts.append,
        )
        try:
            async with asyncio.timeout(60):
                await story(Serving(live=live, kept=kept, budget=budget, drafts=drafts))
        finally:
            await live.close()
        assert engine_processes() == set()

    asyncio.run(run())


def test_a_model_is_loaded_as_it_was_measured_to_be_fastest_on_this_host(
    kept: Kept, models: tuple[bytes, ...]
) -> None:
    def timing(step_s: float) -> Timing:
        return Timing(
            prompt_s=step_s, alone_s=step_s, together_s=step_s, rows=2, filled_cells=1
        )

    off = Choice(flash_attention="off")
    measured = encode_measured(
        [
            Measurement(choice=USUAL, timing=timing(2.0)),
            Measurement(choice=off, timing=timing(1.0)),
        ]
    )

    async def story(serving: Serving) -> None:
        await serving.live.start()
        assert await serving.ask("a") == 2
        assert sorted(serving.budget.choices, key=repr) == [off, None]

    kept.deliver(1, {"model/a": models[0], "model/b": models[1]})
    for host, sha256 in (
        (host_kind(), sha256_of(models[0])),
        ("another kind of host", sha256_of(models[1])),
    ):
        with kept.host.database.begin() as connection:
            keep_calibration(
                connection,
                sha256,
                host=host,
                measured=measured,
                now=kept.host.clock.now(),
            )
    serve(kept, story)


def test_a_model_is_served_until_its_successor_is_loaded(
    kept: Kept, models: tuple[bytes, ...]
) -> None:
    async def story(serving: Serving) -> None:
        await serving.live.start()
        serving.budget.gate.clear()
        kept.deliver(2, {"model/a": models[1], "model/new": models[2]})
        await serving.live.refresh()
        # What is offered no more is gone at once, and what is new may be asked for.
        assert serving.shown() == {"a": 1, "new": 2}
        assert await serving.ask("a") == 2
        serving.budget.gate.set()
        await until(lambda: serving.shown() == {"a": 2, "new": 2})
        assert await serving.ask("a") == 2
        await until(lambda: len(engine_processes()) <= 2)

    kept.deliver(1, {"model/a": models[0], "model/gone": models[2]})
    serve(kept, story)


def test_a_newer_generation_is_followed_while_another_still_loads(
    kept: Kept, models: tuple[bytes, ...]
) -> None:
    async def story(serving: Serving) -> None:
        await serving.live.start()
        serving.budget.gate.clear()
        kept.deliver(2, {"model/a": models[1]})
        await serving.live.refresh()
        kept.deliver(3, {"model/a": models[2]})
        await serving.live.refresh()
        assert serving.shown() == {"a": 1}
        serving.budget.gate.set()
        await until(lambda: serving.shown() == {"a": 3})
        assert await serving.ask("a") == 2
        await until(lambda: len(engine_processes()) <= 1)

    kept.deliver(1, {"model/a": models[0]})
    serve(kept, story)


def test_a_successor_that_does_not_load_leaves_the_others_serving(
    kept: Kept, models: tuple[bytes, ...]
) -> None:
    async def story(serving: Serving) -> None:
        await serving.live.start()
        assert serving.live.impaired() == ()
        kept.deliver(2, {"model/a": BROKEN, "model/b": models[1]})
        await serving.live.refresh()
        await until(lambda: serving.shown() == {"a": 2, "b": 2})
        with pytest.raises(ModelUnavailableError):
            await serving.ask("a")
        assert await serving.ask("b") == 2
        assert serving.live.impaired() == ("engine-unavailable",)
        assert serving.live.not_ready() == ("site-certificate",)

    kept.deliver(1, {"model/a": models[0], "model/b": models[1]})
    serve(kept, story)


def test_a_start_at_which_nothing_can_be_loaded_is_refused(kept: Kept) -> None:
    async def story(serving: Serving) -> None:
        with pytest.raises(Error) as caught:
            await serving.live.start()
        assert caught.value.code == "engine-unavailable"
        assert serving.live.not_ready() == ("models", "site-certificate")

    kept.deliver(1, {"model/a": BROKEN})
    serve(kept, story)


def test_a_start_at_which_one_model_does_not_load_serves_the_others(
    kept: Kept, models: tuple[bytes, ...]
) -> None:
    async def story(serving: Serving) -> None:
        await serving.live.start()
        assert await serving.ask("b") == 2
        assert serving.live.impaired() == ("engine-unavailable",)

    kept.deliver(1, {"model/a": BROKEN, "model/b": models[1]})
    serve(kept, story)


def test_a_start_with_other_bytes_than_were_admitted_is_refused(
    kept: Kept, models: tuple[bytes, ...]
) -> None:
    async def story(serving: Serving) -> None:
        with pytest.raises(DigestMismatchError):
            await serving.live.start()

    kept.deliver(1, {"model/a": models[0], "model/b": models[1]})
    damaged = kept.path(models[1])
    damaged.chmod(0o600)
    damaged.write_bytes(models[1][:-1] + b"?")
    serve(kept, story)


def test_nothing_is_served_while_the_policies_cannot_be_read(
    kept: Kept, models: tuple[bytes, ...]
) -> None:
    async def story(serving: Serving) -> None:
        await serving.live.start()
        kept.deliver(2, {"model/a": models[0], "policy/site": POLICY})
        stored = kept.path(POLICY)
        away = stored.rename(stored.with_name("away"))
        await serving.live.refresh()
        with pytest.raises(HostNotReadyError):
            serving.live.view()
        assert "missing" in serving.live.not_ready()
        away.rename(stored)
        await serving.live.refresh()
        assert serving.shown() == {"a": 2}
        assert await serving.ask("a") == 2

    kept.deliver(1, {"model/a": models[0]})
    serve(kept, story)


def test_every_model_that_was_taken_out_is_tried_again_at_a_start(kept: Kept) -> None:
    kept.deliver(1, {"model/a": b"a", "model/b": b"b"})
    host = opened(kept)
    out = TakenOut(name="a", crashes=3, window_s=600, exit_status=-11)
    for _ in range(2):
        record_taken_out(host, sha256_of(b"a"), out)
    (record,) = kept.host.events("model.taken_out")
    assert json.loads(record)["model"] == {"name": "a", "sha256": sha256_of(b"a")}
    # One that no active generation offers has its try without a record.
    record_taken_out(host, sha256_of(b"gone"), out)
    try_all_again(host)
    try_all_again(host)
    (record,) = kept.host.events("model.put_back")
    assert json.loads(record)["model"]["name"] == "a"
    assert json.loads(record)["reason"] == "server-started"
