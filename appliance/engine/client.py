"""The gateway's end of one connection to one engine process.

It turns method calls into frames and frames into pieces, and lives as long as
the process at the other end. When the connection ends, every caller still
waiting gets ``EngineUnavailableError``; nothing is retried here. What can be
refused by its size, or because every place is taken, is refused without asking
the process, whose time belongs to the requests it serves.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from appliance.engine import protocol as wire
from appliance.engine.embedding import Vectors
from appliance.engine.endings import NOTHING, Endings
from appliance.engine.line import Line
from appliance.engine.port import Piece, Ticket, Usage
from appliance.engine.refusals import check_kind, check_size
from appliance.engine.scheduling.admission import (
    RETRY_AFTER_S,
)
from appliance.engine.translate import (
    joined,
    piece,
    prepare_frame,
    refusal,
    vectors,
)
from appliance.errors import (
    EngineUnavailableError,
    OverloadedError,
    QueueTimeoutError,
)
from bundleformat.errors import ConflictError, Error, LimitExceededError, MalformedError


@dataclass(kw_only=True, slots=True)
class _Call:
    """One request as the gateway sees it."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    inbox: asyncio.Queue[wire.Delta | wire.Part | Error | None] = field(
        default_factory=asyncio.Queue
    )
    """Deltas or parts; nothing comes after the last, an error, or None if cancelled."""
    prepared: asyncio.Future[Ticket]
    usage: Usage = NOTHING
    cancelling: bool = False


