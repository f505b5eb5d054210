"""Serving, from the lock to the last record.

1. lock: one server per host.
2. bind: the listener exists before anything is confined.
3. confine: from here on this process and its children open no network socket,
   and no other process of this user can look into them.
4. recover: the ledger is examined and room kept back for it; requests a crash left
   open are recorded as aborted, the ledger goes on under a new key, models that
   crashed too often have another try, and bodies that are to be gone are destroyed.
5. load: pinned models, then others as there is room; then ``server.started`` is
   durable.
6. serve, following what other processes activate, and finishing what they were
   killed over.
7. stop: streams end, engines close, ``server.stopped`` is durable.

A host whose ledger is halted is served all the same: every request is told so, and
when it is released the server goes on, with the records of steps 4 and 5.
"""

import asyncio
import gc
import resource
import signal
import socket
from collections.abc import Callable, Coroutine
from functools import partial

from appliance.audit_media.home_scratch import clear_scratch
from appliance.body_finish_flow import Finisher
from appliance.body_flow import carry_out, sweep_bodies
from appliance.compose import (
    application,
    body_keeper,
    ledger_writer,
    live_host,
    new_meter,
    request_flow,
)
from appliance.containment.seccomp import refuse_network
from appliance.containment.secrecy import forbid_inspection
from appliance.db.session import database_faults
from appliance.errors import AuditUnavailableError, HostNotReadyError
from appliance.host import OpenHost, tool_name
from appliance.http_server import StoppableServer
from appliance.ledger.log.rotation import rotate
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.recover import abort_open_requests
from appliance.ledger.writer import LedgerWriter
from appliance.live.host import LiveHost
from appliance.siem_flow import siem_feed
from appliance.taken_out_flow import try_all_again

REFRESH_S = 1.0
"""How often the server looks for a newly activated generation. Unit: seconds."""

BACKLOG = 2_048
"""Connections the kernel holds until they are accepted."""

SOCKET_BUFFER_BYTES = 2**17
"""What the kernel holds of a connection in each direction, before it doubles it."""


COLLECTED_AFTER = (10_000, 20, 50)
"""New objects after which the youngest are searched for garbage, and how often the
older ones are with them."""


def serve(
    host: OpenHost, *, address: str, port: int, on_ready: Callable[[str], None]
) -> None:
    """Serve until a signal asks to stop; ``on_ready`` gets the base URL.

    Raises:
        HostNotReadyError: Another server holds this host, or the address is taken.
        AuditUnavailableError: The ledger's head does not fit together.
        StorageFaultError: The disk refused, or has no room for the ballast.
    """
    # 1. lock
    with host.hold_serve_lock("another server already serves this host"):
        # 2. bind
        listener = _bind(address, port)
        with listener:
            _raise_descriptor_limit()
            # 3. confine
            forbid_inspection()
            refuse_network()
            # 4. recover
            clear_scratch(host.home)
            aborted = _recover(host) if host.guard.begin() is None else None
            if aborted is not None:
                # Never beside a halted ledger: what is missing there may come back.
                carry_out(host)
                sweep_bodies(host)
            asyncio.run(_serve(host, listener, aborted=aborted, on_ready=on_ready))


def _recover(host: OpenHost) -> int:
    """Record what the last server left undone; return how many requests it was."""
    with host.change() as connection:
        aborted = abort_open_requests(
            connection, log=host.log, keys=host.keys, now=host.clock.now()
        )
    with database_faults(host.database):
        rotate(
            host.database,
            log=host.log,
            keys=host.keys,
            now=host.clock.now(),
            reason="start",
        )
    try_all_again(host)
    return len(aborted)


