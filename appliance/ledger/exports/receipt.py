"""The records that say what came into this host, and what was made of it.

They are read back from the ledger, where they are evidence; nothing here decides
or writes.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select

from appliance.db.tables import RecordRow
from appliance.ledger.records.catalogue import Event
from appliance.ledger.tree.merkle import leaf_hash
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


def _read(seq: int, leaf: bytes, data: bytes | None) -> ReceiptRecord:
    if data is None or leaf_hash(data) != leaf:
        raise DigestMismatchError(
            "a record is not what the tree is made of",
            where=f"record {seq}",
            expected=leaf.hex(),
            actual="nothing" if data is None else leaf_hash(data).hex(),
            hint="Run: sallyport audit fsck. Keep the database; it is evidence.",
        )
    return ReceiptRecord(seq=seq, data=data, fields=json.loads(data))
