"""One request to a model and its answer, whatever it asks for.

Carries a call through the request flow and has what it yields written. A client
that goes away cancels the request at once, whether it streams or waits.
"""

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar, Generic

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from appliance.api.body import announced_bytes, read_json_body
from appliance.api.credential import bearer_credential
from appliance.api.errors import error_response
from appliance.clock import Clock
from appliance.model_requests import Asked
from appliance.request_flow import RequestFlow
from appliance.request_parts import Admitted, Call, Entered
from appliance.request_time import HEADER
from appliance.settings import Settings
from bundleformat.errors import Error


class Exchange(ABC, Generic[Asked]):
    """One request and its answer.

    Attributes:
        ID_PREFIX: What the names of such requests begin with.
        request_id: Names it in headers, in the engine and in the ledger.
    """

    ID_PREFIX: ClassVar[str]

    def __init__(
        self,
        *,
        flow: RequestFlow,
        settings: Settings,
        created_s: int,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self.request_id = f"{self.ID_PREFIX}-{uuid.uuid4().hex}"
        self._flow = flow
        self._settings = settings
        self._created_s = created_s
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request = Request(scope, receive)
        self._body_read = asyncio.Event()
        self._entered: Entered[Asked] | None = None

    @abstractmethod
    def parse(self, body: bytes) -> Asked:
        """Return what ``body`` asks for.

        Raises:
            RequestRefusedError: It is not what this endpoint takes.
        """

    @abstractmethod
    async def write(self, admitted: Admitted[Asked]) -> None:
        """Have the admitted request worked on, and write its answer.

        Raises:
            TimeoutError: The client does not read.
        """

    async def until_disconnect(self) -> None:
        """Return when the client is gone; never before its body was read."""
        await self._body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def enter(self) -> Entered[Asked] | None:
        """Return the call if it may be served; else it has been answered."""
        try:
            self._entered = await self._flow.enter(self._call())
        except Error as error:
            await self.refuse(error)
        return self._entered

    async def answer(self, entered: Entered[Asked]) -> None:
        """Write the whole answer, whatever it is."""
        try:
            admitted = await self._flow.admit(entered)
        except Error as error:
            await self.refuse(error)
            return
        try:
            await self.write(admitted)
        except TimeoutError:
            # A client that reads nothing holds an engine no longer: its request
            # was cancelled and recorded when the pieces were closed.
            return

    async def refuse(self, error: Error) -> None:
        """Write ``error`` as the whole answer."""
        response = error_response(
            error, request_id=self.request_id, headers=self._told()
        )
        await response(self._scope, self._receive, self._send)

    async def start(self, headers: dict[str, str]) -> None:
        """Begin an answer that is written bit by bit."""
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def send(self, data: bytes) -> None:
        """Write some of the answer.

        Raises:
            TimeoutError: The client does not read.
        """
        async with asyncio.timeout(self._settings.server.write_s):
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
            **self._told(),
        }

    def _told(self) -> Mapping[str, str]:
        """Return what the answer says of limits and time, once those are known."""
        return {} if self._entered is None else self._flow.headers(self._entered)

    def _call(self) -> Call[Asked]:
        headers = self._request.headers
        size = announced_bytes(headers)
        most = self._settings.server.body_bytes
        return Call(
            request_id=self.request_id,
            credential=bearer_credential(headers),
            class_headers=tuple(headers.getlist("x-data-class")),
            region_headers=tuple(headers.getlist("x-data-region")),
            timeout_header=headers.get(HEADER),
            body_bytes=most if size is None else min(size, most),
            text_bytes=size or 0,
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
        flow: RequestFlow,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._exchange = exchange
        self._flow = flow
        self._settings = settings
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or stop working on it when its client is gone."""
        exchange = self._exchange(
            flow=self._flow,
            settings=self._settings,
            created_s=int(self._clock.now().timestamp()),
            scope=scope,
            receive=receive,
            send=send,
        )
        entered = await exchange.enter()
        if entered is None:
            return
        try:
            await _until_gone(exchange.answer(entered), exchange.until_disconnect())
        finally:
            self._flow.leave(entered)


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
