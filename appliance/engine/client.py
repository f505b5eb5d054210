"""The gateway's end of one connection to one engine process.

It turns method calls into frames and frames into pieces, and lives as long as
the process at the other end. When the connection ends, every caller still
waiting gets ``EngineUnavailableError``; nothing is retried here.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from appliance.engine import protocol as wire
from appliance.engine.port import Message, Piece, Sampling, Ticket, Usage
from appliance.errors import (
    ContextLengthError,
    EngineUnavailableError,
    OverloadedError,
    RequestRefusedError,
)
from bundleformat.errors import ConflictError, Error, LimitExceededError, MalformedError

ENDED_REMEMBERED = 1_024
"""Requests whose final usage is kept, so that a late ``cancel`` can tell it."""

_NOTHING = Usage(prompt_tokens=0, completion_tokens=0)


@dataclass(kw_only=True, slots=True)
class _Call:
    """One request as the gateway sees it."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    inbox: asyncio.Queue[wire.Delta | Error | None] = field(
        default_factory=asyncio.Queue
    )
    """Deltas, then nothing after a finish reason, an error, or None if cancelled."""
    prepared: asyncio.Future[Ticket]
    usage: Usage = _NOTHING
    cancelling: bool = False


class EngineClient:
    """One connection; made by the supervisor, gone with its process.

    ``ended`` outlives the connection: the final usage of recent requests.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        ended: dict[str, Usage],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._calls: dict[str, _Call] = {}
        self._ended = ended
        self._stats: list[asyncio.Future[wire.Stats]] = []
        self._lost: Error | None = None

    async def load(self, order: wire.Load) -> wire.Ready:
        """Have the process load its model; the first exchange on a connection.

        Raises:
            EngineUnavailableError: The model cannot be served, or the process
                died on it.
        """
        self._send(order)
        report = await self._receive()
        if isinstance(report, wire.Ready):
            return report
        if isinstance(report, wire.LoadFailed):
            raise EngineUnavailableError(report.problem)
        raise EngineUnavailableError("the process died while it loaded the model")

    async def run(self) -> None:
        """Hand out reports until the connection ends, then fail who still waits."""
        try:
            while (report := await self._receive()) is not None:
                self._hand_out(report)
        finally:
            self.fail("the engine process ended")

    async def prepare(
        self,
        request_id: str,
        *,
        tenant: str,
        messages: tuple[Message, ...],
        sampling: Sampling,
    ) -> Ticket:
        """Hold a place; see :class:`appliance.engine.port.Engine`."""
        self._check_alive()
        if request_id in self._calls:
            raise ConflictError(
                "a request of that id is being served", where=request_id
            )
        call = _Call(prepared=asyncio.get_running_loop().create_future())
        self._calls[request_id] = call
        try:
            self._send(
                wire.Prepare(
                    request_id=request_id,
                    tenant=tenant,
                    messages=messages,
                    sampling=sampling,
                )
            )
            with contextlib.suppress(OSError):
                await self._writer.drain()
            return await call.prepared
        except (LimitExceededError, MalformedError) as error:
            self._end(request_id, call.usage)
            raise RequestRefusedError(error.problem, param="messages") from error
        except asyncio.CancelledError:
            self._ask_to_end(request_id, call=call)
            raise

    async def generate(self, ticket: Ticket) -> AsyncGenerator[Piece, None]:
        """Start the request and yield its pieces."""
        call = self._calls.get(ticket.request_id)
        if call is None and ticket.request_id in self._ended:
            raise OverloadedError("the place is not held any more", retry_after_s=1)
        if call is None:
            raise EngineUnavailableError("the engine was started again")
        try:
            self._send(wire.Start(request_id=ticket.request_id))
            while (delta := await call.inbox.get()) is not None:
                if isinstance(delta, Error):
                    raise delta
                yield _piece(delta, ticket)
                if delta.finish_reason is not None:
                    return
        finally:
            self._ask_to_end(ticket.request_id, call=call)

    async def cancel(self, request_id: str) -> Usage:
        """End a request; harmless if it has ended or the process is gone."""
        call = self._calls.get(request_id)
        if call is None:
            return self._ended.get(request_id, _NOTHING)
        self._ask_to_end(request_id, call=call)
        await call.ended.wait()
        return call.usage

    async def stats(self) -> wire.Stats:
        """Return the engine's counts.

        Raises:
            EngineUnavailableError: The process is gone.
        """
        answer: asyncio.Future[wire.Stats] = asyncio.get_running_loop().create_future()
        self._stats.append(answer)
        self._send(wire.AskStats())
        return await answer

    def fail(self, problem: str) -> None:
        """End every call with ``EngineUnavailableError``; nothing is sent any more."""
        if self._lost is None:
            self._lost = EngineUnavailableError(problem)
            self._writer.close()
        for request_id in tuple(self._calls):
            self._finish_with(request_id, EngineUnavailableError(problem))
        while self._stats:
            _set_error(self._stats.pop(), EngineUnavailableError(problem))

    async def closed(self) -> None:
        """Return when the connection is closed; ``fail`` closes it."""
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _check_alive(self) -> None:
        if self._lost is not None:
            raise EngineUnavailableError(self._lost.problem)

    def _send(self, order: wire.Order) -> None:
        self._check_alive()
        self._writer.write(wire.encode(order))

    async def _receive(self) -> wire.Report | None:
        """Return the next report, or None when the connection ended or broke."""
        try:
            head = await self._reader.readexactly(wire.LENGTH_BYTES)
            length = wire.check_length(int.from_bytes(head, "big"))
            return wire.decode_report(await self._reader.readexactly(length))
        except (
            asyncio.IncompleteReadError,
            LimitExceededError,
            MalformedError,
            OSError,
        ):
            return None

    def _ask_to_end(self, request_id: str, *, call: _Call) -> None:
        """Cancel ``call`` once, and never a later one of the same id."""
        if self._calls.get(request_id) is call and not call.cancelling:
            call.cancelling = True
            with contextlib.suppress(EngineUnavailableError):
                self._send(wire.Cancel(request_id=request_id))

    def _hand_out(self, report: wire.Report) -> None:
        match report:
            case wire.Step(deltas=deltas):
                for delta in deltas:
                    self._continue(delta)
            case wire.Prepared():
                self._hold(report)
            case wire.Ended():
                self._leave(report)
            case wire.TooLong() | wire.Refused() | wire.Overloaded():
                self._finish_with(report.request_id, _refusal(report))
            case wire.Stats() if self._stats:
                answer = self._stats.pop(0)
                if not answer.done():
                    answer.set_result(report)

    def _hold(self, report: wire.Prepared) -> None:
        call = self._calls.get(report.request_id)
        if call is None or call.prepared.done():
            return
        call.usage = Usage(prompt_tokens=report.prompt_tokens, completion_tokens=0)
        call.prepared.set_result(
            Ticket(
                request_id=report.request_id,
                prompt_tokens=report.prompt_tokens,
                max_new_tokens=report.max_new_tokens,
            )
        )

    def _continue(self, delta: wire.Delta) -> None:
        call = self._calls.get(delta.request_id)
        if call is None:
            return
        call.usage = Usage(
            prompt_tokens=call.usage.prompt_tokens,
            completion_tokens=delta.completion_tokens,
        )
        call.inbox.put_nowait(delta)
        if delta.finish_reason is not None:
            self._end(delta.request_id, call.usage)

    def _leave(self, report: wire.Ended) -> None:
        call = self._calls.get(report.request_id)
        if call is None:
            return
        call.usage = Usage(
            prompt_tokens=report.prompt_tokens,
            completion_tokens=report.completion_tokens,
        )
        _set_error(call.prepared, EngineUnavailableError("the request was cancelled"))
        call.inbox.put_nowait(None)
        self._end(report.request_id, call.usage)

    def _finish_with(self, request_id: str, error: Error) -> None:
        call = self._calls.get(request_id)
        if call is None:
            return
        _set_error(call.prepared, error)
        call.inbox.put_nowait(error)
        self._end(request_id, call.usage)

    def _end(self, request_id: str, usage: Usage) -> None:
        self._calls.pop(request_id).ended.set()
        self._ended[request_id] = usage
        if len(self._ended) > ENDED_REMEMBERED:
            del self._ended[next(iter(self._ended))]


def _piece(delta: wire.Delta, ticket: Ticket) -> Piece:
    if delta.finish_reason is None:
        return Piece(text=delta.text)
    usage = Usage(
        prompt_tokens=ticket.prompt_tokens, completion_tokens=delta.completion_tokens
    )
    return Piece(text=delta.text, finish_reason=delta.finish_reason, usage=usage)


def _refusal(report: wire.TooLong | wire.Refused | wire.Overloaded) -> Error:
    match report:
        case wire.TooLong():
            return ContextLengthError(
                limit_tokens=report.limit_tokens,
                prompt_tokens=report.prompt_tokens,
                new_tokens=report.new_tokens,
            )
        case wire.Refused():
            return RequestRefusedError(report.problem, param=report.param)
        case wire.Overloaded():
            return OverloadedError(report.problem, retry_after_s=report.retry_after_s)


def _set_error(future: "asyncio.Future[Any]", error: Error) -> None:
    """Fail ``future`` unless it is done; nobody has to look at the error."""
    if not future.done():
        future.set_exception(error)
        future.exception()