class EngineClient:
    """One connection; made by the supervisor, gone with its process.

    ``endings`` outlives the connection. A process that owes an answer for longer
    than ``reply_timeout_s`` loses the connection.

    Attributes:
        process_ended: Whether the process went away while it loaded its model,
            instead of saying why it does not serve it.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        endings: Endings,
        reply_timeout_s: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._calls: dict[str, _Call] = {}
        self._endings = endings
        self._line = Line(
            send=writer.write,
            reply_timeout_s=reply_timeout_s,
            late=lambda: self.fail("the engine did not answer in time"),
        )
        self._ready: wire.Ready | None = None
        self._places = 0
        self._stats: list[asyncio.Future[wire.Stats]] = []
        self._lost: Error | None = None
        self.process_ended = False
        endings.next_process()

    @property
    def problem(self) -> str:
        """Why the connection ended, or an empty string."""
        return "" if self._lost is None else self._lost.problem

    @property
    def open_requests(self) -> int:
        """Requests that hold a place or wait for one, also to be counted."""
        return len(self._calls)

    async def load(self, order: wire.Load) -> wire.Ready:
        """Have the process load its model; the first exchange on a connection.

        Raises:
            EngineUnavailableError: The model cannot be served, or the process
                died on it.
        """
        self._send(order)
        report = await self._receive()
        if isinstance(report, wire.Ready):
            self._ready = report
            self._places = report.sequences + order.limits.queued_requests
            return report
        if isinstance(report, wire.LoadFailed):
            raise EngineUnavailableError(report.problem)
        self.process_ended = True
        raise EngineUnavailableError("the process died while it loaded the model")

    async def run(self) -> None:
        """Hand out reports until the connection ends, then fail who still waits."""
        try:
            while (report := await self._receive()) is not None:
                self._hand_out(report)
        finally:
            self.fail("the engine process ended")

    async def prepare(self, order: wire.Prepare | wire.PrepareInputs) -> Ticket:
        """Hold a place; see ``port.Engine`` and ``embedding.Embedder``.

        The caller waits in line; cancelling it frees the place at once.
        """
        request_id = order.request_id
        self._check_alive()
        if request_id in self._calls:
            raise ConflictError(
                "a request of that id is being served", where=request_id
            )
        if self._ready is not None:
            check_kind(order, ready=self._ready)
            check_size(order, ready=self._ready)
        self._check_place()
        frame = prepare_frame(order)
        call = _Call(prepared=asyncio.get_running_loop().create_future())
        self._calls[request_id] = call
        self._line.join(request_id, frame)
        try:
            # Shielded: its turn in the line ends with its answer, not with its caller.
            return await asyncio.shield(call.prepared)
        except asyncio.CancelledError:
            self._ask_to_end(request_id, call=call)
            raise

    async def generate(self, ticket: Ticket) -> AsyncGenerator[Piece, None]:
        """Start the request and yield its pieces."""
        call = self._held(ticket.request_id)
        try:
            self._send(wire.Start(request_id=ticket.request_id))
            while True:
                # A gateway that is behind sends in one piece what waits for it.
                items = [await call.inbox.get()]
                while not call.inbox.empty():
                    items.append(call.inbox.get_nowait())
                if deltas := [each for each in items if isinstance(each, wire.Delta)]:
                    yield piece(joined(deltas), ticket)
                    if deltas[-1].finish_reason is not None:
                        return
                if isinstance(items[-1], Error):
                    raise items[-1]
                if items[-1] is None:
                    return
        finally:
            self._ask_to_end(ticket.request_id, call=call)

    async def embed(self, ticket: Ticket) -> AsyncGenerator[Vectors, None]:
        """Start the request and yield its vectors."""
        call = self._held(ticket.request_id)
        try:
            self._send(wire.Start(request_id=ticket.request_id))
            while (part := await call.inbox.get()) is not None:
                if isinstance(part, Error):
                    raise part
                if isinstance(part, wire.Part):
                    yield vectors(part, ticket)
                    if part.last:
                        return
        finally:
            self._ask_to_end(ticket.request_id, call=call)

    async def cancel(self, request_id: str) -> Usage:
        """End a request; harmless if it has ended or the process is gone."""
        call = self._calls.get(request_id)
        if call is None:
            return self._endings.usage(request_id)
        self._ask_to_end(request_id, call=call)
        await call.ended.wait()
        return call.usage

    def use_threads(self, threads: int) -> None:
        """Have the process compute with so many threads; harmless if it is gone."""
        with contextlib.suppress(EngineUnavailableError):
            self._send(wire.UseThreads(threads=threads))

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
            self._line.close()
            # What is unsent is dropped: a process that hangs would never take it.
            self._writer.transport.abort()
        for request_id in tuple(self._calls):
            self._finish_with(request_id, EngineUnavailableError(problem))
        while self._stats:
            _set_error(self._stats.pop(), EngineUnavailableError(problem))

    async def closed(self) -> None:
        """Return when the connection is closed; ``fail`` closes it."""
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _held(self, request_id: str) -> _Call:
        """Return the call that holds a place.

        Raises:
            QueueTimeoutError: The place has been given up.
            EngineUnavailableError: The process that had it is gone.
        """
        call = self._calls.get(request_id)
        if call is None:
            self._check_alive()
            if self._endings.in_this_process(request_id):
                raise _timed_out("the place is not held any more")
            raise EngineUnavailableError("the engine was started again")
        return call

    def _check_alive(self) -> None:
        if self._lost is not None:
            raise EngineUnavailableError(self._lost.problem)

    def _check_place(self) -> None:
        """Refuse what goes beyond the places, waiting in line or held."""
        taken = sum(not call.cancelling for call in self._calls.values())
        if taken >= self._places:
            raise OverloadedError("the queue is full", retry_after_s=RETRY_AFTER_S)

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
        if self._calls.get(request_id) is not call or call.cancelling:
            return
        call.cancelling = True
        if self._line.leave(request_id):
            self._finish_with(
                request_id, EngineUnavailableError("the request was cancelled")
            )
        else:
            with contextlib.suppress(EngineUnavailableError):
                self._send(wire.Cancel(request_id=request_id))

    def _hand_out(self, report: wire.Report) -> None:
        match report:
            case wire.Step(deltas=deltas):
                for delta in deltas:
                    self._continue(delta)
            case wire.Embedded(parts=parts):
                for part in parts:
                    self._add(part)
            case wire.Prepared():
                self._hold(report)
            case wire.Ended():
                self._leave(report)
            case wire.TooLong() | wire.Refused() | wire.Overloaded():
                self._turn_away(report)
            case wire.Stats() if self._stats:
                answer = self._stats.pop(0)
                if not answer.done():
                    answer.set_result(report)

    def _turn_away(self, report: wire.TooLong | wire.Refused | wire.Overloaded) -> None:
        call = self._calls.get(report.request_id)
        error = refusal(report)
        if call is not None and call.prepared.done():
            # A place that was held is only given up when it waited too long.
            error = _timed_out(error.problem)
        self._line.answered(report.request_id)
        self._finish_with(report.request_id, error)

    def _hold(self, report: wire.Prepared) -> None:
        self._line.answered(report.request_id)
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
            cached_tokens=delta.cached_tokens,
        )
        call.inbox.put_nowait(delta)
        if delta.finish_reason is not None:
            self._end(delta.request_id, call.usage)

    def _add(self, part: wire.Part) -> None:
        call = self._calls.get(part.request_id)
        if call is None:
            return
        call.inbox.put_nowait(part)
        if part.last:
            self._end(part.request_id, call.usage)

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
        self._endings.note(request_id, usage)


def _timed_out(problem: str) -> QueueTimeoutError:
    return QueueTimeoutError(problem, retry_after_s=RETRY_AFTER_S)


def _set_error(future: "asyncio.Future[Any]", error: Error) -> None:
    """Fail ``future`` unless it is done; nobody has to look at the error."""
    if not future.done():
        future.set_exception(error)
        future.exception()
