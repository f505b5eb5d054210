"""uvicorn, made to stop cleanly and to bound what one connection may hold.

Stopping has three parts. First running requests may end by themselves, for
``drain_s``. Then the engines are closed, so that every stream ends with an error
event and its outcome is recorded. What is still there after that, a client that
reads nothing, is cancelled and awaited. Only then does ``serve_on`` return, so that
whatever is recorded next is the last record.

What one connection may hold is in ``http_protocol``; the body of a request has a
time limit of its own.
"""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from appliance.http_protocol import PatientProtocol
from appliance.settings import ServerSettings

SPARE_DESCRIPTORS = 128
"""Descriptors kept for files, engines and the listener."""

GRACE_S = 5.0
"""How long requests get to record their end after their engines were closed."""


class StoppableServer(uvicorn.Server):
    """Serves one application on one listener until ``stop``."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        doorman: Callable[[Scope], Response | None],
        settings: ServerSettings,
        on_stop: Callable[[], object],
        end_streams: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_protocol(settings, doorman=doorman),
                ws="none",
                proxy_headers=False,
                lifespan="off",
                loop="asyncio",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
            )
        )
        self._drain_s = settings.drain_s
        self._on_stop = on_stop
        self._end_streams = end_streams
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """Accept no more and drain; asked again, end the streams at once."""
        if self._stopping.is_set():
            self._hurry.set()
        self._on_stop()
        self._stopping.set()
        self.should_exit = True

    async def serve_on(self, listener: socket.socket) -> None:
        """Serve until ``stop`` and until every request has ended."""
        ender = asyncio.create_task(self._end())
        try:
            await self.serve(sockets=[listener])
        finally:
            ender.cancel()
            await asyncio.wait({ender})
            await self._cancel_the_rest()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would raise them again and end the process."""
        yield

    async def _end(self) -> None:
        await self._stopping.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                await self._hurry.wait()
        await self._end_streams()
        await asyncio.sleep(GRACE_S)
        self.force_exit = True

    async def _cancel_the_rest(self) -> None:
        rest = set(self.server_state.tasks)
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)


def _protocol(
    settings: ServerSettings, *, doorman: Callable[[Scope], Response | None]
) -> type[PatientProtocol]:
    """Return the protocol with the limits and the doorman of this host."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return PatientProtocol.of_server(
        doorman=doorman,
        header_s=float(settings.header_s),
        write_s=float(settings.write_s),
        most_connections=max(1, min(settings.connections, most - SPARE_DESCRIPTORS)),
    )
