"""One connection of the HTTP server, and what it may hold.

A connection that does not finish sending its request's head in time is closed; so
is one whose client leaves an answer unread. What the doorman turns away is answered
from here. The application begins one request in each turn of the loop, so that a
crowd of them holds up neither the streams nor those who are turned away.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, cast

from httptools import HttpParserError
from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

MAX_HEAD_BYTES = 65_536
"""Largest request line and headers together. Unit: bytes."""

HEADER_OVERHEAD_BYTES = 64
"""What a header counts beside its text, as it takes memory even when empty."""


UNSENT_BYTES = 32_768
"""What may wait for a client to read it, before whoever writes has to wait.

The kernel holds as much again for each connection as ``serve_flow`` lets it.
"""


class Starts:
    """Requests that the application has yet to begin, in the order they came."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def add(self, begin: Callable[[], None]) -> None:
        """Have ``begin`` called in a turn of the loop of its own."""
        self._waiting.append(begin)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        begin = self._waiting.popleft()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._begin)
        begin()


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits; made for one server by ``of_server``."""

    doorman: ClassVar[Callable[[Scope], Response | None]]
    """Answers what need not go on to the application."""

    starts: ClassVar[Starts]
    """What goes on to it."""

    header_s: ClassVar[float] = 10.0
    """How long the head of a request may take. Unit: seconds."""

    write_s: ClassVar[float] = 60.0
    """How long a client may leave what was written unread. Unit: seconds."""

    most_connections: ClassVar[int] = 1_024
    """Connections open at once; one more is closed as it comes."""

    _waiting: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _head_bytes = 0

    @classmethod
    def of_server(
        cls,
        *,
        doorman: Callable[[Scope], Response | None],
        header_s: float,
        write_s: float,
        most_connections: int,
    ) -> "type[PatientProtocol]":
        """Return the protocol with the limits and the doorman of one server."""
        own = {
            "doorman": staticmethod(doorman),
            "starts": Starts(),
            "header_s": header_s,
            "write_s": write_s,
            "most_connections": most_connections,
        }
        return type("LimitedProtocol", (cls,), own)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            # Answering 503 would keep the descriptor; too few of them, and the
            # loop could accept nobody at all.
            transport.abort()
            return
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
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

    def on_response_complete(self) -> None:
        """Let the client read the rest, but not for ever."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._wait_for_reader()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that brings no further request."""
        super().timeout_keep_alive_handler()
        self._wait_for_reader()

    def pause_writing(self) -> None:
        """Wait for the client to read what was written."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """Stop waiting: the client has read."""
        super().resume_writing()
        self._reader_came()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting: nothing more will come or go."""
        self._head_came()
        self._reader_came()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - uvicorn's own type is private
        """Answer at once what the doorman turns away; have the rest begun in turn.

        Requests that were sent ahead of answers go to the application one by one.
        """
        ahead = bool(self.pipeline)
        answer = None if ahead else type(self).doorman(cast("Scope", cycle.scope))
        if answer is None:
            begin = super()._start_asgi_task
            self.starts.add(lambda: begin(cycle, app))
            return
        parts = [STATUS_LINE[answer.status_code]]
        for name, value in answer.raw_headers:
            parts += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            parts.append(b"connection: close\r\n")
        self.transport.write(b"".join((*parts, b"\r\n", answer.body)))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

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
        self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(self.write_s, self.transport.abort)

    def _reader_came(self) -> None:
        # Of a connection that is being closed, only its end will do.
        if self._unread is not None and not self.transport.is_closing():
            self._unread.cancel()
            self._unread = None
