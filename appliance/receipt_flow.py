"""Shows and exports the receipts of what came into this host."""

from pathlib import Path

from appliance.account import account_fields
from appliance.db.session import database_faults
from appliance.host import OpenHost, tool_name
from appliance.ledger.exports import receipt, receipt_export
from appliance.ledger.exports.receipt import ReceiptRecord
from appliance.ledger.exports.receipt_export import ReceiptExport, Selection


def list_receipts(host: OpenHost, selection: Selection) -> tuple[ReceiptRecord, ...]:
    """Return the receipts in the order in which they were written.

    Raises:
        DigestMismatchError: One of them is damaged.
    """
    with host.look() as connection:
        return receipt.find_receipts(
            connection, channel=selection.channel, version=selection.version
        )


def export_receipts(
    host: OpenHost, folder: Path, *, selection: Selection
) -> ReceiptExport:
    """Write receipts with their proofs to a new folder; that is itself on record.

    Raises:
        ConflictError: ``folder`` exists.
        MissingError: There is no such receipt, or no folder to put it in.
        DigestMismatchError: The ledger is damaged.
        StorageFaultError: The disk refused, or is full.
    """
    with database_faults(host.database):
        return receipt_export.export_receipts(
            host.database,
            folder,
            selection=selection,
            log=host.log,
            keys=host.keys,
            now=host.clock.now(),
            tool=tool_name(),
            account=account_fields(),
        )
