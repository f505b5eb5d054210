"""The cache of models whose sequences may hold cells in common.

Equal beginnings lie once (``prefix_tree.py``): a request takes over what any
sequence holds of its prompt, running or cached, and computes the rest.
"""

from collections import OrderedDict
from collections.abc import Sequence

from appliance.engine.scheduling.decoder import Decoder
from appliance.engine.scheduling.paths import Path
from appliance.engine.scheduling.prefix_tree import PrefixTree
from appliance.engine.scheduling.residents import LEAST_SHARED, Place
from appliance.engine.scheduling.spill import Spill


class SharedResidents:
    """The sequences of one cache, which hold equal beginnings in common.

    Args:
        decoder: Told what to share, cut and drop.
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
        self._tree = PrefixTree()
        self._paths: dict[int, Path] = {}
        self._owed: dict[int, int] = {}
        """Cells of each running sequence that are not in the tree (yet)."""
        self._cached: OrderedDict[int, None] = OrderedDict()
        self._spill = spill

    @property
    def taken_cells(self) -> int:
        """Cells in use or set aside; never more than there are."""
        return self._tree.cells + sum(self._owed.values())

    @property
    def cached_cells(self) -> int:
        """Cells that only cached sequences hold."""
        return self._tree.cells - self._tree.cells_held_by(self._owed)

    @property
    def held_cells(self) -> int:
        """Cells of everything but the answers of running requests."""
        return self._tree.cells

    def enter(self, path: Path, *, need_cells: int, keep: int = 0) -> Place | None:
        """Set aside what a request needs beyond what others hold already."""
        held, source = self._match(path)
        room = self._cells - keep - self.taken_cells + self.cached_cells
        if need_cells - held > room or not self._number(source):
            return None
        place = self._return(path, need_cells=need_cells, keep=keep, held=held)
        if place is not None:
            return place
        # Room may have been made meanwhile, at the cost of what was found.
        held, source = self._match(path)
        sequence = self._free.pop()
        self._paths[sequence] = path
        self._owed[sequence] = need_cells
        if source is not None:
            self.advance(sequence, tokens=held)
            if source in self._cached:
                self._cached.move_to_end(source)
        if not self._evict_down_to(self._cells - keep):
            self.leave(sequence)
            return None
        return Place(sequence=sequence, reused=held)

    def _match(self, path: Path) -> tuple[int, int | None]:
        """Return how many tokens of a prompt are held, and by whom."""
        length, source = self._tree.match(path.tokens[:-1])
        tokens = path.cells(length)
        return (tokens, source) if tokens >= LEAST_SHARED else (0, None)

    def advance(self, sequence: int, *, tokens: int) -> None:
        """Note that the first ``tokens`` tokens of the prompt are in the cache."""
        path = self._paths[sequence]
        before = self._tree.length(sequence)
        length = path.length(tokens)
        if length > before:
            self._extend(sequence, path, length=length)
            self._owed[sequence] -= tokens - path.cells(before)

    def leap(self, sequence: int, *, tokens: int) -> int:
        """Take over what others have computed of this prompt meanwhile."""
        path = self._paths[sequence]
        length, source = self._tree.match(path.tokens[:-1])
        ahead = path.cells(length)
        if source is None or ahead - tokens < LEAST_SHARED:
            return tokens
        self.advance(sequence, tokens=ahead)
        return ahead

    def finish(self, sequence: int, *, answer: Sequence[int]) -> None:
        """Keep an ended sequence, unless another holds all of it already."""
        path = self._paths[sequence].grown(answer)
        self._paths[sequence] = path
        self._extend(sequence, path, length=len(path.tokens))
        del self._owed[sequence]
        if self._tree.cells_of(sequence):
            self._cached[sequence] = None
        else:
            self._forget(sequence)

    def leave(self, sequence: int) -> None:
        """Free a running sequence and all that it holds alone."""
        del self._owed[sequence]
        self._forget(sequence)

    def _extend(self, sequence: int, path: Path, *, length: int) -> None:
        """Let ``sequence`` hold the path's first items, with others where they do."""
        for begin, end, holder in self._tree.extend(sequence, path.tokens[:length]):
            first, last = path.cells(begin), path.cells(end)
            if last > first:
                self._decoder.share(holder, sequence, begin=first, end=last)

    def _number(self, spared: int | None) -> bool:
        """Return whether a sequence number is free; evict for one if need be."""
        if not self._free:
            victim = next((each for each in self._cached if each != spared), None)
            if victim is not None:
                self._evict(victim)
        return bool(self._free)

    def _evict_down_to(self, cells: int) -> bool:
        """Evict cached sequences until no more than ``cells`` are taken."""
        while self.taken_cells > cells and self._cached:
            self._evict(next(iter(self._cached)))
        return self.taken_cells <= cells

    def _evict(self, sequence: int) -> None:
        path = self._paths[sequence]
        if self._spill.wants(path):
            self._spill.put(path, self._decoder.save(sequence))
        del self._cached[sequence]
        self._forget(sequence)

    def _forget(self, sequence: int) -> None:
        self._decoder.drop(sequence)
        self._tree.remove(sequence)
        del self._paths[sequence]
        self._free.append(sequence)

    def _return(
        self, path: Path, *, need_cells: int, keep: int, held: int
    ) -> Place | None:
        """Bring a spilled sequence back if it saves more than what is held."""
        length, kept = self._spill.find(path)
        if kept is None or path.cells(length) - held < self._spill.least_tokens:
            return None
        cells = max(need_cells, kept.path.size)
        if not self._evict_down_to(self._cells - keep - cells):
            return None
        sequence = self._free.pop()
        if not self._decoder.restore(sequence, self._spill.take(kept)):
            self._decoder.drop(sequence)
            self._free.append(sequence)
            return None
        reused = path.cells(length)
        self._decoder.cut(sequence, tokens=reused)
        self._paths[sequence] = path
        self._owed[sequence] = need_cells
        self.advance(sequence, tokens=reused)
        return Place(sequence=sequence, reused=reused)
