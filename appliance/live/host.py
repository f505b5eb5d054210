"""A host while it serves: who may call, what is active, which engines run.

``refresh`` follows the database, where an import in another process activates a
new generation. Policies and the site certificate take effect at once or, if they
cannot be read, nothing is served at all; what is offered no more is gone at once.
A model that replaces another does so when it is loaded, or when it turns out that
it cannot be loaded beside it. Which models are loaded is the pool's affair.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from appliance.db.session import StandingReader
from appliance.engine.planning.choices import Choice, choose
from appliance.engine.planning.measured import decode_measured, host_kind
from appliance.engine.planning.orders import allowed
from appliance.engine.planning.planner import Planner
from appliance.engine.pool.budget import MemoryBudget
from appliance.engine.pool.offer import Offer
from appliance.engine.pool.pool import EnginePool
from appliance.errors import HostNotReadyError
from appliance.host import OpenHost
from appliance.identity.keys import Caller
from appliance.ledger.records.events import Draft
from appliance.live.callers import Callers
from appliance.live.crash_book import CrashBook
from appliance.live.news import News
from appliance.live.policies import compile_active
from appliance.live.samples import sample
from appliance.live.snapshot import Snapshot, read_snapshot, served, site_facts
from appliance.metrics.engines import EngineSample
from appliance.policy.compile import CoreFiles, PolicySet
from appliance.registry.captures import UNLIMITED
from appliance.registry.catalogue import ActiveModel
from appliance.registry.generations import repair_hint
from appliance.registry.store import Store
from appliance.request_steps.parts import HostView, ServedModel
from bundleformat.digest import Sha256
from bundleformat.errors import DigestMismatchError, Error, RefusalError

_log = logging.getLogger(__name__)


class LiveHost:
    """Implements ``request_flow.Host`` over an opened host."""

    def __init__(
        self,
        host: OpenHost,
        *,
        store: Store,
        core: CoreFiles,
        budget: MemoryBudget,
        planner: Planner | None = None,
        record: Callable[[Draft], object],
    ) -> None:
        self._host = host
        self._store = store
        self._core = core
        self._kind = host_kind()
        self._lookups = StandingReader(host.database)
        self._callers = Callers(host, lookups=self._lookups)
        self._news = News(self._lookups, clock=host.clock)
        self._crashes = CrashBook(host, record=record)
        self._pool = EnginePool(
            engine=host.settings.engine,
            models=host.settings.models,
            budget=budget,
            drain_s=host.settings.server.drain_s,
            on_crash=self._crashes.crashed,
            planner=planner,
        )
        self._snapshot: Snapshot | None = None
        self._view: HostView | None = None
        self._switching: asyncio.Task[tuple[Error, ...]] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._problem: str | None = None
        self._taken_out: frozenset[Sha256] = frozenset()

    def view(self) -> HostView:
        """Return what is active now.

        Raises:
            HostNotReadyError: Nothing has been loaded yet.
        """
        if self._view is None:
            raise HostNotReadyError("this host is not serving yet")
        return self._view

    def identify(self, credential: str) -> Caller:
        """Return who presents ``credential``.

        Raises:
            AuthenticationError: Nobody whose key is valid now.
        """
        return self._callers.identify(credential)

    def not_ready(self) -> tuple[str, ...]:
        """Return the kinds of part that cannot serve now; empty when all can.

        Whoever asks needs no key, so no model is named.
        """
        view = self._view
        missing = set() if self._problem is None else {self._problem}
        offered = {} if view is None else view.models
        lost = self._pool.taken_out().keys() | self._pool.failures().keys()
        if all(model.facts.sha256 in lost for model in offered.values()):
            missing.add("models")
        if view is not None and view.site is None:
            missing.add("site-certificate")
        if self._pool.waiting():
            missing.add("engines")
        return tuple(sorted(missing))

    def impaired(self) -> tuple[str, ...]:
        """Return what some model suffers from while others serve; no model is named."""
        codes = {error.code for error in self._pool.failures().values()}
        if self._pool.taken_out():
            codes.add("model-taken-out")
        return tuple(sorted(codes))

    async def engine_samples(self) -> tuple[EngineSample, ...]:
        """Return how every loaded model's engine is."""
        return tuple(await asyncio.gather(*map(sample, self._pool.seats())))

    async def start(self) -> None:
        """Make everything the database says is active available.

        Raises:
            Error: Nothing of it can be served, or it is not what was admitted.
        """
        errors = await self._follow(self._read())
        refused = [error for error in errors if isinstance(error, RefusalError)]
        if refused or (errors and not self._pool.loaded()):
            raise (*refused, *errors)[0]

    async def refresh(self) -> None:
        """Follow the database; what cannot be followed becomes not ready."""
        self._check()
        try:
            if self._snapshot is None or self._news.any():
                snapshot = self._read()
                if snapshot != self._snapshot:
                    self._follow(snapshot)
                self._taken_out = snapshot.taken_out
            await self._crashes.follow(self._pool, on_record=self._taken_out)
            problem = None
        except Error as error:
            self._stop_switching()
            self._view = self._snapshot = None
            problem = error.code
            if problem != self._problem:
                _log.error("cannot serve what is active: %s", error)
        self._problem = problem

    async def close(self) -> None:
        """End every engine; in-flight callers get a clean error.

        May be called again, also while it works: it is done only once.
        """
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._stop_switching()
        await self._pool.close()
        self._lookups.close()

    def _check(self) -> None:
        """Raise what work in the background ended by, if it was a bug."""
        self._pool.check()
        if self._switching is not None and self._switching.done():
            self._switching.result()

    def _stop_switching(self) -> None:
        switching, self._switching = self._switching, None
        if switching is not None:
            switching.cancel()

    def _read(self) -> Snapshot:
        with self._host.look() as connection:
            return read_snapshot(
                connection, host_kind=self._kind, now=self._host.clock.now()
            )

    def _follow(self, snapshot: Snapshot) -> "asyncio.Task[tuple[Error, ...]]":
        """Show requests what is active, and begin to load it; return what ends then.

        Raises:
            Error: The policies cannot be read; the view is what it was.
        """
        policy_set = compile_active(snapshot, store=self._store, core=self._core)
        self._pool.offer(self._offers(snapshot))
        before = {} if self._view is None else self._view.models
        self._show(snapshot, policy_set, before=before)
        self._snapshot = snapshot
        self._stop_switching()
        self._switching = asyncio.create_task(self._switch(snapshot, policy_set))
        return self._switching

    async def _switch(
        self, snapshot: Snapshot, policy_set: PolicySet
    ) -> tuple[Error, ...]:
        """Load what there is room for, then give up what is offered no more."""
        errors = await self._pool.warm()
        self._show(snapshot, policy_set, before={})
        self._pool.keep_only({model.sha256 for model in snapshot.models})
        return errors

    def _show(
        self,
        snapshot: Snapshot,
        policy_set: PolicySet,
        *,
        before: Mapping[str, ServedModel],
    ) -> None:
        """Replace the view; what was ``before`` stays until its successor is loaded."""
        loaded = self._pool.loaded()
        models = {}
        for model in snapshot.models:
            old = before.get(model.name)
            capture = snapshot.captures.get(model.name, UNLIMITED)
            stays = old is not None and old.facts.sha256 in loaded
            if old is not None and stays and model.sha256 not in loaded:
                models[model.name] = dataclasses.replace(old, capture=capture)
            else:
                engine = self._pool.engine(model.sha256)
                models[model.name] = served(model, engine, capture=capture)
        certificate = snapshot.site
        self._view = HostView(
            models=models,
            policy_set=policy_set,
            site=None if certificate is None else site_facts(certificate),
        )

    def _offers(self, snapshot: Snapshot) -> Iterable[Offer]:
        names = set(self._host.settings.models.pinned)
        pinned = {model.sha256 for model in snapshot.models if model.name in names}
        for name in names - {model.name for model in snapshot.models}:
            _log.warning("no model is called %s, which the settings pin", name)
        return [
            Offer(
                sha256=model.sha256,
                name=model.name,
                paths=self._store.paths_of(model),
                pinned=model.sha256 in pinned,
                check=partial(self._check_stored, model),
                choice=self._choice(snapshot, model),
            )
            for model in snapshot.models
        ]

    def _choice(self, snapshot: Snapshot, model: ActiveModel) -> Choice | None:
        measured = decode_measured(snapshot.measured.get(model.sha256, b"[]"))
        allows = allowed(self._host.settings.engine)
        return choose(measured, allows) if measured else None

    async def _check_stored(self, model: ActiveModel) -> None:
        """Check that a model's stored bytes, read again now, are those admitted."""
        for part in model.parts:
            intact = await asyncio.to_thread(
                self._store.holds_intact, part.sha256, size_bytes=part.size_bytes
            )
            if not intact:
                raise DigestMismatchError(
                    "a stored model is missing or has changed",
                    where=model.name,
                    hint=repair_hint(
                        model.generation, channel=model.channel, version=model.version
                    ),
                )
