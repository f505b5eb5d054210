"""uvicorn, made to stop cleanly and to bound what one connection may hold.

Stopping has three parts. First running requests may end by themselves, for
``drain_s``. Then the engines are closed, so that every stream ends with an error
event and its outcome is recorded. What is still there after that, a client that
reads nothing, is cancelled and awaited. Only then does ``serve_on`` return, so that
whatever is recorded next is the last record.

A connection that does not finish sending its request's head in ``header_s``
seconds is closed; the body has a time limit of its own.
"""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import ClassVar

import uvicorn
from httptools import HttpParserError
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from appliance.settings import ServerSettings

MAX_HEAD_BYTES = 65_536
"""Largest request line and headers together. Unit: bytes."""

HEADER_OVERHEAD_BYTES = 64
"""What a header counts beside its text, as it takes memory even when empty."""

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
        settings: ServerSettings,
        on_stop: Callable[[], object],
        end_streams: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_protocol(settings),
                ws="none",
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


def _protocol(settings: ServerSettings) -> type[HttpToolsProtocol]:
    """Return the protocol with the limits of this host."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = {
        "header_s": float(settings.header_s),
        "most_connections": max(1, min(settings.connections, most - SPARE_DESCRIPTORS)),
    }
    return type("LimitedProtocol", (PatientProtocol,), limits)


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol; closes a connection whose head is slow or too large."""

    header_s: ClassVar[float] = 10.0
    """How long the head of a request may take. Unit: seconds."""

    most_connections: ClassVar[int] = 1_024
    """Connections open at once; one more is closed as it comes."""

    _waiting: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            # Answering 503 would keep the descriptor; too few of them, and the
            # loop could accept nobody at all.
            transport.abort()
            return
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes in, unless the head they belong to has grown too large."""
        cycle: RequestResponseCycle | None = self.cycle
        idle = cycle is None or cycle.response_complete
        if idle and self._waiting is None:
            self._wait_for_head()
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin to count the bytes of a new request's head."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the target in, unless it has grown too large."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header or a trailer in, unless there have been too many."""
        self._count(len(name) + len(value) + HEADER_OVERHEAD_BYTES)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop waiting: the head is here."""
        self._head_came()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting: nothing more will come."""
        self._head_came()
        super().connection_lost(exc)

    def _count(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.abort()
            raise HttpParserError("the head of the request is too large")

    def _wait_for_head(self) -> None:
        self._waiting = self.loop.call_later(self.header_s, self._give_up)

    def _head_came(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        self.transport.close()
