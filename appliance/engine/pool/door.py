"""The engine of a model as callers see it, whether it is loaded or not."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from appliance.engine.embedding import Inputs, Vectors
from appliance.engine.pool.seat import Seat
from appliance.engine.port import Message, Piece, Sampling, Ticket, Usage
from appliance.errors import EngineUnavailableError


class PooledEngine:
    """A ``ModelEngine`` for one seat: asking for a place loads the model."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

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
        """Hold a place; see :class:`appliance.engine.port.Engine`.

        Raises:
            Error: What ``Seat.ready`` raises.
        """
        now_s = asyncio.get_running_loop().time
        asked_s = now_s()
        # From here to the end of the request, whose place is taken before this is
        # left, there is no moment at which the seat looks idle.
        with self._seat.visit():
            engine = await self._seat.ready()
            if deadline_s is not None:
                deadline_s = max(0.0, deadline_s - (now_s() - asked_s))
            return await engine.prepare(
                request_id,
                tenant=tenant,
                messages=messages,
                sampling=sampling,
                weight=weight,
                priority=priority,
                deadline_s=deadline_s,
            )

    async def generate(self, ticket: Ticket) -> AsyncGenerator[Piece, None]:
        """Start the request and yield its pieces."""
        engine = self._seat.engine
        if engine is None:
            raise EngineUnavailableError("the engine was started again")
        try:
            async with contextlib.aclosing(engine.generate(ticket)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._seat.touch()

    async def prepare_inputs(
        self,
        request_id: str,
        *,
        tenant: str,
        inputs: Inputs,
        dimensions: int | None,
        weight: int = 1,
    ) -> Ticket:
        """Hold a place; see :class:`appliance.engine.embedding.Embedder`.

        Raises:
            Error: What ``Seat.ready`` raises.
        """
        with self._seat.visit():
            engine = await self._seat.ready()
            return await engine.prepare_inputs(
                request_id,
                tenant=tenant,
                inputs=inputs,
                dimensions=dimensions,
                weight=weight,
            )

    async def embed(self, ticket: Ticket) -> AsyncGenerator[Vectors, None]:
        """Start the request and yield its vectors."""
        engine = self._seat.engine
        if engine is None:
            raise EngineUnavailableError("the engine was started again")
        try:
            async with contextlib.aclosing(engine.embed(ticket)) as parts:
                async for part in parts:
                    yield part
        finally:
            self._seat.touch()

    async def cancel(self, request_id: str) -> Usage:
        """Free the place and the cells within one step; harmless if finished."""
        engine = self._seat.engine
        if engine is None:
            return self._seat.endings.usage(request_id)
        return await engine.cancel(request_id)
