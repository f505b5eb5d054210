"""One request to a model and its answer, whatever it asks for.

Carries a call through the request flow and has what it yields written. A client
that goes away cancels the request at once, whether it streams or waits.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Generic

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from appliance.api.body import read_json_body
from appliance.api.doorman import Doorman
from appliance.api.errors import error_response
from appliance.bodies.capture import HEADER
from appliance.clock import Clock
from appliance.request_flow import RequestFlow
from appliance.request_steps.model_requests import Asked
from appliance.request_steps.parts import Admitted, Call, Entered, TurnedAway
from appliance.request_steps.records import receipt_headers
from appliance.settings import Settings
from bundleformat.errors import Error


class Exchange(ABC, Generic[Asked]):
    """One request and its answer.

    Attributes:
        request_id: Names it in headers, in the engine and in the ledger.
    """

    def __init__(
        self,
        *,
        flow: RequestFlow,
        entered: Entered,
        settings: Settings,
        created_s: int,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self.request_id = entered.knock.request_id
        self._flow = flow
        self._entered = entered
        self._settings = settings
        self._created_s = created_s
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request = Request(scope, receive)
        self._body_read = asyncio.Event()

    @abstractmethod
    def parse(self, body: bytes) -> Asked:
        """Return what ``body`` asks for.

        Raises:
            RequestRefusedError: It is not what this endpoint takes.
        """

    @abstractmethod
    async def write(self, admitted: Admitted[Asked]) -> None:
        """Have the admitted request worked on, and write its answer."""

    async def until_disconnect(self) -> None:
        """Return when the client is gone; never before its body was read."""
        await self._body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(self) -> None:
        """Write the whole answer, whatever it is."""
        try:
            admitted = await self._flow.admit(self._entered, self._call())
        except Error as error:
            await self.refuse(error)
            return
        await self.write(admitted)

    async def refuse(self, error: Error) -> None:
        """Write ``error`` as the whole answer."""
        response = error_response(
            error,
            request_id=self.request_id,
            headers=self._flow.headers(self._entered),
        )
        await response(self._scope, self._receive, self._send)

    async def start(self, headers: dict[str, str]) -> None:
        """Begin an answer that is written bit by bit."""
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def send(self, data: bytes) -> None:
        """Write some of the answer, when the client has read what was before it.

        A client that reads nothing is cut off by the server, which cancels this.
        """
        await self._send(
            {"type": "http.response.body", "body": data, "more_body": True}
        )

    async def end(self) -> None:
        """Let the client know that the answer is complete."""
        await self._send({"type": "http.response.body", "body": b""})

    def headers(self, admitted: Admitted[Asked]) -> dict[str, str]:
        """Return the headers of every answer."""
        return {
            "x-request-id": self.request_id,
            "x-data-class": admitted.reserved.labels.data_class,
            **self._flow.headers(self._entered),
        }

    def _call(self) -> Call[Asked]:
        headers = self._request.headers
        return Call(
            class_headers=tuple(headers.getlist("x-data-class")),
            region_headers=tuple(headers.getlist("x-data-region")),
            capture_headers=tuple(headers.getlist(HEADER)),
            read_body=self._read_body,
            parse=self.parse,
        )

    async def _read_body(self) -> bytes:
        body = await read_json_body(
            self._request,
            max_bytes=self._settings.server.body_bytes,
            timeout_s=self._settings.server.body_s,
        )
        self._body_read.set()
        return body


class ModelEndpoint:
    """An ASGI endpoint that answers each request by an exchange of its own."""

    def __init__(
        self,
        exchange: Callable[..., Exchange[Any]],
        *,
        doorman: Doorman,
        flow: RequestFlow,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._exchange = exchange
        self._doorman = doorman
        self._flow = flow
        self._settings = settings
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or stop working on it when its client is gone."""
        entered = self._doorman.look(scope)
        if isinstance(entered, TurnedAway):
            error = await self._flow.turn_away(entered)
            progress = entered.progress
            response = error_response(
                error,
                request_id=progress.request_id,
                headers=receipt_headers(progress),
            )
            await response(scope, receive, send)
            return
        exchange = self._exchange(
            flow=self._flow,
            entered=entered,
            settings=self._settings,
            created_s=int(self._clock.now().timestamp()),
            scope=scope,
            receive=receive,
            send=send,
        )
        await _until_gone(exchange.answer(), exchange.until_disconnect())


async def _until_gone(
    answering: Coroutine[Any, Any, None], gone: Coroutine[Any, Any, None]
) -> None:
    """Answer, unless the client goes away first; then stop working on it."""
    work = asyncio.create_task(answering)
    watch = asyncio.create_task(gone)
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watch.cancel()
        if not work.done():
            work.cancel()
        await asyncio.wait({work, watch})
    if not work.cancelled():
        work.result()
