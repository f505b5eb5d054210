"""How many prompt tokens a step may hold so that answers keep their pace.

A step's time is a part per answer and a part per prompt token; both are learned
from the steps themselves, newer ones counting more. Pure: times come in as
values. The first prompt token always goes: a waiting prompt advances whatever the
host's speed is.
"""

LEAST_PROMPT_TOKENS = 16
"""Prompt tokens that every step may hold while answers run."""

PROMPT_SHARE = 0.5
"""Time that prompts have in any step, over that of its answers.

Where the answers alone take as long as a step should, prompts still advance: a
step is then up to one and a half times as long as its answers make it.
"""

_NEWEST = 0.2
"""Share of the newest step in what is learned."""


class Pace:
    """The learned speed of one engine, and the room that it leaves.

    Args:
        target_s: What a step may take while answers run.
        alone_s: What a step may take while none runs: a cancellation and a new
            request wait that long.
        batch_tokens: Tokens that fit a step at all.
        token_s: First guess of the time per prompt token.
    """

    def __init__(
        self, *, target_s: float, alone_s: float, batch_tokens: int, token_s: float
    ) -> None:
        self._target_s = target_s
        self._alone_s = alone_s
        self._batch_tokens = batch_tokens
        self._token_s = token_s
        self._base_s = 0.0
        self._row_s = token_s

    def room(self, *, rows: int) -> int:
        """Return the prompt tokens that a step with ``rows`` answers may hold."""
        answers_s = self.answers_s(rows) if rows else 0.0
        target_s = self._target_s if rows else self._alone_s
        left_s = max(target_s - answers_s, PROMPT_SHARE * answers_s)
        most = self._batch_tokens - rows
        if left_s >= most * self._token_s:
            return most
        return max(min(LEAST_PROMPT_TOKENS, most), int(left_s / self._token_s))

    def answers_s(self, rows: int) -> float:
        """Return what a step of ``rows`` answers and no prompt should take."""
        return self._base_s + rows * self._row_s

    def observe(self, *, rows: int, prompt_tokens: int, took_s: float) -> None:
        """Learn from a step that has been made."""
        if not prompt_tokens:
            self._learn_rows(rows, took_s)
            return
        spent_s = max(took_s - (self.answers_s(rows) if rows else 0.0), 0.0)
        if prompt_tokens >= LEAST_PROMPT_TOKENS:
            self._token_s += _NEWEST * (spent_s / prompt_tokens - self._token_s)

    def _learn_rows(self, rows: int, took_s: float) -> None:
        """Fit the fixed part to one answer, the part per row to several."""
        if rows == 1:
            self._base_s += _NEWEST * (max(took_s - self._row_s, 0.0) - self._base_s)
        elif rows > 1:
            row_s = max(took_s - self._base_s, 0.0) / rows
            self._row_s += _NEWEST * (row_s - self._row_s)
