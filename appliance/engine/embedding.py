"""What a flow may ask of an engine whose model makes vectors, and the answer's words.

The order is that of ``port.Engine``: ``prepare_inputs`` counts, checks limits and
holds a place; ``embed`` starts the work, which the caller MUST only do once its
``llm.request`` record is durable; ``cancel`` ends it from any state.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from appliance.engine.port import Engine, Ticket, Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What is to be embedded: texts, or the tokens of texts; never both.

    The tokens of each text are 32-bit numbers in the order of this host's bytes.
    They are taken as they are: nothing is put before or after them.
    """

    texts: tuple[str, ...] = ()
    tokens: tuple[bytes, ...] = ()

    @property
    def count(self) -> int:
        """How many vectors will be made."""
        return len(self.texts) + len(self.tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class Vectors:
    """The vectors of consecutive inputs; the last ones carry the usage.

    Each is of length 1, as 32-bit floats in little-endian order. ``first`` is the
    index of the first one's input; inputs come in their order.
    """

    first: int
    vectors: tuple[bytes, ...]
    usage: Usage | None = None


class Embedder(Protocol):
    """One loaded model that makes vectors, as a request flow sees it."""

    async def prepare_inputs(
        self,
        request_id: str,
        *,
        tenant: str,
        inputs: Inputs,
        dimensions: int | None,
        weight: int = 1,
    ) -> Ticket:
        """Hold a place for a request that fits every limit.

        Args:
            request_id: Names the request until it has ended.
            tenant: Whose request it is; tenants share the engine.
            inputs: What is to be embedded.
            dimensions: How long the caller expects a vector to be; None: any.
            weight: The tenant's share of the engine beside other tenants' shares.

        Raises:
            ContextLengthError: An input is longer than the model can take at once.
            RequestRefusedError: An input is empty or holds an unknown token, all
                together are too many tokens, or vectors have another length.
            UnsuitableModelError: The model writes text.
            OverloadedError: The queue is full.
            ConflictError: A request of that id is being served.
            EngineUnavailableError: The process is down or restarting.
        """

    def embed(self, ticket: Ticket) -> AsyncIterator[Vectors]:
        """Start the request and yield its vectors in order; the last have the usage.

        A request that is cancelled meanwhile ends without them. Closing the
        iterator cancels the request.

        Raises:
            QueueTimeoutError: The request waited longer than the queue allows, or
                its place had been given up before it was started.
            EngineUnavailableError: The process died, or the model makes no sense.
        """

    async def cancel(self, request_id: str) -> Usage:
        """Free the place within one step; harmless if finished.

        Returns:
            The tokens used up to then.
        """


class ModelEngine(Engine, Embedder, Protocol):
    """One model's engine: what the model cannot do, it refuses."""
