"""A host while it serves: who may call, what is active, which engines run.

``refresh`` follows the database, where an import in another process activates a
new generation. Policies and the site certificate take effect at once or, if they
cannot be read, nothing is served at all. Models take effect as their engines
load; one that cannot be loaded is missing, reported by ``not_ready``, and tried
again ever more rarely. An engine nobody needs any more is closed when its
requests have ended.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Sequence
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
from appliance.registry.generations import repair_hint
from appliance.registry.store import Store
from appliance.request_flow import HostView, ServedModel
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import DigestMismatchError, Error, StorageFaultError
from bundleformat.site_certificate import SiteCertificate

RETRY_MIN_S = 1.0
"""First wait before loading again what could not be loaded; it doubles each time."""

RETRY_MAX_S = 60.0
"""Longest such wait."""

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
        self._store = store
        self._core = core
        self._record = record
        self._snapshot: Snapshot | None = None
        self._view: HostView | None = None
        self._engines: dict[str, EngineSupervisor] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Future[None] | None = None
        self._problems: tuple[str, ...] = ()
        self._retry_ns = 0
        self._retry_s = RETRY_MIN_S

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
        """Return the kinds of part that cannot serve now; empty when all can.

        Whoever asks needs no key, so no model is named.
        """
        view = self._view
        missing = set(self._problems)
        if view is None or not view.models:
            missing.add("models")
        if view is not None and view.site is None:
            missing.add("site-certificate")
        if not all(engine.ready for engine in self._engines.values()):
            missing.add("engines")
        return tuple(sorted(missing))

    async def start(self) -> None:
        """Make everything the database says is active available.

        Raises:
            Error: Some of it cannot be served; nothing of it should be.
        """
        errors = await self._apply(self._read())
        if errors:
            raise errors[0]

    async def refresh(self) -> None:
        """Follow the database; what cannot be followed becomes not ready."""
        try:
            snapshot = self._read()
            waiting = self._host.clock.monotonic_ns() < self._retry_ns
            if snapshot == self._snapshot and (not self._problems or waiting):
                return
            errors = await self._apply(snapshot)
        except Error as error:
            self._view = None
            self._snapshot = None
            errors = [error]
        self._note(errors)

    def _note(self, errors: Sequence[Error]) -> None:
        """Remember what cannot be served; say so when it changes; back off."""
        problems = tuple(error.code for error in errors)
        if problems != self._problems:
            for error in errors:
                _log.error("cannot serve what is active: %s", error)
            self._retry_s = RETRY_MIN_S
        self._problems = problems
        self._retry_ns = self._host.clock.monotonic_ns() + int(self._retry_s * 1e9)
        self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)

    async def close(self) -> None:
        """End every engine; in-flight callers get a clean error.

        May be called again, also while it works: it is done only once.
        """
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        engines, self._engines = self._engines, {}
        retiring = tuple(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        await asyncio.gather(*(engine.close() for engine in engines.values()))

    def _read(self) -> Snapshot:
        with self._host.look() as connection:
            return _read(connection, now=self._host.clock.now())

    async def _apply(self, snapshot: Snapshot) -> list[Error]:
        """Start what is new, replace the view, retire what is old.

        Returns:
            Why models of the snapshot are not in the view.

        Raises:
            Error: The policies cannot be read; the view is what it was.
        """
        policy_set = self._compile(snapshot)
        errors: list[Error] = []
        for model in snapshot.models:
            if model.sha256 not in self._engines:
                try:
                    await self._start_engine(model)
                except Error as error:
                    errors.append(error)
        self._view = HostView(
            models={
                model.name: _served(model, self._engines[model.sha256])
                for model in snapshot.models
                if model.sha256 in self._engines
            },
            policy_set=policy_set,
            site=None if snapshot.site is None else _site_facts(snapshot.site),
        )
        self._snapshot = snapshot
        for sha256 in self._engines.keys() - {
            model.sha256 for model in snapshot.models
        }:
            self._retire(self._engines.pop(sha256))
        return errors

    async def _start_engine(self, model: ActiveModel) -> None:
        engine = EngineSupervisor(
            *(self._store.path_of(part.sha256) for part in model.parts),
            settings=self._host.settings.engine,
            check=partial(self._check_stored, model),
            on_crash=partial(self._crashed, model),
        )
        await engine.start()
        self._engines[model.sha256] = engine

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

    def _stored(self, sha256: Sha256) -> bytes:
        with self._store.open(sha256) as file:
            try:
                return file.read()
            except OSError as error:
                raise StorageFaultError(
                    "a stored policy cannot be read", actual=str(error.strerror)
                ) from error

    def _crashed(self, model: ActiveModel, status: int, restarts: int) -> None:
        """Have the crash of an engine recorded; the server goes on without it.

        One that crashes again and again is recorded ever more rarely.
        """
        if restarts.bit_count() > 1:
            return
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
            data = self._stored(sha256)
            if sha256_of(data) != sha256:
                raise DigestMismatchError(
                    "a stored policy has changed",
                    where=name,
                    hint="Run: sallyport store repair MEDIUM",
                )
            files.append((name, data))
        return compile_policies(self._core, site=tuple(files))

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


def _served(model: ActiveModel, engine: EngineSupervisor) -> ServedModel:
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
        engine=engine,
    )


def _site_facts(certificate: SiteCertificate) -> SiteFacts:
    return SiteFacts(
        site=certificate.site,
        region=certificate.region,
        jurisdictions=certificate.jurisdictions,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
    )
