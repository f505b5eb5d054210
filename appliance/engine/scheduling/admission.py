"""Who may enter: the arithmetic of contexts, cells and places.

Cells are fungible in a common cache (a hole of one cell is as good as any
other), so a request that has ``prompt + max_new`` cells set aside can always
finish. Where there are cells enough for a whole context of every request that
runs, each gets a part of its own, and may use all of it. The batch may therefore
never find the cache full; that is the whole reason for reserving. Pure values, no
clock.
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
        spare_sequences: Requests beyond ``sequences`` that run only if nothing
            else of their tenant does: whoever comes alone need not wait for the
            many of another.
        cached_sequences: Ended sequences that may stay in the cache.
        draft_tokens: Guessed tokens of all answers in one step.
        spill_bytes: Memory for sequences that had to leave the cache.
        spill_tokens: Shortest sequence worth keeping there, and shortest gain
            worth bringing one back.
        parted: Whether each sequence has a part of the cache, as long as a context;
            before ``fit`` whether it may have.
        input_tokens: Tokens of one text that is made a vector, and of a batch.
        request_tokens: Tokens of all such texts of one request.
    """

    context_tokens: int
    cells: int
    sequences: int
    batch_tokens: int
    queued_requests: int
    queue_timeout_s: float
    default_max_tokens: int
    spare_sequences: int = 0
    cached_sequences: int = 1
    draft_tokens: int = 0
    spill_bytes: int = 0
    spill_tokens: int = 128
    parted: bool = False
    input_tokens: int = 512
    request_tokens: int = 300_000

    @property
    def places(self) -> int:
        """Requests that may exist at once: prepared, waiting and running."""
        return self.sequences + self.queued_requests

    @property
    def running(self) -> int:
        """Requests that may run at once, spare ones among them."""
        return self.sequences + self.spare_sequences

    @property
    def resident_sequences(self) -> int:
        """Sequences that may be in the cache at once, running or cached."""
        return self.running + self.cached_sequences

    @property
    def outputs(self) -> int:
        """Places of one batch whose logits may be asked for."""
        return self.running + self.draft_tokens

    @property
    def spare_cells(self) -> int:
        """Cells left to a tenant of whom nothing runs."""
        return min(self.context_tokens, self.cells // 8) if self.spare_sequences else 0


PART_CELLS = 256
"""What the part of a sequence is a multiple of. Source: llama-context.cpp."""

REHEARSED_TOKENS = 32
"""Size of the batch that tells how fast a host is; also the smallest batch size."""

RETRY_AFTER_S = 2
"""What a caller is told to wait when every place is taken."""

STEP_TARGET_S = 0.5
"""What one step may take: a cancellation and every other request wait that long."""


def fit(limits: Limits, *, trained_tokens: int, shares: bool) -> Limits:
    """Return limits without contradictions, for a model of that context length.

    A request can hold neither more than the model was trained for nor more than
    the cache has; half of each batch is kept for prompts. Where sequences cannot
    hold cells in common (``shares`` False), each costs memory of its own, so ended
    ones stay only in place of running ones, and nothing is guessed. The same is
    true of parts of a cache, but for the guesses.
    """
    fitted = dataclasses.replace(
        limits,
        context_tokens=min(limits.context_tokens, limits.cells, trained_tokens),
        sequences=max(1, min(limits.sequences, limits.batch_tokens // 2)),
        spare_sequences=min(limits.spare_sequences, limits.batch_tokens // 2),
        cached_sequences=limits.cached_sequences if shares else 0,
        draft_tokens=limits.draft_tokens if shares else 0,
    )
    part = -(-fitted.context_tokens // PART_CELLS) * PART_CELLS
    parts = part * fitted.running
    if not (limits.parted and shares and fitted.running > 1 and parts <= limits.cells):
        return dataclasses.replace(fitted, parted=False)
    return dataclasses.replace(fitted, cells=parts, cached_sequences=0)


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
