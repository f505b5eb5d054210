"""The cache of models that can only continue a sequence where it ends.

A sliding window has dropped the cells before it, and a recurrent state is one sum
of all that was read: neither can be cut or held in common. So an ended sequence
serves the next request only if that request begins with all of it, as the next
turn of a conversation does, and then it is taken over, not copied.
"""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from appliance.engine.scheduling.decoder import Decoder
from appliance.engine.scheduling.paths import Path
from appliance.engine.scheduling.residents import LEAST_SHARED, Place
from appliance.engine.scheduling.spill import Spill


class WholeResidents:
    """The sequences of one cache, each with cells of its own.

    Args:
        decoder: Told what to drop, save and restore.
        cells: Places in the cache.
        sequences: Sequence numbers there are.
        spill: Where cached sequences go that must leave the cache.
    """

    def __init__(
        self, decoder: Decoder, *, cells: int, sequences: int, spill: Spill
    ) -> None:
        self._decoder = decoder
        self._cells = cells
        self._free = list(range(sequences - 1, -1, -1))
        self._paths: dict[int, Path] = {}
        self._needs: dict[int, int] = {}
        self._computed: dict[int, int] = {}
        self._cached: OrderedDict[int, None] = OrderedDict()
        self._spill = spill

    @property
    def taken_cells(self) -> int:
        """Cells in use or set aside; never more than there are."""
        return self.cached_cells + sum(self._needs.values())

    @property
    def cached_cells(self) -> int:
        """Cells of cached sequences."""
        return sum(self._paths[sequence].size for sequence in self._cached)

    @property
    def held_cells(self) -> int:
        """Cells of everything but the answers of running requests."""
        return self.cached_cells + sum(self._computed.values())

    def enter(self, path: Path, *, need_cells: int, keep: int = 0) -> Place | None:
        """Set aside what a request needs, continuing a sequence if one fits."""
        if need_cells + sum(self._needs.values()) > self._cells - keep:
            return None
        sequence = self._continued(path)
        if sequence is not None:
            del self._cached[sequence]
        elif not self._free and not self._cached:
            return None
        self._make_room(need_cells, keep=keep, number=sequence is None)
        if sequence is not None:
            reused = self._paths[sequence].size
        else:
            sequence = self._free.pop()
            reused = self._restored(sequence, path)
        self._paths[sequence] = path
        self._needs[sequence] = need_cells
        self._computed[sequence] = reused
        return Place(sequence=sequence, reused=reused)

    def advance(self, sequence: int, *, tokens: int) -> None:
        """Note that the first ``tokens`` tokens of the prompt are in the cache."""
        self._computed[sequence] = tokens

    def leap(self, sequence: int, *, tokens: int) -> int:  # noqa: ARG002  # nothing is held in common
        """Return ``tokens``: nothing can be taken over from others."""
        return tokens

    def finish(self, sequence: int, *, answer: Sequence[int]) -> None:
        """Keep an ended sequence for the next turn of its conversation."""
        self._paths[sequence] = self._paths[sequence].grown(answer)
        del self._needs[sequence], self._computed[sequence]
        self._cached[sequence] = None

    def leave(self, sequence: int) -> None:
        """Free a running sequence."""
        del self._needs[sequence], self._computed[sequence]
        self._forget(sequence)

    def _make_room(self, cells: int, *, keep: int, number: bool) -> None:
        """Evict cached sequences until ``cells`` are free, and a number if wanted."""
        while self._cached and (
            self.taken_cells + cells > self._cells - keep or (number and not self._free)
        ):
            self._evict(next(iter(self._cached)))

    def _continued(self, path: Path) -> int | None:
        """Return the longest cached sequence that ``path`` begins with."""
        fitting = [each for each in self._cached if _begins(path, self._paths[each])]
        return max(fitting, key=lambda each: self._paths[each].size, default=None)

    def _restored(self, sequence: int, path: Path) -> int:
        """Bring back what ``path`` continues; return how many tokens that is."""
        _, kept = self._spill.find(path)
        if kept is None or not _begins(path, kept.path):
            return 0
        if not self._decoder.restore(sequence, self._spill.take(kept)):
            self._decoder.drop(sequence)
            return 0
        return kept.path.size

    def _evict(self, sequence: int) -> None:
        path = self._paths[sequence]
        if self._spill.wants(path):
            self._spill.put(path, self._decoder.save(sequence))
        del self._cached[sequence]
        self._forget(sequence)

    def _forget(self, sequence: int) -> None:
        self._decoder.drop(sequence)
        del self._paths[sequence]
        self._free.append(sequence)


def _begins(path: Path, whole: Path) -> bool:
    """Return whether ``path`` begins with ``whole`` and goes on."""
    size = len(whole.tokens)
    return (
        LEAST_SHARED <= whole.size < path.size
        and whole.mark == path.mark
        and np.array_equal(path.tokens[:size], whole.tokens)
    )
