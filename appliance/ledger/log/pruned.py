"""What was let go of the ledger: of which records the bytes, of which the bodies.

Each range is one that a record ``log.pruned`` names; ranges of a kind never overlap.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from sqlalchemy import Connection, func, select

from appliance.db.tables import PruneRangeRow
from bundleformat.retention import Kept


@dataclass(frozen=True, kw_only=True, slots=True)
class PrunedRange:
    """Records ``first`` to ``last``, let go by record ``record_seq``."""

    first: int
    last: int
    record_seq: int

    def __str__(self) -> str:
        """Return the range as ``log.pruned`` names it."""
        return f"{self.first}-{self.last}"


class Pruned:
    """Everything of one kind that was let go."""

    def __init__(self, ranges: Sequence[PrunedRange]) -> None:
        self._ranges = sorted(ranges, key=attrgetter("first"))

    def __iter__(self) -> Iterator[PrunedRange]:
        """Yield the ranges, lowest first."""
        return iter(self._ranges)

    @property
    def records(self) -> int:
        """How many records it is."""
        return sum(each.last - each.first + 1 for each in self._ranges)

    def by(self, seq: int) -> int | None:
        """Return the ``log.pruned`` by which record ``seq`` was let go, or None."""
        place = bisect_right(self._ranges, seq, key=attrgetter("first"))
        if place == 0 or self._ranges[place - 1].last < seq:
            return None
        return self._ranges[place - 1].record_seq


def read_pruned(connection: Connection, kept: Kept = Kept.RECORD) -> Pruned:
    """Return everything of one kind that was let go."""
    rows = connection.execute(
        select(
            PruneRangeRow.first_seq, PruneRangeRow.last_seq, PruneRangeRow.record_seq
        ).where(PruneRangeRow.kind == str(kept))
    )
    return Pruned(
        [PrunedRange(first=first, last=last, record_seq=by) for first, last, by in rows]
    )


def find_pruning(connection: Connection, seq: int, kept: Kept) -> int | None:
    """Return the ``log.pruned`` by which something of record ``seq`` went, or None."""
    nearest = connection.execute(
        select(PruneRangeRow.last_seq, PruneRangeRow.record_seq)
        .where(PruneRangeRow.kind == str(kept), PruneRangeRow.first_seq <= seq)
        .order_by(PruneRangeRow.first_seq.desc())
        .limit(1)
    ).one_or_none()
    return None if nearest is None or nearest[0] < seq else nearest[1]


def count_pruned(connection: Connection, kept: Kept) -> int:
    """Return of how many records it was let go."""
    number = func.sum(PruneRangeRow.last_seq - PruneRangeRow.first_seq + 1)
    found = connection.execute(select(number).where(PruneRangeRow.kind == str(kept)))
    return int(found.scalar_one() or 0)
