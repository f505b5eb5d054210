"""Serving, from the lock to the last record.

1. lock: one server per host.
2. bind: the listener exists before anything is confined.
3. confine: from here on this process and its children open no network socket.
4. recover: requests a crash left open are recorded as aborted.
5. load: engines of every active model; then ``server.started`` is durable.
6. serve, following what other processes activate.
7. drain, close the engines, record ``server.stopped``.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from appliance.compose import application, ledger_writer, live_host
from appliance.containment.seccomp import refuse_network
from appliance.errors import HostNotReadyError
from appliance.host import OpenHost, tool_name
from appliance.ledger.events import Draft, Event, Outcome
from appliance.ledger.recover import abort_open_requests
from appliance.ledger.writer import LedgerWriter
from appliance.live_host import LiveHost
from bundleformat.errors import StorageFaultError

REFRESH_S = 1.0
"""How often the server looks for a newly activated generation. Unit: seconds."""

BACKLOG = 2_048
"""Connections the kernel holds until they are accepted."""

_log = logging.getLogger(__name__)


def serve(
    host: OpenHost, *, address: str, port: int, on_ready: Callable[[str], None]
) -> None:
    """Serve until a signal asks to stop; ``on_ready`` gets the base URL.

    Raises:
        HostNotReadyError: Another server holds this host, or the address is taken.
        AuditUnavailableError: The ledger's head does not fit together.
        StorageFaultError: The disk refused.
    """
    # 1. lock
    with _serve_lock(host):
        # 2. bind
        listener = _bind(address, port)
        with listener:
            # 3. confine
            refuse_network()
            # 4. recover
            with host.change() as connection:
                aborted = abort_open_requests(
                    connection,
                    log=host.log,
                    signer=host.signer,
                    now=host.clock.now(),
                )
            asyncio.run(_serve(host, listener, len(aborted), on_ready))


async def _serve(
    host: OpenHost,
    listener: socket.socket,
    aborted: int,
    on_ready: Callable[[str], None],
) -> None:
    ledger = ledger_writer(host)
    live = live_host(host, ledger=ledger)
    started_ns = host.clock.monotonic_ns()
    try:
        # 5. load
        await live.follow()
        await ledger.append(_started(live, aborted))
        # 6. serve
        follower = asyncio.create_task(_follow(live))
        try:
            await _run_uvicorn(host, listener, live, ledger, on_ready)
        finally:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)
        # 7. stop
        uptime_s = (host.clock.monotonic_ns() - started_ns) // 1_000_000_000
        await live.close()
        await ledger.append(
            Draft(
                event=Event.SERVER_STOPPED,
                outcome=Outcome.OK,
                fields={"reason": "signal", "uptime_s": uptime_s},
            )
        )
    finally:
        await live.close()
        await asyncio.to_thread(ledger.close)


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which ends the process by itself.

    Ours returns from ``serve``, so that engines are closed and the end recorded.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to ``serve_flow``."""
        yield

    def stop(self) -> None:
        """Drain; asked a second time, do not wait for open connections."""
        self.force_exit = self.should_exit
        self.should_exit = True


async def _run_uvicorn(
    host: OpenHost,
    listener: socket.socket,
    live: LiveHost,
    ledger: LedgerWriter,
    on_ready: Callable[[str], None],
) -> None:
    server = _Server(
        uvicorn.Config(
            application(host, live=live, ledger=ledger),
            http="httptools",
            ws="none",
            lifespan="off",
            loop="asyncio",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=host.settings.server.drain_s,
        )
    )
    name, port = listener.getsockname()[:2]
    shown = f"[{name}]" if ":" in name else name
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    on_ready(f"http://{shown}:{port}")
    await server.serve(sockets=[listener])


async def _follow(live: LiveHost) -> None:
    while True:
        await asyncio.sleep(REFRESH_S)
        await live.refresh()


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


@contextlib.contextmanager
def _serve_lock(host: OpenHost) -> Iterator[None]:
    path = host.home.run / "serve.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFaultError(
            "the lock cannot be made", where=str(path), actual=str(error.strerror)
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise HostNotReadyError(
            "another server already serves this host", where=str(path)
        ) from error
    finally:
        os.close(descriptor)


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise HostNotReadyError(
            "cannot listen there",
            where=f"{address}:{port}",
            actual=str(error.strerror or error),
            hint="Choose another with --host and --port.",
        ) from error
