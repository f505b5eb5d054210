"""The one place that wires objects together.

Everything else takes what it needs as arguments.
"""

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine

from appliance.bodies.keeper import BodyKeeper
from appliance.body_flow import open_vault
from appliance.clock import Clock, SystemClock
from appliance.core_policies import core_files
from appliance.db.session import database_faults, open_database, reader
from appliance.engine.planning.orders import margins
from appliance.engine.planning.planned_budget import PlannedBudget
from appliance.engine.planning.planner import Planner
from appliance.engine.supervisor import EngineSupervisor
from appliance.environments.install import EnvironmentInstaller
from appliance.home import PEPPER_BYTES, Home
from appliance.host import OpenHost
from appliance.import_steps.host import ImportHost
from appliance.ledger.log.commission import open_ledger, read_identity
from appliance.ledger.log.head import LogIdentity
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.records.events import Draft
from appliance.ledger.records.usage import tokens_by_team
from appliance.ledger.watch.ballast import Ballast
from appliance.ledger.watch.guard import LedgerGuard, State
from appliance.ledger.watch.halting import Signing
from appliance.ledger.watch.head_copy import HeadCopy
from appliance.ledger.writer import LedgerWriter
from appliance.policy.compile import check_policies
from appliance.private_file import read_private_file
from appliance.registry.store import Store
from appliance.settings import (
    EngineSettings,
    LedgerSettings,
    home_folder,
    read_settings,
)
from bundleformat.errors import RollbackError

if TYPE_CHECKING:
    from appliance.api.doorman import Front
    from appliance.live.host import LiveHost
    from appliance.metrics.meter import Meter
    from appliance.request_flow import RequestFlow
    from appliance.siem.feed import Feed


def open_host(root: Path | None = None, *, clock: Clock | None = None) -> OpenHost:
    """Open the commissioned host below ``root``, or below the default home.

    Raises:
        HostNotReadyError: It is not commissioned, a secret is missing or damaged, or
            others may write to its folders.
        MalformedError: Its settings file is not valid.
        StorageFaultError: Its database cannot be read.
        SignatureError: The ledger's key belongs to another ledger.
    """
    home = Home(home_folder(root))
    home.check_folders()
    clock = clock or SystemClock()
    settings = read_settings(home.root)
    database = open_database(home.database)
    rolled_back: RollbackError | None = None
    try:
        log, keys = _open_ledger(database, home)
    except RollbackError:
        # A server may have taken the key away, for a newer one, since we looked.
        try:
            log, keys = _open_ledger(database, home)
        except RollbackError as error:
            # Nothing can be appended any more; everything else is to work.
            log, keys = _open_without_key(database, home)
            rolled_back = error
    host = OpenHost(
        home=home,
        settings=settings,
        clock=clock,
        database=database,
        log=log,
        keys=keys,
        pepper=read_private_file(home.pepper, size_bytes=PEPPER_BYTES),
        guard=ledger_guard(
            home,
            settings.ledger,
            database=database,
            signing=Signing(log=log, keys=keys),
            clock=clock,
        ),
    )
    # What is wrong with the ledger halts it; whoever appends is told so.
    if host.guard.examine() is None and rolled_back is not None:
        host.guard.halt(rolled_back)
    return host


def ledger_guard(
    home: Home,
    settings: LedgerSettings,
    *,
    database: Engine,
    signing: Signing,
    clock: Clock,
) -> LedgerGuard:
    """Return what watches over the ledger of ``home``."""
    return LedgerGuard(
        database,
        signing=signing,
        clock=clock,
        ballast=Ballast(home.ballast, size_bytes=settings.ballast_bytes),
        head_copy=HeadCopy(home.root / settings.head_copy),
        low_percent=settings.low_percent,
    )


def _open_without_key(database: Engine, home: Home) -> tuple[LogIdentity, LedgerKeys]:
    with database_faults(database), reader(database).connect() as connection:
        return read_identity(connection), LedgerKeys(home.ledger_key)


def _open_ledger(database: Engine, home: Home) -> tuple[LogIdentity, LedgerKeys]:
    with database_faults(database), reader(database).connect() as connection:
        return open_ledger(connection, key_path=home.ledger_key)


