"""Writes records, and hashes in the place of those that are not exported.

One pass over the ledger. What is written hashes to the signed head, or it is not
written at all. A line of ``hashes.txt`` is ``PLACE LEAVES HASH``: the root of a
perfect subtree of RFC 6962 that begins at record ``PLACE``.
"""

import base64
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, case, select

from appliance.db.tables import RecordRow
from appliance.ledger.exports.out_folder import new_file
from appliance.ledger.exports.redaction import Listing
from appliance.ledger.exports.selection import Selection
from appliance.ledger.tree.merkle import Frontier, leaf_hash, node_hash
from bundleformat.errors import DigestMismatchError

RECORDS, HASHES = "records.jsonl", "hashes.txt"

_STREAMED = {"yield_per": 1_000}


@dataclass(frozen=True, slots=True)
class _Subtree:
    place: int
    leaves: int
    root: bytes

    def line(self) -> bytes:
        body = base64.b64encode(self.root).decode()
        return f"{self.place} {self.leaves} {body}\n".encode()


class _Hashes:
    """Collects leaves that are left out into as few subtrees as their places allow."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pending: list[_Subtree] = []

    def add(self, place: int, leaf: bytes) -> None:
        grown = _Subtree(place, 1, leaf)
        while self._pending and self._joins(self._pending[-1], grown):
            left = self._pending.pop()
            root = node_hash(left.root, grown.root)
            grown = _Subtree(left.place, 2 * left.leaves, root)
        self._pending.append(grown)

    def flush(self) -> None:
        for subtree in self._pending:
            self._file.write(subtree.line())
        self._pending.clear()

    @staticmethod
    def _joins(left: _Subtree, right: _Subtree) -> bool:
        return left.leaves == right.leaves and left.place % (2 * left.leaves) == 0


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
        DigestMismatchError: The records do not hash to ``root``.
        OSError: The disk refused.
    """
    whole = selection.whole and listing is None
    names = (RECORDS,) if whole else (RECORDS, HASHES)
    span, tree = selection.span(size), Frontier()
    listed = span if selection.listed else range(0)
    with ExitStack() as stack:
        records, *others = (
            stack.enter_context(new_file(folder / name)) for name in names
        )
        hashes = _Hashes(others[0]) if others else None
        wanted = case((selection.clause(span), RecordRow.bytes_))
        rows = select(RecordRow.seq, RecordRow.leaf, wanted).where(RecordRow.seq < size)
        for seq, leaf, record in connection.execute(
            rows.order_by(RecordRow.seq), execution_options=_STREAMED
        ):
            true_leaf = leaf if record is None else leaf_hash(record)
            tree = tree.extended([true_leaf])
            given = record
            if listing and record is not None and listing.withholds(record, true_leaf):
                given = None
            if hashes is not None:
                if given is not None or seq in listed:
                    hashes.flush()
                if given is None:
                    hashes.add(seq, true_leaf)
                if seq in listed or seq + 1 in cuts:
                    hashes.flush()
            if given is not None:
                records.write(given + b"\n")
        if hashes is not None:
            hashes.flush()
    if (tree.size, tree.root()) != (size, root):
        raise DigestMismatchError(
            "the records do not hash to the signed root",
            where="ledger",
            expected=root.hex(),
            actual=tree.root().hex(),
            hint="Run: sallyport audit fsck. Keep the database; it is evidence.",
        )
    return names
