"""A decoder without a model, which checks every promise the scheduler makes.

The first token of a prompt is the natural length of its answer; the answer to a
prompt is the letters of the alphabet, over and over, and then the end token.
"""

from collections.abc import Sequence

from appliance.engine.port import Sampling
from appliance.engine.scheduling.decoder import Slice

END = 0


class FakeDecoder:
    """Counts cells as llama.cpp's unified cache does, and refuses to overflow."""

    def __init__(self, *, cells: int, sequences: int, batch_tokens: int) -> None:
        self.cells = cells
        self.sequences = sequences
        self.batch_tokens = batch_tokens
        self.held: dict[int, list[int]] = {}
        self.opened: list[int] = []
        self.batches: list[tuple[Slice, ...]] = []
        self.full_next = 0
        """Batches from now on that claim a full cache, against all reservations."""
        self._answered: dict[int, int] = {}

    @property
    def used(self) -> int:
        return sum(len(tokens) for tokens in self.held.values())

    def open(
        self,
        sequence: int,
        *,
        sampling: Sampling,
        max_new_tokens: int,
        generated: Sequence[int],
    ) -> None:
        assert sampling is not None
        assert max_new_tokens > 0
        assert sequence not in self.held
        assert 0 <= sequence < self.sequences
        self.held[sequence] = []
        self._answered[sequence] = len(generated)
        self.opened.append(sequence)

    def close(self, sequence: int) -> None:
        del self.held[sequence]

    def decode(self, slices: Sequence[Slice]) -> Sequence[int | None] | None:
        if self.full_next:
            self.full_next -= 1
            return None
        self.batches.append(tuple(slices))
        new = sum(len(part.tokens) for part in slices)
        assert 0 < new <= self.batch_tokens
        assert sum(part.wants_token for part in slices) <= self.sequences
        assert len({part.sequence for part in slices}) == len(slices)
        assert self.used + new <= self.cells, "the cache overflows"
        return [self._run(part) for part in slices]

    def piece(self, token: int) -> bytes:
        return bytes([token])

    def is_end(self, token: int) -> bool:
        return token == END

    def _run(self, part: Slice) -> int | None:
        tokens = self.held[part.sequence]
        assert part.position == len(tokens), "a position is skipped or repeated"
        tokens.extend(part.tokens)
        if not part.wants_token:
            return None
        count = self._answered[part.sequence]
        self._answered[part.sequence] += 1
        return END if count == tokens[0] else ord("a") + count % 26
