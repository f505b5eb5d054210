"""``POST /v1/chat/completions``, streamed and whole.

Carries a call through the request flow and writes what it yields. A client that
goes away cancels the request at once, whether it streams or waits. Errors
before the first piece are plain HTTP answers; later ones are an error event.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from appliance.api.body import read_json_body
from appliance.api.completion import Heading, chunk, completion, usage_chunk
from appliance.api.credential import bearer_credential
from appliance.api.errors import error_body, error_response
from appliance.api.schemas import parse_chat_request
from appliance.api.sse import DONE, event
from appliance.clock import Clock
from appliance.engine.port import Piece
from appliance.request_flow import Admitted, Call, ChatRequest, RequestFlow
from appliance.settings import ServerSettings
from bundleformat.errors import Error


class ChatCompletions:
    """The ASGI endpoint; one instance serves every request."""

    def __init__(
        self, *, flow: RequestFlow, settings: ServerSettings, clock: Clock
    ) -> None:
        self._flow = flow
        self._settings = settings
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or stop working on it when its client is gone."""
        exchange = _Exchange(
            flow=self._flow,
            settings=self._settings,
            created_s=int(self._clock.now().timestamp()),
            scope=scope,
            receive=receive,
            send=send,
        )
        work = asyncio.create_task(exchange.answer())
        watch = asyncio.create_task(exchange.until_disconnect())
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            if not work.done():
                work.cancel()
            await asyncio.wait({work, watch})
        if not work.cancelled():
            work.result()


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        *,
        flow: RequestFlow,
        settings: ServerSettings,
        created_s: int,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._flow = flow
        self._settings = settings
        self._created_s = created_s
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request = Request(scope, receive)
        self._request_id = f"chatcmpl-{uuid.uuid4().hex}"
        self._body_read = asyncio.Event()
        self._with_usage = False

    async def until_disconnect(self) -> None:
        """Return when the client is gone; never before its body was read."""
        await self._body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(self) -> None:
        """Write the whole answer, whatever it is."""
        try:
            admitted = await self._flow.admit(self._call())
        except Error as error:
            await self._refuse(error)
            return
        try:
            async with aclosing(self._flow.generate(admitted)) as pieces:
                if admitted.request.stream:
                    await self._stream(admitted, pieces)
                else:
                    await self._whole(admitted, pieces)
        except TimeoutError:
            # A client that reads nothing holds an engine no longer: its request
            # was cancelled and recorded when the pieces were closed.
            return

    def _call(self) -> Call:
        headers = self._request.headers
        return Call(
            request_id=self._request_id,
            credential=bearer_credential(headers),
            class_headers=tuple(headers.getlist("x-data-class")),
            region_headers=tuple(headers.getlist("x-data-region")),
            read_request=self._read_request,
        )

    async def _read_request(self) -> ChatRequest:
        body = await read_json_body(
            self._request,
            max_bytes=self._settings.body_bytes,
            timeout_s=self._settings.body_s,
        )
        self._body_read.set()
        parsed, self._with_usage = parse_chat_request(body, limits=self._settings)
        return parsed

    async def _refuse(self, error: Error) -> None:
        response = error_response(error, request_id=self._request_id)
        await response(self._scope, self._receive, self._send)

    async def _whole(self, admitted: Admitted, pieces: AsyncIterator[Piece]) -> None:
        held: list[Piece] = []
        try:
            held.extend([piece async for piece in pieces])
        except Error as error:
            await self._refuse(error)
            return
        last = held[-1]
        body = completion(
            self._heading(admitted),
            text="".join(piece.text for piece in held),
            finish_reason=last.finish_reason,
            usage=last.usage,
        )
        response = JSONResponse(body, headers=self._headers(admitted))
        async with asyncio.timeout(self._settings.write_s):
            await response(self._scope, self._receive, self._send)

    async def _stream(self, admitted: Admitted, pieces: AsyncIterator[Piece]) -> None:
        try:
            first = await anext(pieces)
        except Error as error:
            await self._refuse(error)
            return
        await self._start(admitted)
        heading = self._heading(admitted)
        await self._write(
            event(
                chunk(
                    heading,
                    delta={"role": "assistant", "content": ""},
                    with_usage=self._with_usage,
                )
            )
        )
        try:
            await self._write(self._events(heading, first))
            async for piece in pieces:
                await self._write(self._events(heading, piece))
        except Error as error:
            await self._write(event(error_body(error)))
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self, admitted: Admitted) -> None:
        headers = {
            **self._headers(admitted),
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(self._settings.write_s):
            await self._send(
                {"type": "http.response.body", "body": data, "more_body": True}
            )

    def _events(self, heading: Heading, piece: Piece) -> bytes:
        """Return the events of one piece; the last piece also ends the stream."""
        parts: list[bytes] = []
        if piece.text:
            delta = {"content": piece.text}
            parts.append(
                event(chunk(heading, delta=delta, with_usage=self._with_usage))
            )
        if piece.finish_reason is not None:
            last = chunk(
                heading,
                delta={},
                finish_reason=piece.finish_reason,
                with_usage=self._with_usage,
            )
            parts.append(event(last))
            if self._with_usage and piece.usage is not None:
                parts.append(event(usage_chunk(heading, piece.usage)))
            parts.append(DONE)
        return b"".join(parts)

    def _heading(self, admitted: Admitted) -> Heading:
        facts = admitted.model.facts
        return Heading(
            request_id=self._request_id,
            created_s=self._created_s,
            model=facts.name,
            fingerprint=f"fp_{facts.sha256[:12]}",
        )

    def _headers(self, admitted: Admitted) -> dict[str, str]:
        return {
            "x-request-id": self._request_id,
            "x-data-class": admitted.labels.data_class,
        }
