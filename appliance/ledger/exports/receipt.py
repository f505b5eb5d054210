"""The records that say what came into this host, and what was made of it.

They are read back from the ledger, where they are evidence; nothing here decides
or writes. Their inclusion proofs are worked out in one pass over the leaf hashes,
so that a ledger of any length takes no more memory than its proofs.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select

from appliance.db.tables import RecordRow
from appliance.ledger.records.catalogue import Event
from appliance.ledger.tree.merkle import EMPTY_ROOT, leaf_hash, node_hash
from bundleformat.digest import Sha256
from bundleformat.errors import DigestMismatchError

RECEIPTS: Final = (
    Event.TRUST_INITIALISED,
    Event.TRUST_UPDATED,
    Event.BUNDLE_EXPIRY_ACCEPTED,
    Event.BUNDLE_IMPORTED,
    Event.BUNDLE_REPAIRED,
    Event.BUNDLE_REFUSED,
    Event.GENERATION_ACTIVATED,
    Event.MODEL_REMOVED,
    Event.MODEL_RESTORED,
    Event.STORE_COLLECTED,
    Event.STORE_REPAIRED,
)
"""The events that are receipts of what came in and what became of it.

The steps of an import are not among them: its receipt names the checks.
"""

_STREAMED = {"yield_per": 1_000}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptRecord:
    """One such record: its place, its exact bytes, and what they say."""

    seq: int
    data: bytes
    fields: dict[str, Any]

    def text(self, name: str) -> str:
        """Return a field as text, or nothing if the record does not have it."""
        found = self.fields.get(name)
        return "" if found is None else str(found)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a field that is a list of texts; empty if there is none."""
        return tuple(self.fields.get(name, ()))


def find_receipts(
    connection: Connection,
    *,
    channel: str | None = None,
    version: int | None = None,
) -> tuple[ReceiptRecord, ...]:
    """Return the receipts in their order, or those of a channel or a version.

    A refusal whose channel or version could not be known is of none.

    Raises:
        DigestMismatchError: A record is damaged.
    """
    query = (
        select(RecordRow.seq, RecordRow.leaf, RecordRow.bytes_)
        .where(RecordRow.event.in_([str(event) for event in RECEIPTS]))
        .order_by(RecordRow.seq)
    )
    found = (_read(*row) for row in connection.execute(query))
    return tuple(
        record
        for record in found
        if (channel is None or record.fields.get("channel") == channel)
        and (version is None or record.fields.get("version") == version)
    )


def import_of(connection: Connection, manifest_sha256: Sha256) -> ReceiptRecord | None:
    """Return the newest record of the import of a bundle, or None."""
    imports = [
        record
        for record in find_receipts(connection)
        if record.fields.get("event") == str(Event.BUNDLE_IMPORTED)
        and record.fields.get("manifest_sha256") == manifest_sha256
    ]
    return imports[-1] if imports else None


def leaf_hashes(connection: Connection, *, size: int) -> Iterator[bytes]:
    """Give the first ``size`` leaf hashes as the ledger's index holds them."""
    query = select(RecordRow.leaf).where(RecordRow.seq < size).order_by(RecordRow.seq)
    yield from connection.execute(query, execution_options=_STREAMED).scalars()


def inclusion_proofs(
    leaves: Iterable[bytes], indexes: Collection[int]
) -> tuple[bytes, dict[int, tuple[bytes, ...]]]:
    """Return the root over ``leaves`` and the proof of each of ``indexes``.

    Each proof is the one of ``merkle.inclusion_proof``; an index beyond the
    leaves has none. Source: RFC 6962, section 2.1.1.
    """
    wanted = frozenset(indexes)
    proofs: dict[int, list[bytes]] = {}
    # One entry for each perfect subtree so far: its root, and whose leaf is in it.
    stack: list[tuple[bytes, list[int]]] = []

    def join(left: tuple[bytes, list[int]], right: tuple[bytes, list[int]]) -> None:
        for index in left[1]:
            proofs[index].append(right[0])
        for index in right[1]:
            proofs[index].append(left[0])
        stack.append((node_hash(left[0], right[0]), left[1] + right[1]))

    for index, leaf in enumerate(leaves):
        stack.append((leaf, [index] if index in wanted else []))
        if index in wanted:
            proofs[index] = []
        full = index
        while full & 1:
            right, left = stack.pop(), stack.pop()
            join(left, right)
            full >>= 1
    while len(stack) > 1:
        right, left = stack.pop(), stack.pop()
        join(left, right)
    root = stack[0][0] if stack else EMPTY_ROOT
    return root, {index: tuple(proof) for index, proof in proofs.items()}


def _read(seq: int, leaf: bytes, data: bytes) -> ReceiptRecord:
    if leaf_hash(data) != leaf:
        raise DigestMismatchError(
            "a record is not what the tree is made of",
            where=f"record {seq}",
            expected=leaf.hex(),
            actual=leaf_hash(data).hex(),
            hint="Run: sallyport audit fsck. Keep the database; it is evidence.",
        )
    return ReceiptRecord(seq=seq, data=data, fields=json.loads(data))
