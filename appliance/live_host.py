"""A host while it serves: who may call, what is active, which engines run.

``refresh`` follows the database, where an import in another process activates a
new generation: it starts the engines that are new, replaces the view whole, and
closes the engines nobody needs any more once their requests have ended. A
generation that cannot be served is reported by ``not_ready`` and leaves the
previous one serving.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from appliance.engine.supervisor import EngineSupervisor
from appliance.errors import HostNotReadyError
from appliance.host import OpenHost
from appliance.identity import keys, site
from appliance.identity.keys import Caller
from appliance.intake import trust_state
from appliance.ledger.events import Draft, Event, Outcome
from appliance.policy.compile import CoreFiles, PolicySet, compile_policies
from appliance.policy.facts import ModelFacts, SiteFacts
from appliance.registry.catalogue import ActiveModel, active_models, active_policies
from appliance.registry.store import Store
from appliance.request_flow import HostView, ServedModel
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import DigestMismatchError, Error
from bundleformat.site_certificate import SiteCertificate

DRAIN_POLL_S = 0.1
"""How often a retiring engine is asked whether it still works. Unit: seconds."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What the database says is active; equal snapshots need no refresh."""

    models: tuple[ActiveModel, ...]
    policies: tuple[tuple[str, Sha256], ...]
    site: SiteCertificate | None


class LiveHost:
    """Implements ``request_flow.Host`` over an opened host."""

    def __init__(
        self,
        host: OpenHost,
        *,
        store: Store,
        core: CoreFiles,
        record: Callable[[Draft], object],
    ) -> None:
        self._host = host
        self._record = record
        self._store = store
        self._core = core
        self._snapshot: Snapshot | None = None
        self._view: HostView | None = None
        self._engines: dict[str, EngineSupervisor] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._problem = ""

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
        with self._host.look() as connection:
            return keys.authenticate(
                connection,
                credential,
                pepper=self._host.pepper,
                now=self._host.clock.now(),
            )

    def not_ready(self) -> tuple[str, ...]:
        """Return the parts that cannot serve now; empty when all can."""
        missing = [self._problem] if self._problem else []
        if self._view is None or not self._view.models:
            missing.append("models")
        if self._view is not None and self._view.site is None:
            missing.append("site-certificate")
        view = self._view.models if self._view is not None else {}
        for name, model in view.items():
            if not self._engines[model.facts.sha256].ready:
                missing.append(f"engine:{name}")
        return tuple(missing)

    async def follow(self) -> None:
        """Make the view what the database says is active.

        Raises:
            Error: It cannot be served; the view is what it was.
        """
        with self._host.look() as connection:
            snapshot = _read(connection, now=self._host.clock.now())
        if snapshot != self._snapshot:
            await self._load(snapshot)
            self._snapshot = snapshot

    async def refresh(self) -> None:
        """Follow the database; what cannot be followed becomes not ready."""
        try:
            await self.follow()
            self._problem = ""
        except Error as error:
            if not self._problem:
                _log.error("cannot serve what is active: %s", error)
            self._problem = error.code

    async def close(self) -> None:
        """End every engine; in-flight callers get a clean error."""
        engines, self._engines = self._engines, {}
        retiring = tuple(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        await asyncio.gather(*(engine.close() for engine in engines.values()))

    async def _load(self, snapshot: Snapshot) -> None:
        """Start what is new, then replace the view, then retire what is old."""
        policy_set = self._compile(snapshot)
        wanted = {model.sha256 for model in snapshot.models}
        started: dict[str, EngineSupervisor] = {}
        try:
            for model in snapshot.models:
                if model.sha256 not in self._engines and model.sha256 not in started:
                    started[model.sha256] = await self._start(model)
        except Error:
            for engine in started.values():
                await engine.close()
            raise
        self._engines |= started
        self._view = HostView(
            models={m.name: self._served(m, self._engines) for m in snapshot.models},
            policy_set=policy_set,
            site=None if snapshot.site is None else _site_facts(snapshot.site),
        )
        for sha256 in self._engines.keys() - wanted:
            self._retire(self._engines.pop(sha256))

    async def _start(self, model: ActiveModel) -> EngineSupervisor:
        """Load a model whose stored bytes are, read again now, those admitted."""
        intact = await asyncio.to_thread(
            self._store.holds_intact, model.sha256, size_bytes=model.size_bytes
        )
        if not intact:
            raise DigestMismatchError(
                "a stored model is missing or has changed",
                where=model.name,
                hint="Import the bundle that carries it again.",
            )
        engine = EngineSupervisor(
            self._store.path_of(model.sha256),
            settings=self._host.settings.engine,
            on_crash=partial(self._crashed, model),
        )
        await engine.start()
        return engine

    def _crashed(self, model: ActiveModel, status: int, restarts: int) -> None:
        """Have the crash of an engine recorded; the server goes on without it."""
        self._record(
            Draft(
                event=Event.ENGINE_CRASHED,
                outcome=Outcome.ERROR,
                fields={
                    "model": {"name": model.name, "sha256": model.sha256},
                    "exit_status": str(status),
                    "restarts": restarts,
                },
            )
        )

    def _compile(self, snapshot: Snapshot) -> PolicySet:
        files = []
        for name, sha256 in snapshot.policies:
            with self._store.open(sha256) as file:
                data = file.read()
            if sha256_of(data) != sha256:
                raise DigestMismatchError("a stored policy has changed", where=name)
            files.append((name, data))
        return compile_policies(self._core, site=tuple(files))

    def _served(
        self, model: ActiveModel, engines: Mapping[str, EngineSupervisor]
    ) -> ServedModel:
        return ServedModel(
            facts=ModelFacts(
                name=model.name,
                sha256=model.sha256,
                origin=model.terms.origin,
                licence=model.terms.licence,
                allowed_regions=model.terms.allowed_regions,
            ),
            generation=model.generation,
            activated_s=int(dt.datetime.fromisoformat(model.activated_ts).timestamp()),
            engine=engines[model.sha256],
        )

    def _retire(self, engine: EngineSupervisor) -> None:
        task = asyncio.create_task(self._drain(engine))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _drain(self, engine: EngineSupervisor) -> None:
        """Close an engine when its requests have ended, or after the drain time."""
        try:
            async with asyncio.timeout(self._host.settings.server.drain_s):
                while await _busy(engine):  # noqa: ASYNC110 - another process's state
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            _log.warning("closing an engine whose requests did not end in time")
        finally:
            await engine.close()


async def _busy(engine: EngineSupervisor) -> bool:
    try:
        stats = await engine.stats()
    except Error:
        return False
    return stats.prepared + stats.waiting + stats.running > 0


def _read(connection: Connection, *, now: dt.datetime) -> Snapshot:
    trusted = trust_state.all_compliance_keys(connection)
    return Snapshot(
        models=active_models(connection),
        policies=tuple(
            (policy.name, policy.sha256) for policy in active_policies(connection)
        ),
        site=site.current(connection, keys=trusted, now=now),
    )


def _site_facts(certificate: SiteCertificate) -> SiteFacts:
    return SiteFacts(
        site=certificate.site,
        region=certificate.region,
        jurisdictions=certificate.jurisdictions,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
    )
