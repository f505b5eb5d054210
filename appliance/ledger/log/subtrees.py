"""The hashes of the tree above its leaves, kept so that a proof need not read them all.

Every perfect subtree of ``KEPT_LEAVES`` leaves or more has a row, made in the
transaction that completes it. A proof or a part of the ledger then costs as much as
its own records and a few rows more, however long the ledger is. The rows are an index
and no evidence: whatever is made from them is compared with a signed head, and
``fsck`` computes them anew.
Source: RFC 6962, section 2.1; C2SP tlog-tiles. Why so: decision 0023.
"""

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, func, insert, select

from appliance.db.tables import RecordRow, SubtreeRow
from appliance.ledger.tree.merkle import (
    Frontier,
    inclusion_ranges,
    perfect_ranges,
    tree_root,
)
from bundleformat.errors import DigestMismatchError, MissingError

KEPT_LEAVES = 256
"""Leaves of the smallest subtree that has a row. Unit: records."""

_INSERT = insert(SubtreeRow)


class Growth:
    """The tree while it grows by ``leaves``, and the rows that this makes."""

    def __init__(self, before: Frontier, leaves: Iterable[bytes]) -> None:
        self._rows: list[dict[str, object]] = []
        self.after = before.extended(leaves, grown=self._grown)

    def _grown(self, place: int, leaves: int, root: bytes) -> None:
        if leaves >= KEPT_LEAVES:
            self._rows.append({"leaves": leaves, "place": place, "root": root})

    def keep(self, connection: Connection) -> None:
        """Insert the rows in the caller's transaction."""
        if self._rows:
            connection.execute(_INSERT, self._rows)


class KeptSubtrees:
    """Compares every row with what the leaves say, for ``fsck``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._checked = 0

    def check(self, place: int, leaves: int, root: bytes) -> None:
        """Check the row of a subtree, if it is one that has a row.

        Raises:
            MissingError: It is not there.
            DigestMismatchError: It says another root.
        """
        if leaves < KEPT_LEAVES:
            return
        part = range(place, place + leaves)
        kept = _perfect_root(self._connection, part)
        if kept != root:
            raise DigestMismatchError(
                "a hash of the ledger's tree is not what its records hash to",
                where=f"records {part.start} to {part.stop - 1}",
                expected=root.hex(),
                actual=kept.hex(),
            )
        self._checked += 1

    def check_no_more(self) -> None:
        """Check that there are no rows but those that were checked.

        Raises:
            DigestMismatchError: There are.
        """
        query = select(func.count()).select_from(SubtreeRow)
        count = self._connection.execute(query).scalar_one()
        if count != self._checked:
            raise DigestMismatchError(
                "there are hashes of a tree that the ledger is not",
                where="subtree",
                expected=str(self._checked),
                actual=str(count),
            )


def perfect_subtrees(
    connection: Connection, leaves: range
) -> Iterator[tuple[range, bytes]]:
    """Yield the fewest perfect subtrees that make up ``leaves``, and their roots.

    Raises:
        MissingError: A record or a row is not there.
    """
    for part in perfect_ranges(leaves):
        yield part, _perfect_root(connection, part)


def range_root(connection: Connection, leaves: range) -> bytes:
    """Return the root over ``leaves`` as the hashes of RFC 6962's proofs have it.

    Raises:
        MissingError: A record or a row is not there.
    """
    roots = tuple(root for _, root in perfect_subtrees(connection, leaves))
    return Frontier(size=len(leaves), hashes=roots).root()


def inclusion_path(
    connection: Connection, index: int, *, size: int
) -> tuple[bytes, ...]:
    """Return the proof that record ``index`` is one of the first ``size``.

    Raises:
        IndexError: There is no such record.
        MissingError: A record or a row is not there.
    """
    ranges = inclusion_ranges(index, size)
    return tuple(range_root(connection, part) for part in ranges)


def _perfect_root(connection: Connection, part: range) -> bytes:
    if len(part) >= KEPT_LEAVES:
        kept = select(SubtreeRow.root).where(
            SubtreeRow.leaves == len(part), SubtreeRow.place == part.start
        )
        root = connection.execute(kept).scalar_one_or_none()
        if root is None:
            raise _missing(part)
        return root
    inside = (RecordRow.seq >= part.start, RecordRow.seq < part.stop)
    query = select(RecordRow.leaf).where(*inside).order_by(RecordRow.seq)
    leaves = connection.execute(query).scalars().all()
    if len(leaves) != len(part):
        raise _missing(part)
    return tree_root(leaves)


def _missing(part: range) -> MissingError:
    return MissingError(
        "hashes of the ledger's tree are not there",
        where=f"records {part.start} to {part.stop - 1}",
        hint="Run: sallyport audit fsck. Keep the database; it is evidence.",
    )
