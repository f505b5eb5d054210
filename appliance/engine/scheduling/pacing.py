"""How many prompt tokens a step may hold so that answers keep their pace.

A step's time is a part per answer and a part per prompt token; both are learned
from the steps themselves, newer ones counting more. A prompt token costs more where
there are few of them: flash attention on x86 takes 64 rows at a time, or one. Far
into a long prompt sixteen tokens may take as long as sixty-four. Pure: times come in as
values. The first prompt token always goes: a waiting prompt advances whatever the
host's speed is.
"""

LEAST_PROMPT_TOKENS = 16
"""Prompt tokens that every step may hold while answers run."""

TILE_TOKENS = 65
"""Prompt tokens that are computed 64 rows at a time, one going with the answers."""

TILE_PAYS = 1.5
"""How much more a token has to cost among few for a whole tile to be taken."""

TILE_OVERRUN = 2.0
"""How much longer than otherwise a step may take for a whole tile."""

PROMPT_SHARE = 2.0
"""Time that prompts have in any step, over that of its answers.

Where the answers alone take as long as a step should, prompts still advance: a
step is then up to three times as long as its answers make it. With less, a crowd's
first answers are written in small batches while its last prompts wait; with more,
streams stutter for little.
"""

CROWD_STRETCH = 2.0
"""How much longer than otherwise a step may take while more wait than are answered.

The few streams stutter for as long as it takes until the many have begun.
"""

_NEWEST = 0.2
"""Share of the newest step in what is learned."""

_INSTANT_S = 1e-9

_FORGOTTEN = 0.05
"""Share of what was learned of few tokens that each step of many lets go."""


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
        self._few_s = token_s
        """Time per prompt token where there are fewer than a tile."""
        self._base_s = 0.0
        self._row_s = token_s

    def room(self, *, rows: int, prompts: int = 1) -> int:
        """Return the prompt tokens that a step with ``rows`` answers may hold.

        ``prompts`` is how many requests wait for their first token.
        """
        answers_s = self.answers_s(rows) if rows else 0.0
        target_s = self._target_s if rows else self._alone_s
        if 0 < rows < prompts:
            target_s *= CROWD_STRETCH
        left_s = max(target_s - answers_s, PROMPT_SHARE * answers_s)
        most = self._batch_tokens - rows
        if left_s >= most * self._token_s:
            return most
        tokens = int(left_s / self._token_s)
        if tokens >= TILE_TOKENS:
            return tokens
        few = max(LEAST_PROMPT_TOKENS, int(left_s / max(self._few_s, _INSTANT_S)))
        few = min(few, TILE_TOKENS - 1, most)
        longest_s = TILE_OVERRUN * max(left_s, few * self._few_s)
        pays = self._few_s > TILE_PAYS * self._token_s
        if pays and most >= TILE_TOKENS and TILE_TOKENS * self._token_s <= longest_s:
            return TILE_TOKENS
        return few

    def answers_s(self, rows: int) -> float:
        """Return what a step of ``rows`` answers and no prompt should take."""
        return self._base_s + rows * self._row_s

    def observe(self, *, rows: int, prompt_tokens: int, took_s: float) -> None:
        """Learn from a step that has been made."""
        if not prompt_tokens:
            self._learn_rows(rows, took_s)
            return
        spent_s = max(took_s - (self.answers_s(rows) if rows else 0.0), 0.0)
        if prompt_tokens >= TILE_TOKENS:
            self._token_s += _NEWEST * (spent_s / prompt_tokens - self._token_s)
            self._few_s += _FORGOTTEN * (self._token_s - self._few_s)
        elif prompt_tokens >= LEAST_PROMPT_TOKENS:
            self._few_s += _NEWEST * (spent_s / prompt_tokens - self._few_s)

    def _learn_rows(self, rows: int, took_s: float) -> None:
        """Fit the fixed part to one answer, the part per row to several."""
        if rows == 1:
            self._base_s += _NEWEST * (max(took_s - self._row_s, 0.0) - self._base_s)
        elif rows > 1:
            row_s = max(took_s - self._base_s, 0.0) / rows
            self._row_s += _NEWEST * (row_s - self._row_s)
