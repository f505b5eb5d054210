"""``POST /v1/chat/completions``, streamed and whole.

Errors before the first piece are plain HTTP answers; later ones are an error event.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.responses import JSONResponse

from appliance.api.completion import (
    Heading,
    TextEvents,
    chunk,
    completion,
    usage_chunk,
)
from appliance.api.errors import error_body
from appliance.api.exchange import Exchange
from appliance.api.schemas import parse_chat_request
from appliance.api.sse import DONE, event
from appliance.engine.port import Piece
from appliance.request_steps.model_requests import ChatRequest
from appliance.request_steps.parts import Admitted
from bundleformat.errors import Error


class ChatExchange(Exchange[ChatRequest]):
    """One chat completion and its answer."""

    _with_usage = False

    def parse(self, body: bytes) -> ChatRequest:
        """Return what ``body`` asks for."""
        parsed, self._with_usage = parse_chat_request(body, settings=self._settings)
        return parsed

    async def write(self, admitted: Admitted[ChatRequest]) -> None:
        """Have the answer generated, and write it."""
        async with aclosing(self._flow.generate(admitted)) as pieces:
            if admitted.request.stream:
                await self._stream(admitted, pieces)
            else:
                await self._whole(admitted, pieces)

    async def _whole(
        self, admitted: Admitted[ChatRequest], pieces: AsyncIterator[Piece]
    ) -> None:
        held: list[Piece] = []
        try:
            held.extend([piece async for piece in pieces])
        except Error as error:
            await self.refuse(error)
            return
        last = held[-1]
        body = completion(
            self._heading(admitted),
            text="".join(piece.text for piece in held),
            finish_reason=last.finish_reason,
            usage=last.usage,
        )
        response = JSONResponse(body, headers=self.headers(admitted))
        await response(self._scope, self._receive, self._send)

    async def _stream(
        self, admitted: Admitted[ChatRequest], pieces: AsyncIterator[Piece]
    ) -> None:
        try:
            first = await anext(pieces)
        except Error as error:
            await self.refuse(error)
            return
        await self._start(admitted)
        heading = self._heading(admitted)
        await self.send(
            event(
                chunk(
                    heading,
                    delta={"role": "assistant", "content": ""},
                    with_usage=self._with_usage,
                )
            )
        )
        texts = TextEvents(heading, with_usage=self._with_usage)
        try:
            await self.send(self._events(heading, texts, first))
            async for piece in pieces:
                await self.send(self._events(heading, texts, piece))
        except Error as error:
            await self.send(event(error_body(error)))
        await self.end()

    async def _start(self, admitted: Admitted[ChatRequest]) -> None:
        headers = {
            **self.headers(admitted),
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
        }
        await self.start(headers)

    def _events(self, heading: Heading, texts: TextEvents, piece: Piece) -> bytes:
        """Return the events of one piece; the last piece also ends the stream."""
        parts = [texts.event(piece.text)] if piece.text else []
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

    def _heading(self, admitted: Admitted[ChatRequest]) -> Heading:
        facts = admitted.model.facts
        return Heading(
            request_id=self.request_id,
            created_s=self._created_s,
            model=facts.name,
            fingerprint=f"fp_{facts.sha256[:12]}",
            service_tier=admitted.reserved.service_tier,
        )