async def _serve(
    host: OpenHost,
    listener: socket.socket,
    *,
    aborted: int | None,
    on_ready: Callable[[str], None],
) -> None:
    started_ns = host.clock.monotonic_ns()
    ledger = ledger_writer(host)
    bodies = body_keeper(host)
    live = live_host(host, ledger=ledger)
    feed = siem_feed(host, ledger=ledger)
    opening = Opening(host, live=live, ledger=ledger, aborted=aborted)
    try:
        if feed is not None:
            feed.start()
        # 5. load
        await live.start()
        await opening.record()
        # 6. serve
        meter = new_meter()
        flow = request_flow(host, live=live, ledger=ledger, bodies=bodies, meter=meter)
        app = application(
            host, flow=flow, live=live, ledger=ledger, meter=meter, feed=feed
        )
        _spare_the_collector()
        server = StoppableServer(
            app,
            doorman=app.doorman,
            settings=host.settings.server,
            on_stop=flow.stop,
            end_streams=live.close,
        )
        await _serve_and_follow(
            server,
            partial(_follow, live, opening, Finisher(host)),
            listener=listener,
            on_ready=lambda: on_ready(_url(listener)),
        )
        # 7. stop: every stream has ended and every outcome is durable
        await flow.close()
        uptime_s = (host.clock.monotonic_ns() - started_ns) // 1_000_000_000
        stopped = Draft(
            event=Event.SERVER_STOPPED,
            outcome=Outcome.OK,
            fields={"reason": "signal", "uptime_s": uptime_s},
        )
        if ledger.healthy:
            await ledger.append(stopped)
    finally:
        await live.close()
        await asyncio.to_thread(bodies.close)
        if feed is not None:
            await asyncio.to_thread(feed.close)
        await asyncio.to_thread(ledger.close)


async def _serve_and_follow(
    server: StoppableServer,
    follow: Callable[[], Coroutine[None, None, None]],
    *,
    listener: socket.socket,
    on_ready: Callable[[], None],
) -> None:
    """Serve until asked to stop; a follower that fails stops the server too."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    on_ready()
    follower = asyncio.create_task(follow())
    follower.add_done_callback(lambda _: server.stop())
    try:
        await server.serve_on(listener)
    finally:
        follower.cancel()
        await asyncio.wait({follower})
    if not follower.cancelled():
        follower.result()


def _spare_the_collector() -> None:
    """Have what lives as long as the server left out of every garbage collection.

    Else a flood of requests has it all searched again and again, for tens of
    milliseconds in which no stream goes on. Source: Python, ``gc.freeze``.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


def _url(listener: socket.socket) -> str:
    name, port = listener.getsockname()[:2]
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}"


async def _follow(live: LiveHost, opening: "Opening", finisher: Finisher) -> None:
    await asyncio.gather(_follow_changes(live, opening), finisher.run())


async def _follow_changes(live: LiveHost, opening: "Opening") -> None:
    while True:
        await asyncio.sleep(REFRESH_S)
        await opening.record()
        await live.refresh()


class Opening:
    """Has it on record that the server started, once the ledger takes records.

    Args:
        host: The host.
        live: What it serves.
        ledger: Its writer.
        aborted: How many requests step 4 ended, or None if it was left out, since
            the ledger was halted; the writer ends those itself when it goes on.
    """

    def __init__(
        self,
        host: OpenHost,
        *,
        live: LiveHost,
        ledger: LedgerWriter,
        aborted: int | None,
    ) -> None:
        self._host = host
        self._live = live
        self._ledger = ledger
        self._aborted = aborted
        self._done = False

    async def record(self) -> None:
        """Make it durable, unless it is or the ledger is halted.

        Raises:
            AuditUnavailableError: The ledger cannot write, and is not halted.
        """
        if self._done or not self._ledger.healthy:
            return
        try:
            if self._aborted is None:
                await asyncio.to_thread(try_all_again, self._host)
                self._aborted = 0
            await self._ledger.append(_started(self._live, self._aborted))
        except AuditUnavailableError:
            if self._ledger.healthy:
                raise
        else:
            self._done = True


def _started(live: LiveHost, aborted: int) -> Draft:
    view = live.view()
    return Draft(
        event=Event.SERVER_STARTED,
        outcome=Outcome.OK,
        fields={
            "tool": tool_name(),
            "models": [
                {
                    "name": model.facts.name,
                    "sha256": model.facts.sha256,
                    "generation": model.generation,
                }
                for model in view.models.values()
            ],
            "policy_set_sha256": view.policy_set.sha256,
            "aborted_requests": aborted,
        },
    )


def _raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as the host lets it have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, port), family=family, backlog=BACKLOG)
        # Connections inherit these; else the kernel would keep megabytes for each.
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            listener.setsockopt(socket.SOL_SOCKET, buffer, SOCKET_BUFFER_BYTES)
    except OSError as error:
        raise HostNotReadyError(
            "cannot listen there",
            where=f"{address}:{port}",
            actual=str(error.strerror or error),
            hint="Choose another with --host and --port.",
        ) from error
    return listener
