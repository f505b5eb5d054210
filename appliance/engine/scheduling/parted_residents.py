"""The cache of an engine whose sequences have a part of the cache each.

There is a part as long as a whole context for each request that runs, so whoever
has a sequence has all the cells it may ever need. A token then looks at the cells
of its own sequence alone, where in a common cache it passes over everybody's. What
two prompts have in common is copied from one part to the other, once all of it is
computed.

llama.cpp computes parts at once only if they lie side by side, so a request gets one
beside those that run.
"""

from appliance.engine.scheduling.decoder import Decoder
from appliance.engine.scheduling.paths import Path, common
from appliance.engine.scheduling.residents import LEAST_SHARED, Place
from appliance.engine.scheduling.spill import Spill
from appliance.engine.scheduling.whole_residents import WholeResidents

CELLS_PER_TOKEN = 32
"""Cells that are copied in less time than it takes to compute one token."""


class PartedResidents(WholeResidents):
    """The sequences of one cache, each with a part of it.

    Args:
        decoder: Told what to copy, cut, drop, save and restore.
        cells: Places in all parts together.
        sequences: Parts there are.
        spill: Where cached sequences go that give way to a request.
    """

    def __init__(
        self, decoder: Decoder, *, cells: int, sequences: int, spill: Spill
    ) -> None:
        super().__init__(decoder, cells=cells, sequences=sequences, spill=spill)
        self._numbers = range(sequences)
        # What another part holds is copied whole.
        self._least = max(LEAST_SHARED, cells // sequences // CELLS_PER_TOKEN)
        self._awaited: dict[int, dict[int, int]] = {}
        """By running sequence: what it has in common with prompts being computed."""

    def enter(self, path: Path, *, need_cells: int, keep: int = 0) -> Place | None:  # noqa: ARG002 - a part is long enough for any request
        """Give a request a part, and in it what others hold of its prompt."""
        if len(self._needs) == len(self._numbers):
            return None
        held, source = self._found(path)
        state = self._spilled(path, held=held)
        if state is not None:
            held, source = state[0], None
        goes_on = source is not None and 2 * held >= self._paths[source].size
        sequence = self._part(source if goes_on else None)
        if source not in {None, sequence} and held < self._least:
            held, source = 0, None
        if sequence in self._cached and sequence != source:
            self._evict(sequence)
        if sequence in self._cached:
            del self._cached[sequence]
            self._await_no_more(sequence)
        else:
            self._free.remove(sequence)
        if state is not None and not self._decoder.restore(sequence, state[1]):
            self._decoder.drop(sequence)
            held = 0
        elif source is not None and source != sequence:
            self._decoder.copy(source, sequence)
            if source in self._cached:
                self._cached.move_to_end(source)
        if held:
            self._decoder.cut(sequence, tokens=held)
        self._paths[sequence] = path
        self._needs[sequence], self._computed[sequence] = need_cells, held
        self._awaited[sequence] = self._coming(sequence)
        return Place(sequence=sequence, reused=held)

    def leap(self, sequence: int, *, tokens: int) -> int:
        """Copy what another has computed of this prompt, once it has all of it."""
        awaited = self._awaited[sequence]
        for source, same in tuple(awaited.items()):
            if same - tokens < self._least:
                del awaited[source]
            elif self._computed.get(source, same) >= same:
                self._decoder.copy(source, sequence)
                self._decoder.cut(sequence, tokens=same)
                self._computed[sequence] = same
                return same
        return tokens

    def _forget(self, sequence: int) -> None:
        super()._forget(sequence)
        self._await_no_more(sequence)

    def _part(self, source: int | None) -> int:
        """Return the part to use: beside others, best where most of it lies already."""
        free = [each for each in self._numbers if each not in self._needs]
        beside = [each for each in free if {each - 1, each + 1} & self._needs.keys()]
        choice = beside or free
        if source in choice:
            return source
        empty = next((each for each in choice if each not in self._cached), None)
        if empty is not None:
            return empty
        return next(each for each in self._cached if each in choice)

    def _found(self, path: Path) -> tuple[int, int | None]:
        """Return how many tokens of a prompt a sequence holds, and which one."""
        best, source = LEAST_SHARED - 1, None
        for each, other in self._paths.items():
            same = _same(path, other)
            whole = each in self._cached or self._computed[each] >= same
            if whole and same > best:
                best, source = same, each
        return (0, None) if source is None else (best, source)

    def _coming(self, sequence: int) -> dict[int, int]:
        """Return what prompts that are being computed will have of this one."""
        path = self._paths[sequence]
        found = {}
        for each in self._needs:
            same = _same(path, self._paths[each])
            if each != sequence and self._computed[each] < same:
                found[each] = same
        return found

    def _spilled(self, path: Path, *, held: int) -> tuple[int, bytes] | None:
        """Take a spilled sequence that has much more of a prompt than is held."""
        length, kept = self._spill.find(path)
        tokens = path.cells(length)
        if kept is None or tokens - held < self._spill.least_tokens:
            return None
        return tokens, self._spill.take(kept)

    def _await_no_more(self, gone: int) -> None:
        self._awaited.pop(gone, None)
        for awaited in self._awaited.values():
            awaited.pop(gone, None)


def _same(path: Path, other: Path) -> int:
    """Return how many tokens two prompts begin with in common.

    The last token of the first does not count: it is always computed.
    """
    return path.cells(common(path.tokens[:-1], other.tokens))
