"""Writes records, and hashes in the place of those that are not exported.

Only what is asked for is read. What lies before, between and behind it is known by the
hashes that the ledger keeps of its tree, so an export of a day takes as long from a
ledger of ten years as from one of ten days. What is written hashes to the signed head,
or it is not written at all; of what was pruned there is a hash for each record.
A line of ``hashes.txt`` is ``PLACE LEAVES HASH``: the root of a perfect subtree of RFC
6962 that begins at record ``PLACE``.
"""

import base64
import heapq
import itertools
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import ColumnElement, Connection, case, or_, select

from appliance.db.tables import RecordRow
from appliance.ledger.exports.out_folder import new_file
from appliance.ledger.exports.redaction import Listing
from appliance.ledger.exports.selection import Selection, is_needed
from appliance.ledger.log.pruned import Pruned, read_pruned
from appliance.ledger.log.subtrees import perfect_subtrees
from appliance.ledger.tree.merkle import Frontier, leaf_hash, node_hash
from bundleformat.errors import DigestMismatchError

RECORDS, HASHES = "records.jsonl", "hashes.txt"

_STREAMED = {"yield_per": 1_000}

_Row = tuple[int, bytes, bytes | None, bool]
"""A record's number, its leaf hash, its bytes if they are asked for, and whether it
has none any more."""


@dataclass(frozen=True, slots=True)
class _Subtree:
    """The perfect subtree of ``leaves`` records from ``place`` on."""

    place: int
    leaves: int
    root: bytes

    def line(self) -> bytes:
        body = base64.b64encode(self.root).decode()
        return f"{self.place} {self.leaves} {body}\n".encode()


@dataclass(slots=True)
class _Joined:
    """Subtrees side by side, two of which become one wherever the tree has it."""

    parts: list[_Subtree] = field(default_factory=list)

    def add(self, grown: _Subtree) -> None:
        while self.parts and self._joins(self.parts[-1], grown):
            left = self.parts.pop()
            root = node_hash(left.root, grown.root)
            grown = _Subtree(left.place, 2 * left.leaves, root)
        self.parts.append(grown)

    def head(self) -> tuple[int, bytes]:
        """Return how many records these are, and the root over them."""
        size = sum(part.leaves for part in self.parts)
        roots = tuple(part.root for part in self.parts)
        return size, Frontier(size=size, hashes=roots).root()

    @staticmethod
    def _joins(left: _Subtree, right: _Subtree) -> bool:
        return left.leaves == right.leaves and left.place % (2 * left.leaves) == 0


class _Writing:
    """The tree while it is written: records as they are, or hashes in their place."""

    def __init__(self, records: BinaryIO, hashes: BinaryIO | None) -> None:
        self._records, self._hashes = records, hashes
        self._tree, self._left_out = _Joined(), _Joined()
        self.at = 0

    def give(self, record: bytes, leaf: bytes) -> None:
        """Write a record."""
        self.cut()
        self._records.write(record + b"\n")
        self._take(_Subtree(self.at, 1, leaf))

    def leave_out(self, leaves: int, root: bytes) -> None:
        """Have a hash stand for the next ``leaves`` records."""
        subtree = _Subtree(self.at, leaves, root)
        self._left_out.add(subtree)
        self._take(subtree)

    def cut(self) -> None:
        """Write the hashes so far, none of which joins one that comes later."""
        for subtree in self._left_out.parts:
            if self._hashes is None:
                raise _does_not_add_up(f"record {subtree.place}")
            self._hashes.write(subtree.line())
        self._left_out = _Joined()

    def check(self, size: int, root: bytes) -> None:
        """Check that all of it is the signed head.

        Raises:
            DigestMismatchError: It is not.
        """
        found = self._tree.head()
        if found != (size, root):
            raise _does_not_add_up("ledger", expected=root.hex(), actual=found[1].hex())

    def _take(self, subtree: _Subtree) -> None:
        self._tree.add(subtree)
        self.at += subtree.leaves


