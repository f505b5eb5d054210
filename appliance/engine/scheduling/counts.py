"""How full an engine is, and what it has done so far."""

from dataclasses import dataclass


@dataclass(kw_only=True, slots=True)
class Tally:
    """What was done since the model was loaded; only ever added to.

    Attributes:
        tokens_decoded: Tokens of answers.
        tokens_prefilled: Tokens of prompts that were computed.
        tokens_reused: Tokens of prompts that need not be.
        tokens_drafted: Tokens of answers that were guessed.
        drafts_kept: Those of them that were right.
        steps: Batches.
        preemptions: Requests sent back to the queue.
        interruptions: Batches that were given up for a newcomer.
    """

    tokens_decoded: int = 0
    tokens_prefilled: int = 0
    tokens_reused: int = 0
    tokens_drafted: int = 0
    drafts_kept: int = 0
    steps: int = 0
    preemptions: int = 0
    interruptions: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What is held at one moment, and what was done up to then.

    ``cells_used`` counts what all sequences hold; ``cells_cached`` is the part of
    it that gives way to the next request, ``cells_reserved`` what is set aside for
    running ones, used or not.
    """

    prepared: int
    waiting: int
    running: int
    cells_used: int
    cells_reserved: int
    cells_cached: int
    done: Tally
