"""Steps 8 to 10 of a request, which ``request_flow`` numbers: it runs, it ends.

However the caller stops reading, the engine's cells are freed, the outcome is
recorded, and what the request held is given back.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from appliance.clock import Clock
from appliance.engine.embedding import Vectors
from appliance.engine.port import Piece, Ticket
from appliance.errors import (
    AuditUnavailableError,
    BodiesUnavailableError,
    EngineUnavailableError,
)
from appliance.ledger.records.events import Draft
from appliance.quota.moment import Moment
from appliance.quota.quota import Quota
from appliance.request_steps.parts import Admitted, Bodies, Entered, Ledger
from appliance.request_steps.patience import Cutoff, Turns, too_late
from bundleformat.errors import Error

Part = TypeVar("Part", Piece, Vectors)
"""What an answer is made of; the last part carries the usage."""


class RequestWork:
    """Has admitted requests worked on.

    Args:
        ledger: Where outcomes are recorded.
        bodies: Where captured answers are kept.
        clock: Tells both times.
        quota: What requests hold.
        wait_s: How long a request may wait for its team's turn.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        bodies: Bodies,
        clock: Clock,
        quota: Quota,
        wait_s: float,
    ) -> None:
        self._ledger = ledger
        self._bodies = bodies
        self._clock = clock
        self._quota = quota
        self._turns = Turns(wait_s=wait_s)

    async def carry(
        self,
        admitted: Admitted[Any],
        work: Callable[[Ticket], AsyncIterator[Part]],
    ) -> AsyncGenerator[Part]:
        """Yield what ``work`` makes for the request; the last of it once recorded.

        Raises:
            OverloadedError: The request waited longer than the queue allows.
            DeadlineError: Its time is over; what was yielded is valid.
            EngineUnavailableError: The engine died; what was yielded is valid.
            BodiesUnavailableError: The answer is to be captured and cannot be.
            AuditUnavailableError: The outcome could not be recorded.
        """
        ending = admitted.ending
        engine = admitted.model.engine
        try:
            async with self._running(admitted) as cutoff:
                ending.runs()
                # 8. generate
                async for part in work(admitted.ticket):
                    self._quota.begun(admitted.entered.hold)
                    ending.note(part)
                    if part.usage is not None:
                        # 9. llm.response is durable
                        await self._keep_answer(admitted)
                        await self._end(admitted, ending.finished(part))
                    # 10. the last piece leaves
                    yield part
            if not ending.recorded:
                raise _ended_early(cutoff)
        except AuditUnavailableError:
            raise
        except Error as error:
            usage = await engine.cancel(admitted.ticket.request_id)
            await self._keep_what_came(admitted)
            await self._end(admitted, ending.failed(error, usage))
            raise
        finally:
            if not ending.recorded:
                await asyncio.shield(self.abandon(admitted))
            self.leave(admitted.entered, used_tokens=ending.used_tokens)

    async def abandon(self, admitted: Admitted[Any]) -> None:
        """Cancel in the engine, then record that the caller went away."""
        usage = await admitted.model.engine.cancel(admitted.ticket.request_id)
        await self._keep_what_came(admitted)
        await self._end(admitted, admitted.ending.cancelled(usage))

    def leave(self, entered: Entered, *, used_tokens: int = 0) -> None:
        """Give back what a request holds; harmless when repeated."""
        at = Moment(ns=self._clock.monotonic_ns(), now=self._clock.now())
        self._quota.leave(entered.hold, used_tokens=used_tokens, at=at)

    def left_s(self, entered: Entered) -> float:
        """Return how much of a request's time is left. Unit: seconds."""
        age_ns = self._clock.monotonic_ns() - entered.progress.started_ns
        return entered.timeout_s - age_ns / 1e9

    def _running(self, admitted: Admitted[Any]) -> AbstractAsyncContextManager[Cutoff]:
        """Wait for the team's turn, and run until the request's time is over."""
        hold = admitted.entered.hold
        return self._turns.turn(
            hold.team,
            most=hold.allowed.running,
            engine=admitted.model.engine,
            request_id=admitted.ticket.request_id,
            left_s=lambda: self.left_s(admitted.entered),
        )

    async def _keep_answer(self, admitted: Admitted[Any]) -> None:
        """Return when the answer, as far as it is captured, is durable."""
        captured = admitted.entered.progress.captured
        body = captured and captured.response_body(
            team=admitted.entered.hold.team, request_id=admitted.ticket.request_id
        )
        if body:
            await self._bodies.keep(body)

    async def _keep_what_came(self, admitted: Admitted[Any]) -> None:
        """Keep an answer that ended early; that it ended is recorded in any case."""
        try:
            await self._keep_answer(admitted)
        except BodiesUnavailableError:
            captured = admitted.entered.progress.captured
            if captured is not None:
                captured.lose_response()

    async def _end(self, admitted: Admitted[Any], draft: Draft) -> None:
        admitted.ending.recorded = True
        admitted.entered.progress.receipt = await self._ledger.append(draft)


def _ended_early(cutoff: Cutoff) -> Error:
    if cutoff.over:
        return too_late()
    return EngineUnavailableError("the engine ended the answer early")
