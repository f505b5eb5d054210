"""A gateway over fakes: real policies, a scripted engine, a ledger in memory."""

import asyncio
import datetime as dt
import json
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.api.app import build_app
from appliance.api.doorman import Front
from appliance.api.metrics import Metrics
from appliance.bodies.vault import Body
from appliance.core_policies import core_files
from appliance.errors import (
    AuditUnavailableError,
    AuthenticationError,
    BodiesUnavailableError,
)
from appliance.identity.keys import Caller
from appliance.ledger.log.append import Receipt
from appliance.ledger.records.events import Draft, encode_record
from appliance.metrics.engines import EngineSample
from appliance.metrics.meter import Meter
from appliance.policy.compile import compile_policies
from appliance.policy.facts import ModelFacts, SiteFacts
from appliance.quota.moment import Moment
from appliance.quota.quota import Quota
from appliance.request_flow import RequestFlow
from appliance.request_steps.parts import Bodies, HostView, ServedModel
from appliance.settings import Settings
from tests.support.fake_engine import FakeEngine

NOW = dt.datetime(2026, 11, 22, 8, 4, 29, tzinfo=dt.UTC)
KEY = "a-valid-key"
CALLER = Caller(
    key_id="k1",
    key_expires=NOW + dt.timedelta(days=1),
    team="claims",
    clearance="internal",
    default_class="internal",
)
SITE = SiteFacts(
    site="blr-07",
    region="in-blr",
    jurisdictions=("IN",),
    not_before=NOW - dt.timedelta(days=1),
    not_after=NOW + dt.timedelta(days=1),
)
MODEL = ModelFacts(
    name="demo",
    sha256="ab" * 32,
    origin="Sallyport",
    licence="Apache-2.0",
    allowed_regions=("in-blr",),
)


class FixedClock:
    """A clock whose wall time stands still and whose monotonic time counts calls."""

    def __init__(self) -> None:
        self._ticks = 0

    def now(self) -> dt.datetime:
        return NOW

    def monotonic_ns(self) -> int:
        self._ticks += 1_000_000
        return self._ticks


@dataclass
class MemoryLedger:
    """Keeps records as the real one would write them; fails when told to."""

    records: list[dict[str, Any]] = field(default_factory=list)
    fails_on: str = ""
    slow: asyncio.Event | None = None

    async def append(self, draft: Draft) -> Receipt:
        if self.slow is not None:
            await self.slow.wait()
        if self.fails_on and str(draft.event).startswith(self.fails_on):
            raise AuditUnavailableError("the ledger cannot write")
        seq = len(self.records)
        data = encode_record(draft, seq=seq, now=NOW, origin="test")
        self.records.append(json.loads(data))
        return Receipt(seq=seq, leaf=bytes(32), size=seq + 1, root=bytes(32))

    def check(self) -> None:
        if self.fails_on:
            raise AuditUnavailableError("the ledger cannot write")

    def submit(self, draft: Draft) -> "Future[Receipt]":
        future: Future[Receipt] = Future()
        seq = len(self.records)
        data = encode_record(draft, seq=seq, now=NOW, origin="test")
        self.records.append(json.loads(data))
        future.set_result(
            Receipt(seq=seq, leaf=bytes(32), size=seq + 1, root=bytes(32))
        )
        return future

    def events(self) -> list[str]:
        return [record["event"] for record in self.records]


@dataclass
class MemoryBodies:
    """Keeps bodies in memory; fails on a part when told to."""

    kept: list[Body] = field(default_factory=list)
    fails_on: str = ""

    async def keep(self, body: Body) -> None:
        if body.part == self.fails_on:
            raise BodiesUnavailableError("a body cannot be kept")
        self.kept.append(body)


@dataclass
class FakeHost:
    """One team, one model."""

    shown: HostView
    caller: Caller = CALLER

    def view(self) -> HostView:
        return self.shown

    def identify(self, credential: str) -> Caller:
        if credential != KEY:
            raise AuthenticationError
        return self.caller


@dataclass
class Gateway:
    """The application and everything a test looks at."""

    app: Front
    flow: RequestFlow
    engine: FakeEngine
    ledger: MemoryLedger
    host: FakeHost
    clock: FixedClock
    quota: Quota


async def no_engines() -> tuple[EngineSample, ...]:
    """A host on which nothing is loaded."""
    return ()


def gateway(
    *,
    engine: FakeEngine | None = None,
    site: SiteFacts | None = SITE,
    model: ModelFacts = MODEL,
    settings: Settings | None = None,
    caller: Caller = CALLER,
    used_today: int = 0,
    bodies: Bodies | None = None,
) -> Gateway:
    """Build one, with the shipped core policies."""
    engine = engine or FakeEngine()
    ledger = MemoryLedger()
    bodies = bodies or MemoryBodies()
    view = HostView(
        models={
            model.name: ServedModel(
                facts=model, generation=1, activated_s=1, engine=engine
            )
        },
        policy_set=compile_policies(core_files()),
        site=site,
    )
    host = FakeHost(view, caller)
    clock = FixedClock()
    settings = settings or Settings()
    quota = Quota(
        settings.limits,
        places=engine.places,
        context_tokens=engine.context_tokens,
        used_today={caller.team: used_today},
        at=Moment(ns=0, now=NOW),
    )
    meter = Meter()
    flow = RequestFlow(
        host=host,
        ledger=ledger,
        bodies=bodies,
        clock=clock,
        limits=settings.limits,
        quota=quota,
        most_engines=settings.models.resident,
        queue_timeout_s=settings.engine.queue_timeout_s,
        meter=meter,
    )
    app = build_app(
        flow=flow,
        host=host,
        settings=settings,
        clock=clock,
        not_ready=tuple,
        impaired=tuple,
        ledger=str,
        metrics=Metrics(meter=meter, samples=no_engines),
    )
    return Gateway(
        app=app,
        flow=flow,
        engine=engine,
        ledger=ledger,
        host=host,
        clock=clock,
        quota=quota,
    )


def without_regions() -> ModelFacts:
    return replace(MODEL, allowed_regions=())
