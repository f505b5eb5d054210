"""Who may enter: the arithmetic of contexts, cells and places.

Cells are fungible in a unified cache (a hole of one cell is as good as any
other), so a request that has ``prompt + max_new`` cells set aside can always
finish. The batch may therefore never find the cache full; that is the whole
reason for reserving. Pure values, no clock.
"""

import dataclasses
from dataclasses import dataclass

from appliance.errors import ContextLengthError


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Hard limits of one engine, all finite.

    Attributes:
        context_tokens: Prompt and answer of one request.
        cells: Places in the KV cache, shared by all running requests.
        sequences: Requests that run at once.
        batch_tokens: Tokens of one step; at least twice ``sequences``, so that
            answers never crowd out prompts.
        queued_requests: Requests that may hold a place beyond ``sequences``.
        queue_timeout_s: Longest life of a place that is not running.
        default_max_tokens: New tokens of a request that names no number.
    """

    context_tokens: int
    cells: int
    sequences: int
    batch_tokens: int
    queued_requests: int
    queue_timeout_s: float
    default_max_tokens: int

    @property
    def places(self) -> int:
        """Requests that may exist at once: prepared, waiting and running."""
        return self.sequences + self.queued_requests


REHEARSED_TOKENS = 32
"""Size of the batch that tells how fast a host is; also the smallest batch size."""

RETRY_AFTER_S = 2
"""What a caller is told to wait when every place is taken."""

STEP_TARGET_S = 0.5
"""What one step may take: a cancellation and every other request wait that long."""


def fit(limits: Limits, *, trained_tokens: int) -> Limits:
    """Return limits without contradictions, for a model of that context length.

    A request can hold neither more than the model was trained for nor more than
    the cache has; half of each batch is kept for prompts.
    """
    return dataclasses.replace(
        limits,
        context_tokens=min(limits.context_tokens, limits.cells, trained_tokens),
        sequences=max(1, min(limits.sequences, limits.batch_tokens // 2)),
    )


def paced(limits: Limits, *, rehearsal_s: float) -> Limits:
    """Return limits whose steps stay near the target on this host.

    ``rehearsal_s`` is what a batch of :data:`REHEARSED_TOKENS` took. Batch sizes
    are halved, never fine-tuned: hosts of one kind then cut prompts alike, and
    every sequence keeps its place in the batch.
    """
    batch_tokens = limits.batch_tokens
    least = max(REHEARSED_TOKENS, 2 * limits.sequences)
    while (
        batch_tokens // 2 >= least
        and batch_tokens * rehearsal_s > STEP_TARGET_S * REHEARSED_TOKENS
    ):
        batch_tokens //= 2
    return dataclasses.replace(limits, batch_tokens=batch_tokens)


def least_tokens(size_bytes: int, *, longest_token_bytes: int | None) -> int:
    """Return how many tokens a text of that size has at least.

    ``size_bytes`` counts UTF-8; with ``longest_token_bytes`` None nothing is known.
    """
    return 0 if longest_token_bytes is None else -(-size_bytes // longest_token_bytes)


def check_prompt(
    prompt_tokens: int, *, context_tokens: int, requested: int | None
) -> None:
    """Return if a prompt of that many tokens, or more, may leave room for an answer.

    Raises:
        ContextLengthError: Not even one new token would fit. Its ``prompt_tokens``
            are then what the prompt has at least.
    """
    if prompt_tokens + 1 > context_tokens:
        raise ContextLengthError(
            limit_tokens=context_tokens,
            prompt_tokens=prompt_tokens,
            new_tokens=requested or 1,
        )


def new_tokens(limits: Limits, *, prompt_tokens: int, requested: int | None) -> int:
    """Return how many tokens the answer may have.

    Raises:
        ContextLengthError: Prompt and answer do not fit the context; nothing is
            truncated to make them fit.
    """
    room = limits.context_tokens - prompt_tokens
    wanted = requested
    if wanted is None:
        wanted = max(1, min(limits.default_max_tokens, room))
    if wanted > room:
        raise ContextLengthError(
            limit_tokens=limits.context_tokens,
            prompt_tokens=prompt_tokens,
            new_tokens=wanted,
        )
    return wanted


class Reservations:
    """Cells and sequence numbers set aside; never more than there are."""

    def __init__(self, *, cells: int, sequences: int) -> None:
        self._free_cells = cells
        self._cells = cells
        self._free_sequences = list(range(sequences - 1, -1, -1))
        self._held: dict[int, int] = {}

    @property
    def reserved_cells(self) -> int:
        """Cells set aside for running requests."""
        return self._cells - self._free_cells

    def take(self, cells: int) -> int | None:
        """Set ``cells`` aside and return a sequence number; None if it must wait."""
        if cells > self._free_cells or not self._free_sequences:
            return None
        self._free_cells -= cells
        sequence = self._free_sequences.pop()
        self._held[sequence] = cells
        return sequence

    def give_back(self, sequence: int) -> None:
        """Free the sequence number and its cells."""
        self._free_cells += self._held.pop(sequence)
        self._free_sequences.append(sequence)