def import_host(host: OpenHost) -> ImportHost:
    """Return what an import into ``host`` works with."""
    core = core_files()

    def append_records(connection: Connection, drafts: Sequence[Draft]) -> None:
        host.record(connection, drafts, now=host.clock.now())

    return ImportHost(
        database=host.database,
        staging=host.home.staging,
        store=Store(host.home.store),
        clock=host.clock,
        append_records=append_records,
        check_policies=lambda files: check_policies(core, files),
        trial_load=lambda paths: asyncio.run(_load_once(paths, host.settings.engine)),
        operator_uid=os.getuid(),
        settings=host.settings.import_,
        environments=EnvironmentInstaller(host.home.root / "environments"),
    )


async def _load_once(paths: tuple[Path, ...], settings: EngineSettings) -> None:
    engine = EngineSupervisor(*paths, settings=settings)
    try:
        await engine.start()
    finally:
        await engine.close()


def live_host(host: OpenHost, *, ledger: LedgerWriter) -> "LiveHost":
    """Return what serves requests of ``host``; its engines are not started yet."""
    from appliance.live.host import LiveHost  # noqa: PLC0415 - see ``application``

    planner = Planner(margins(host.settings.engine))
    return LiveHost(
        host,
        store=Store(host.home.store),
        core=core_files(),
        budget=PlannedBudget(planner, settings=host.settings.engine),
        planner=planner,
        record=ledger.submit,
    )


def ledger_writer(host: OpenHost) -> LedgerWriter:
    """Return the server's ledger writer; it has checked the ledger's head."""
    return LedgerWriter(
        host.database,
        log=host.log,
        keys=host.keys,
        clock=host.clock,
        guard=host.guard,
    )


def body_keeper(host: OpenHost) -> BodyKeeper:
    """Return what keeps captured texts; their file is opened with the first."""
    return BodyKeeper(partial(open_vault, host), clock=host.clock)


def request_flow(
    host: OpenHost,
    *,
    live: "LiveHost",
    ledger: LedgerWriter,
    bodies: BodyKeeper,
    meter: "Meter",
) -> "RequestFlow":
    """Return the flow of every request; today's use is that of the ledger."""
    # An import has 100 MB of memory, of which it spends none on a web server.
    from appliance.quota.moment import Moment  # noqa: PLC0415
    from appliance.quota.quota import Quota  # noqa: PLC0415
    from appliance.request_flow import RequestFlow  # noqa: PLC0415
    from appliance.request_steps.meter import MeteredLedger  # noqa: PLC0415

    now = host.clock.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with host.look() as connection:
        used_today = tokens_by_team(connection, since=midnight)
    engine = host.settings.engine
    quota = Quota(
        host.settings.limits,
        places=engine.sequences + engine.queued_requests,
        context_tokens=engine.context_tokens,
        used_today=used_today,
        at=Moment(ns=host.clock.monotonic_ns(), now=now),
    )
    return RequestFlow(
        host=live,
        ledger=MeteredLedger(ledger, meter=meter, clock=host.clock),
        bodies=bodies,
        clock=host.clock,
        limits=host.settings.limits,
        quota=quota,
        most_engines=host.settings.models.resident,
        queue_timeout_s=engine.queue_timeout_s,
        meter=meter,
    )


def new_meter() -> "Meter":
    """Return what counts everything that one server does."""
    from appliance.metrics.meter import Meter  # noqa: PLC0415 - see ``request_flow``

    return Meter()


def application(
    host: OpenHost,
    *,
    flow: "RequestFlow",
    live: "LiveHost",
    ledger: LedgerWriter,
    meter: "Meter",
    feed: "Feed | None" = None,
) -> "Front":
    """Return the HTTP application over a flow, a live host and its ledger."""
    from appliance.api.app import build_app  # noqa: PLC0415 - see ``request_flow``
    from appliance.api.metrics import Metrics  # noqa: PLC0415

    meter.follow_ledger(lambda: tuple(State).index(ledger.standing.state))
    return build_app(
        flow=flow,
        host=live,
        settings=host.settings,
        clock=host.clock,
        not_ready=lambda: live.not_ready() + (() if ledger.healthy else ("ledger",)),
        impaired=lambda: live.impaired() + (("siem",) if feed and feed.failing else ()),
        ledger=lambda: _told(ledger),
        metrics=Metrics(meter=meter, samples=live.engine_samples),
    )


def _told(ledger: LedgerWriter) -> str:
    """Return how the ledger is, in a word or two; nothing if it is well."""
    standing = ledger.standing
    if standing.state is State.OK:
        return ""
    return str(standing.state) + (f": {standing.cause}" if standing.cause else "")
