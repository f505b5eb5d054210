"""What a flow may ask of an engine, and the words of the answer.

The order is fixed: ``prepare`` renders, counts, checks limits and holds a place;
``generate`` starts the work, which the caller MUST only do once its
``llm.request`` record is durable; ``cancel`` ends it from any state.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn of a conversation, as text."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How tokens are chosen; ranges are checked at the HTTP edge.

    ``max_tokens`` None means the engine's finite default. ``temperature`` 0 is
    greedy. ``seed`` None means a fresh one.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """A held place in an engine's queue; cells are reserved when it is admitted."""

    request_id: str
    prompt_tokens: int
    max_new_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens of one finished or cancelled request.

    ``cached_tokens`` are those of the prompt that need not be computed.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Newly generated text; the last piece carries the reason and the usage.

    ``text`` is always whole Unicode characters and never part of a stop string.
    ``queued_s`` is how long the request had waited for its cells, in seconds.
    """

    text: str
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    queued_s: float = 0.0


class Engine(Protocol):
    """One loaded model, as a request flow sees it."""

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
        """Hold a place for a request that fits every limit.

        Args:
            request_id: Names the request until it has ended.
            tenant: Whose request it is; tenants share the engine.
            messages: The conversation.
            sampling: How tokens are chosen.
            weight: The tenant's share of the engine beside other tenants' shares.
            priority: The lower number goes first; 0 is the ordinary one.
            deadline_s: Seconds from now after which nobody wants the answer.
                The caller MUST ``cancel`` then; an engine may do so earlier.

        Raises:
            ContextLengthError: Prompt and answer exceed one request's context. If
                the size of the messages alone tells, nothing is counted, and
                ``prompt_tokens`` is what they have at least; text that the
                model's template would leave out counts as it was written.
            OverloadedError: The queue is full.
            ConflictError: A request of that id is being served.
            EngineUnavailableError: The process is down or restarting.
            RequestRefusedError: The model's chat template refuses the messages.
        """

    def generate(self, ticket: Ticket) -> AsyncIterator[Piece]:
        """Start the request and yield its pieces; the last has a finish reason.

        A request that is cancelled meanwhile ends without a last piece. Closing
        the iterator cancels the request.

        Raises:
            QueueTimeoutError: The request waited longer than the queue allows, or
                its place had been given up before it was started.
            EngineUnavailableError: The process died; no more pieces will come.
        """

    async def cancel(self, request_id: str) -> Usage:
        """Free the place and the cells within one step; harmless if finished.

        Returns:
            The tokens used up to then.
        """
