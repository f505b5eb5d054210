"""An engine without a process whose model makes vectors.

It keeps the contract of ``appliance.engine.embedding.Embedder`` (one test suite runs
on this fake and on the real engine), counts a text's tokens as its words and two
more, and makes every vector from its input's first characters.
"""

import asyncio
import struct
from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from appliance.engine.embedding import Inputs, Vectors
from appliance.engine.port import Message, Sampling, Ticket, Usage
from appliance.errors import (
    ContextLengthError,
    EngineUnavailableError,
    OverloadedError,
    RequestRefusedError,
    UnsuitableModelError,
)
from tests.support.fake_engine import FakeEngine

BATCH = 2
"""Inputs of one batch."""


@dataclass
class FakeEmbedder(FakeEngine):
    """One pretended model; see :class:`FakeEngine` for what can be scripted.

    Attributes:
        vector_size: Numbers of a vector.
        input_tokens: Tokens of one text.
        vocabulary: Tokens there are.
    """

    vector_size: int = 4
    input_tokens: int = 64
    vocabulary: int = 1_000
    embedded: dict[str, Inputs] = field(default_factory=dict)

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
        """Refuse, as an engine does whose model makes vectors."""
        del tenant, messages, sampling, weight, priority, deadline_s
        self.events.append(("prepare", request_id))
        raise UnsuitableModelError("this model makes vectors", param="model")

    async def prepare_inputs(
        self,
        request_id: str,
        *,
        tenant: str,
        inputs: Inputs,
        dimensions: int | None,
        weight: int = 1,
    ) -> Ticket:
        """Hold a place, or raise what was scripted."""
        self.events.append(("prepare", request_id))
        self.embedded[request_id] = inputs
        self.tenants[request_id] = tenant
        self.standings[request_id] = (weight, 0, None)
        if self.slow_prepare is not None:
            await self.slow_prepare.wait()
        if self.prepare_error is not None:
            raise self.prepare_error
        if len(self._held) >= self.places:
            raise OverloadedError("the queue is full", retry_after_s=1)
        if dimensions not in (None, self.vector_size):
            raise RequestRefusedError("another length", param="dimensions")
        total = sum(self._count(index, each) for index, each in enumerate(_all(inputs)))
        self._held[request_id] = Usage(prompt_tokens=0, completion_tokens=0)
        return Ticket(request_id=request_id, prompt_tokens=total, max_new_tokens=0)

    def _count(self, index: int, tokens: Sequence[int]) -> int:
        if len(tokens) > self.input_tokens:
            raise ContextLengthError(
                limit_tokens=self.input_tokens,
                prompt_tokens=len(tokens),
                new_tokens=0,
                index=index,
            )
        if max(tokens) >= self.vocabulary:
            raise RequestRefusedError("an unknown token", param="input")
        return len(tokens)

    async def embed(self, ticket: Ticket) -> AsyncIterator[Vectors]:
        """Yield a vector of each input, some at a time."""
        request_id = ticket.request_id
        self.events.append(("generate", request_id))
        if request_id not in self._held:
            raise OverloadedError("the place is not held any more", retry_after_s=1)
        try:
            async for vectors in self._vectors(ticket):
                yield vectors
        finally:
            self._free(request_id)

    async def _vectors(self, ticket: Ticket) -> AsyncIterator[Vectors]:
        request_id = ticket.request_id
        made = [self._vector(tokens) for tokens in _all(self.embedded[request_id])]
        for first in range(0, len(made), BATCH):
            if self.dies_after is not None and first >= self.dies_after:
                self.events.append(("die", request_id))
                raise EngineUnavailableError("the engine process died")
            if self.gate is not None and first > 0:
                await self.gate.wait()
            if request_id not in self._held:
                return
            await asyncio.sleep(0)
            last = first + BATCH >= len(made)
            usage = Usage(prompt_tokens=ticket.prompt_tokens, completion_tokens=0)
            self._held[request_id] = usage
            if last:
                self._free(request_id)
                self.events.append(("finish", request_id))
            yield Vectors(
                first=first,
                vectors=tuple(made[first : first + BATCH]),
                usage=usage if last else None,
            )

    def _vector(self, tokens: Sequence[int]) -> bytes:
        numbers = [float(token) for token in tokens[: self.vector_size]]
        numbers += [1.0] * (self.vector_size - len(numbers))
        length = sum(number * number for number in numbers) ** 0.5 or 1.0
        return struct.pack(f"<{self.vector_size}f", *(n / length for n in numbers))


def _all(inputs: Inputs) -> list[Sequence[int]]:
    """Return the tokens of each input: of a text its words' lengths, framed."""
    texts = [(1, *map(len, text.split()), 2) for text in inputs.texts]
    return [*texts, *(array("i", data) for data in inputs.tokens)]
