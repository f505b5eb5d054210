"""An engine without a process: scripted pieces, scripted failures, a full record.

It keeps the contract of ``appliance.engine.port.Engine`` (one test suite runs on
this fake and on the real engine), counts a prompt's tokens as its words, and
writes down what was asked of it in the order in which it was asked.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from appliance.engine.embedding import Inputs, Vectors
from appliance.engine.port import FinishReason, Message, Piece, Sampling, Ticket, Usage
from appliance.errors import (
    ContextLengthError,
    EngineUnavailableError,
    OverloadedError,
    QueueTimeoutError,
    UnsuitableModelError,
)
from bundleformat.errors import Error


@dataclass
class FakeEngine:
    """One pretended model.

    Attributes:
        pieces: What every answer consists of, one token each.
        finish_reason: Reason given when all pieces were yielded.
        prepare_error: Raised by every ``prepare`` while it is set.
        generate_error: Raised by ``generate`` instead of its first piece.
        dies_after: Pieces after which the process "dies"; None for never.
        gate: When set to an Event, ``generate`` waits for it before each piece
            except the first.
        slow_prepare: When set to an Event, ``prepare`` waits for it.
        context_tokens: Prompt and answer of one request.
        places: Requests held at once.
        default_max_tokens: New tokens when the request names no number.
    """

    pieces: tuple[str, ...] = ("Hello", ", ", "world", ".")
    finish_reason: FinishReason = "stop"
    prepare_error: Error | None = None
    generate_error: Error | None = None
    dies_after: int | None = None
    gate: asyncio.Event | None = None
    slow_prepare: asyncio.Event | None = None
    context_tokens: int = 4_096
    places: int = 16
    default_max_tokens: int = 512
    events: list[tuple[str, str]] = field(default_factory=list)
    """``("prepare" | "generate" | "cancel" | "finish" | "die", request_id)``."""
    asked: dict[str, tuple[Message, ...]] = field(default_factory=dict)
    sampled: dict[str, Sampling] = field(default_factory=dict)
    tenants: dict[str, str] = field(default_factory=dict)
    standings: dict[str, tuple[int, int, float | None]] = field(default_factory=dict)
    """Weight, priority and deadline of each request."""
    _held: dict[str, Usage] = field(default_factory=dict)
    _ended: dict[str, Usage] = field(default_factory=dict)
    _cancelled: dict[str, asyncio.Event] = field(default_factory=dict)

    @property
    def open_requests(self) -> tuple[str, ...]:
        """Request ids that hold a place now."""
        return tuple(self._held)

    def ids(self, kind: str) -> tuple[str, ...]:
        """Request ids of one kind of event, in order."""
        return tuple(name for event, name in self.events if event == kind)

    async def prepare(
        self,
        request_id: str,
        *,
        tenant: str,
        messages: tuple[Message, ...],
        sampling: Sampling,
        weight: int = 1,
        priority: int = 0,
        deadline_s: float | None = None,
    ) -> Ticket:
        """Hold a place, or raise what was scripted."""
        self.events.append(("prepare", request_id))
        self.asked[request_id] = messages
        self.sampled[request_id] = sampling
        self.tenants[request_id] = tenant
        self.standings[request_id] = (weight, priority, deadline_s)
        if self.slow_prepare is not None:
            await self.slow_prepare.wait()
        if self.prepare_error is not None:
            raise self.prepare_error
        if len(self._held) >= self.places:
            raise OverloadedError("the queue is full", retry_after_s=1)
        prompt = sum(len(message.content.split()) for message in messages) or 1
        room = self.context_tokens - prompt
        new = sampling.max_tokens or max(1, min(self.default_max_tokens, room))
        if new > room:
            raise ContextLengthError(
                limit_tokens=self.context_tokens, prompt_tokens=prompt, new_tokens=new
            )
        self._held[request_id] = Usage(prompt_tokens=prompt, completion_tokens=0)
        return Ticket(request_id=request_id, prompt_tokens=prompt, max_new_tokens=new)

    async def generate(self, ticket: Ticket) -> AsyncIterator[Piece]:
        """Yield the scripted pieces; the place is freed when the consumer stops."""
        request_id = ticket.request_id
        self.events.append(("generate", request_id))
        if request_id not in self._held:
            raise QueueTimeoutError("the place is not held any more", retry_after_s=1)
        try:
            if self.generate_error is not None:
                raise self.generate_error
            async for piece in self._pieces(ticket):
                yield piece
        finally:
            self._free(request_id)

    async def _pieces(self, ticket: Ticket) -> AsyncIterator[Piece]:
        request_id = ticket.request_id
        script = self.pieces[: ticket.max_new_tokens] or ("",)
        for number, text in enumerate(script, start=1):
            if self.dies_after is not None and number > self.dies_after:
                self.events.append(("die", request_id))
                raise EngineUnavailableError("the engine process died")
            if self.gate is not None and number > 1:
                await self._open_or_cancelled(self.gate, request_id)
            if request_id not in self._held:
                return
            usage = Usage(prompt_tokens=ticket.prompt_tokens, completion_tokens=number)
            self._held[request_id] = usage
            await asyncio.sleep(0)
            if number < len(script):
                yield Piece(text=text)
                continue
            cut = len(script) < len(self.pieces)
            self._free(request_id)
            self.events.append(("finish", request_id))
            reason: FinishReason = "length" if cut else self.finish_reason
            yield Piece(text=text, finish_reason=reason, usage=usage)

    async def prepare_inputs(
        self,
        request_id: str,
        *,
        tenant: str,
        inputs: Inputs,
        dimensions: int | None,
        weight: int = 1,
    ) -> Ticket:
        """Refuse, as an engine does whose model writes text."""
        del tenant, inputs, dimensions, weight
        self.events.append(("prepare", request_id))
        raise UnsuitableModelError("this model writes text", param="model")

    def embed(self, ticket: Ticket) -> AsyncIterator[Vectors]:
        """Refuse: nobody holds such a place."""
        raise OverloadedError(f"{ticket.request_id} is not held", retry_after_s=1)

    async def cancel(self, request_id: str) -> Usage:
        """Free the place; the usage of a request never seen is zero."""
        self.events.append(("cancel", request_id))
        self._free(request_id)
        return self._ended.get(request_id, Usage(prompt_tokens=0, completion_tokens=0))

    async def _open_or_cancelled(self, gate: asyncio.Event, request_id: str) -> None:
        opened = asyncio.ensure_future(gate.wait())
        gone = asyncio.ensure_future(
            self._cancelled.setdefault(request_id, asyncio.Event()).wait()
        )
        try:
            await asyncio.wait({opened, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
            gone.cancel()

    def _free(self, request_id: str) -> None:
        usage = self._held.pop(request_id, None)
        if usage is not None:
            self._ended[request_id] = usage
        if request_id in self._cancelled:
            self._cancelled.pop(request_id).set()
