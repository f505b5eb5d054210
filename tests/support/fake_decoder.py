"""A decoder without a model, which checks every promise the scheduler makes.

The first token of a prompt is the natural length of its answer; the answer to a
prompt is the letters of an alphabet, over and over, and then the end token.
"""

from collections.abc import Sequence
from itertools import count

from appliance.engine.port import Sampling
from appliance.engine.scheduling.decoder import Slice, Undone

END = 0


class FakeDecoder:
    """Counts cells as llama.cpp's unified cache does, and refuses to overflow.

    A cell is one object; sequences that share it hold the same object.
    """

    def __init__(
        self,
        *,
        cells: int,
        sequences: int,
        batch_tokens: int,
        shares: bool = True,
        parted: bool = False,
        alphabet: int = 26,
    ) -> None:
        self.cells = cells
        self.sequences = sequences
        self.batch_tokens = batch_tokens
        self.outputs = sequences
        self.shares = shares
        self.part_cells = cells // sequences if parted else cells
        self.alphabet = alphabet
        self.held: dict[int, list[tuple[int, int]]] = {}
        """The cells of each sequence in order, each with its number and token."""
        self.open_samplers: dict[int, int] = {}
        self.opened: list[int] = []
        self.batches: list[tuple[Slice, ...]] = []
        self.restored = 0
        self.full_next = 0
        """Batches from now on that claim a full cache, against all reservations."""
        self.interrupted = False
        """Whether the next batch comes to nothing."""
        self._numbers = count()

    @property
    def used(self) -> int:
        return len({cell for cells in self.held.values() for cell in cells})

    def tokens(self, sequence: int) -> list[int]:
        return [token for _, token in self.held.get(sequence, [])]

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
        assert sequence not in self.open_samplers
        assert 0 <= sequence < self.sequences
        self.held.setdefault(sequence, [])
        self.open_samplers[sequence] = len(generated)
        self.opened.append(sequence)

    def retire(self, sequence: int) -> None:
        del self.open_samplers[sequence]

    def drop(self, sequence: int) -> None:
        assert sequence not in self.open_samplers, "a running sequence is dropped"
        self.held.pop(sequence, None)

    def share(self, source: int, target: int, *, begin: int, end: int) -> None:
        assert self.shares
        assert self.part_cells == self.cells, "parts have no cells in common"
        assert source != target
        mine = self.held.setdefault(target, [])
        theirs = self.held[source][begin:end]
        assert begin <= len(mine), "a sequence with a hole"
        assert len(theirs) == end - begin, "cells are shared that nobody holds"
        own = [token for _, token in mine[begin:end]]
        assert own == [token for _, token in theirs][: len(own)], "other tokens"
        mine[begin:end] = theirs

    def copy(self, source: int, target: int) -> None:
        assert self.part_cells < self.cells, "cells of a common cache are shared"
        assert source != target
        self.held[target] = [self._cell(token) for token in self.tokens(source)]

    def cut(self, sequence: int, *, tokens: int) -> None:
        assert self.shares
        del self.held[sequence][tokens:]

    def save(self, sequence: int) -> bytes:
        return repr(self.tokens(sequence)).encode()

    def restore(self, sequence: int, state: bytes) -> bool:
        assert not self.held.get(sequence)
        tokens = [int(each) for each in state.decode().strip("[]").split(",")]
        assert self.used + len(tokens) <= self.cells, "the cache overflows"
        self.held[sequence] = [self._cell(token) for token in tokens]
        self.restored += 1
        return True

    def interrupt(self) -> None:
        self.interrupted = True

    def decode(self, slices: Sequence[Slice]) -> Sequence[Sequence[int]] | Undone:
        interrupted, self.interrupted = self.interrupted, False
        if interrupted:
            return Undone.INTERRUPTED
        if self.full_next:
            self.full_next -= 1
            return Undone.NO_CELLS
        self.batches.append(tuple(slices))
        new = sum(len(part.tokens) for part in slices)
        assert 0 < new <= self.batch_tokens
        assert sum(part.outputs for part in slices) <= self.outputs
        assert len({part.sequence for part in slices}) == len(slices)
        assert self.used + new <= self.cells, "the cache overflows"
        return [self._run(part) for part in slices]

    def piece(self, token: int) -> bytes:
        return bytes([token])

    def is_end(self, token: int) -> bool:
        return token == END

    def _cell(self, token: int) -> tuple[int, int]:
        return next(self._numbers), token

    def _run(self, part: Slice) -> Sequence[int]:
        cells = self.held[part.sequence]
        assert part.position == len(cells), "a position is skipped or repeated"
        cells.extend(self._cell(token) for token in part.tokens)
        assert len(cells) <= self.part_cells, "a part overflows"
        if not part.wants_token:
            return ()
        length = cells[0][1]
        guesses = part.tokens[len(part.tokens) - part.drafts :]
        tokens: list[int] = []
        for number in range(part.outputs):
            answered = self.open_samplers[part.sequence]
            self.open_samplers[part.sequence] += 1
            tokens.append(
                END if answered == length else ord("a") + answered % self.alphabet
            )
            if number < part.drafts and tokens[-1] != guesses[number]:
                break
        return tokens