def write_records(
    connection: Connection,
    folder: Path,
    *,
    selection: Selection,
    size: int,
    root: bytes,
    cuts: Collection[int],
    listing: Listing | None = None,
) -> tuple[str, ...]:
    """Write the selected records of the first ``size``, and hashes of the others.

    Args:
        connection: In one transaction that only reads.
        folder: Where; the names of the files written are returned.
        selection: Which records.
        size: How many records the tree has.
        root: Its signed head.
        cuts: Sizes at which the tree's root must follow from what is written.
        listing: Takes records whose bytes are withheld, and says which they are.

    Raises:
        DigestMismatchError: The records do not hash to ``root``, or one that has no
            bytes is named by no ``log.pruned`` of these.
        MissingError: A record or a hash of the ledger's tree is not there.
        OSError: The disk refused.
    """
    pruned = read_pruned(connection)
    whole = selection.whole and listing is None and not pruned.records
    names = (RECORDS,) if whole else (RECORDS, HASHES)
    listed = selection.span(size) if selection.listed else range(0)
    with ExitStack() as stack:
        records, *others = (
            stack.enter_context(new_file(folder / name)) for name in names
        )
        writing = _Writing(records, others[0] if others else None)
        for seq, leaf, record, gone in _rows(connection, selection, size=size):
            _pass_over(connection, writing, range(writing.at, seq), cuts=cuts)
            if gone:
                _check_pruned(pruned, seq, size=size)
            if gone or seq in listed:
                writing.cut()
            if record is None:
                writing.leave_out(1, leaf)
            else:
                true_leaf = leaf_hash(record)
                if listing is not None and listing.withholds(record, true_leaf):
                    writing.leave_out(1, true_leaf)
                else:
                    writing.give(record, true_leaf)
            if gone or seq in listed or seq + 1 in cuts:
                writing.cut()
        _pass_over(connection, writing, range(writing.at, size), cuts=cuts)
        writing.cut()
    writing.check(size, root)
    return names


def _pass_over(
    connection: Connection, writing: _Writing, places: range, *, cuts: Collection[int]
) -> None:
    """Leave out ``places``, of which nothing is asked for."""
    inside = sorted(cut for cut in cuts if places.start < cut < places.stop)
    edges = (places.start, *inside, places.stop)
    for start, stop in itertools.pairwise(edges):
        for part, root in perfect_subtrees(connection, range(start, stop)):
            writing.leave_out(len(part), root)
        if stop in cuts:
            writing.cut()


def _rows(connection: Connection, selection: Selection, *, size: int) -> Iterator[_Row]:
    """Yield in order what is asked for, what is needed, and what is to be listed."""
    span = selection.span(size)
    in_span = (RecordRow.seq >= span.start) & (RecordRow.seq < span.stop)
    asked = in_span & selection.clause()
    if selection.listed:
        given = case((or_(is_needed(), asked), RecordRow.bytes_))
        inner = _query(connection, in_span, given=given)
        outer = is_needed() & ~in_span & (RecordRow.seq < size)
    else:
        inner = _query(connection, asked)
        outer = is_needed() & (RecordRow.seq < size)
    if selection.whole:
        yield from inner
        return
    last = -1
    for row in heapq.merge(inner, _query(connection, outer), key=itemgetter(0)):
        if row[0] != last:
            yield row
        last = row[0]


def _query(
    connection: Connection,
    where: ColumnElement[bool],
    *,
    given: ColumnElement[bytes | None] | None = None,
) -> Iterator[_Row]:
    columns = (
        RecordRow.seq,
        RecordRow.leaf,
        RecordRow.bytes_ if given is None else given,
        RecordRow.bytes_.is_(None),
    )
    query = select(*columns).where(where).order_by(RecordRow.seq)
    yield from connection.execute(query, execution_options=_STREAMED)


def _check_pruned(pruned: Pruned, seq: int, *, size: int) -> None:
    """Check that one of the first ``size`` records says that this one was pruned."""
    by = pruned.by(seq)
    if by is None or by >= size:
        raise DigestMismatchError(
            "a record has no bytes, and none of this export says that it was pruned",
            where=f"record {seq}",
            hint="If records were pruned just now, export again; else run: sallyport "
            "audit fsck. Keep the database; it is evidence.",
        )


def _does_not_add_up(
    where: str, *, expected: str = "", actual: str = ""
) -> DigestMismatchError:
    return DigestMismatchError(
        "the records do not hash to the signed root",
        where=where,
        expected=expected,
        actual=actual,
        hint="Run: sallyport audit fsck. Keep the database; it is evidence.",
    )
