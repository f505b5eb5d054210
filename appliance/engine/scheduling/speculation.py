"""Guesses the next tokens of an answer from what was written before: prompt lookup.

Where an answer repeats its prompt (quotations, code, tables), the tokens that
followed the same few tokens earlier are likely to follow again. Guesses are
computed in the same batch as the certain token and kept only as far as they are
what the sampler draws, so they change the speed of an answer and never its words.

Source: Saxena, "Prompt Lookup Decoding", 2023; Leviathan et al., "Fast Inference
from Transformers via Speculative Decoding", ICML 2023.
"""

from collections.abc import Sequence

KEY_TOKENS = 3
"""Tokens that must repeat before what followed them is guessed again."""

MOST_DRAFTS = 6
"""Guesses of one answer in one step."""

TRIAL_DRAFTS = 2
"""Guesses of an answer whose guesses have not been judged yet."""

_NEWEST = 0.15
"""Share of the newest guess in an answer's record."""

_RETRY_STEPS = 64
"""Steps after which an answer whose guesses failed may guess again."""


class Lookup:
    """The guesses of one answer, and how good they were.

    Args:
        tokens: The prompt and what has been generated.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = list(tokens)
        self._places: dict[tuple[int, ...], int] = {}
        for end in range(KEY_TOKENS, len(self._tokens)):
            self._places[tuple(self._tokens[end - KEY_TOKENS : end])] = end
        self._rate = 0.5
        self._rest = 0

    @property
    def rate(self) -> float:
        """Share of guesses that were right, newer ones counting more."""
        return self._rate

    def add(self, token: int) -> None:
        """Note the next token of the answer."""
        if len(self._tokens) >= KEY_TOKENS:
            end = len(self._tokens)
            self._places[tuple(self._tokens[end - KEY_TOKENS : end])] = end
        self._tokens.append(token)

    def guess(self, most: int) -> tuple[int, ...]:
        """Return at most ``most`` tokens that may come next; often none."""
        if self._rest > 0:
            self._rest -= 1
            return ()
        place = self._places.get(tuple(self._tokens[-KEY_TOKENS:]))
        if place is None:
            return ()
        wanted = MOST_DRAFTS if self._rate > 0.5 else TRIAL_DRAFTS
        return tuple(self._tokens[place : place + min(most, wanted)])

    def judge(self, *, guessed: int, right: int) -> None:
        """Learn from a step in which ``right`` of ``guessed`` tokens were right."""
        self._rate += _NEWEST * (right / guessed - self._rate)
        if self._rate < 0.2:  # four of five guesses are work for nothing
            self._rest = _RETRY_STEPS
            self._rate = 0.5


def worthwhile(
    *, rate: float, drafts: int, step_s: float, longer_s: float, rows: int
) -> bool:
    """Return whether guessing makes all answers of a step faster together.

    Args:
        rate: Share of guesses that are right.
        drafts: Guesses that would be added.
        step_s: What the step takes without them.
        longer_s: What it takes with them.
        rows: Answers of the step.
    """
    expected = sum(rate**count for count in range(1, drafts + 1))
    return (rows + expected) * step_s > rows * longer_s
