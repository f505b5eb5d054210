"""Writes the receipts of imports into a folder, each with the proof that it counts.

A receipt is a record's exact bytes, and beside it a C2SP tlog-proof: its place, the
path from there to the tree head, and that head as the ledger signed it. The
page for people says the same in words; its digest is signed too, so that no receipt
can be taken out unnoticed. What the whole ledger says is the business of ``export``.
Source: C2SP tlog-proof.
"""

import base64
import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine

from appliance.db.session import reader
from appliance.ledger.exports import receipt_verifier
from appliance.ledger.exports.out_folder import check_place, partial_folder, write_new
from appliance.ledger.exports.receipt import (
    ReceiptRecord,
    find_receipts,
)
from appliance.ledger.log.append import Receipt
from appliance.ledger.log.head import (
    LogIdentity,
    read_checkpoint,
    read_verified_head,
)
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.log.last_record import record_and_end
from appliance.ledger.log.rotation import key_chain
from appliance.ledger.log.subtrees import inclusion_path
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.records.fields import JSON
from appliance.ledger.tree.merkle import inclusion_holds, leaf_hash
from appliance.ledger.tree.note import sign_note
from bundleformat.errors import DigestMismatchError, MissingError


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which receipts are wanted: all, or those of a channel or version."""

    channel: str | None = None
    version: int | None = None

    def __str__(self) -> str:
        """Return the selection as the signed index and the page say it."""
        said = [
            f"channel {self.channel}" if self.channel is not None else "",
            f"version {self.version}" if self.version is not None else "",
        ]
        return ", ".join(part for part in said if part) or "everything that came in"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptExport:
    """What was written.

    Attributes:
        folder: Where.
        vkey: The key that it is verified with.
        receipts: How many receipts.
        size: Number of records below the head that the proofs lead to.
        root: That head.
    """

    folder: Path
    vkey: str
    receipts: int
    size: int
    root: bytes


def export_receipts(
    engine: Engine,
    folder: Path,
    *,
    selection: Selection,
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
    tool: str,
    account: Mapping[str, JSON],
) -> ReceiptExport:
    """Record ``receipts.exported``, then write the receipts to ``folder``.

    While the ledger is halted there is no such record.

    Args:
        engine: The database; nothing else of it is locked meanwhile.
        folder: Where; it MUST NOT exist, its parent must.
        selection: Which receipts.
        log: The ledger's identity.
        keys: The ledger's keys, for the record and the index.
        now: When.
        tool: Name and version of this program, as ``sallyport/0.1.0``.
        account: Who asked, as the record says it.

    Raises:
        ConflictError: ``folder`` exists.
        MissingError: The folder it should lie in does not, or there is no such
            receipt.
        DigestMismatchError: The ledger does not hash to its signed root.
        AuditUnavailableError: The ledger's head is damaged.
        StorageFaultError: The medium refused, or is full.
    """
    check_place(folder)
    end, signer = record_and_end(
        engine,
        lambda connection: _export_draft(
            connection, selection, log=log, said={"tool": tool, **account}
        ),
        log=log,
        keys=keys,
        now=now,
    )
    with partial_folder(folder) as partial:
        with reader(engine).begin() as connection:
            records = _write_receipts(connection, partial, selection, end=end)
        text = receipt_verifier.page(
            [record.fields for record in records],
            origin=log.origin,
            size=str(end.size),
            selection=str(selection),
        )
        write_new(partial / receipt_verifier.PAGE, text.encode())
        index = _index(text, size=end.size, selection=selection, log=log)
        note = sign_note(index, name=log.origin, signer=signer)
        write_new(partial / receipt_verifier.NOTE, note)
        program = Path(receipt_verifier.__file__).read_bytes()
        write_new(partial / receipt_verifier.PROGRAM, program)
    return ReceiptExport(
        folder=folder,
        vkey=log.vkey,
        receipts=len(records),
        size=end.size,
        root=end.root,
    )


def _export_draft(
    connection: Connection,
    selection: Selection,
    *,
    log: LogIdentity,
    said: Mapping[str, JSON],
) -> Draft:
    size = read_verified_head(connection, log=log).size
    return Draft(
        event=Event.RECEIPTS_EXPORTED,
        outcome=Outcome.OK,
        fields={
            "size": str(size + 1),
            "receipts": len(_find(connection, selection)),
            "channel": selection.channel,
            "version": selection.version,
            **said,
        },
    )


def _find(connection: Connection, selection: Selection) -> tuple[ReceiptRecord, ...]:
    found = find_receipts(
        connection, channel=selection.channel, version=selection.version
    )
    if not found:
        raise MissingError(
            "there is no such receipt",
            where=str(selection),
            hint="Run: sallyport receipts list",
        )
    return found


def _write_receipts(
    connection: Connection, folder: Path, selection: Selection, *, end: Receipt
) -> tuple[ReceiptRecord, ...]:
    """Write the head of ``end``, and each receipt below it with its proof."""
    found = read_checkpoint(connection, size=end.size)
    note = "" if found is None else found[1]
    records = tuple(r for r in _find(connection, selection) if r.seq < end.size)
    write_new(folder / receipt_verifier.CHECKPOINT, note.encode())
    chain = key_chain(connection, size=end.size)
    write_new(folder / receipt_verifier.KEYS, chain)
    for record in records:
        write_new(folder / f"{record.seq}.json", record.data)
        path = _path(connection, record, end=end)
        proof = _proof(record.seq, path, note=note)
        write_new(folder / f"{record.seq}.tlog-proof", proof.encode())
    return records


def _path(
    connection: Connection, record: ReceiptRecord, *, end: Receipt
) -> tuple[bytes, ...]:
    """Return the hashes from a record to the head of ``end``, to which they lead.

    Raises:
        DigestMismatchError: They do not.
    """
    path = inclusion_path(connection, record.seq, size=end.size)
    leaf = leaf_hash(record.data)
    if not inclusion_holds(leaf, path, index=record.seq, size=end.size, root=end.root):
        raise DigestMismatchError(
            "the records do not hash to the signed root",
            where=f"record {record.seq}",
            expected=end.root.hex(),
            hint="Run: sallyport audit fsck. Keep the database; it is evidence.",
        )
    return path


def _proof(seq: int, hashes: tuple[bytes, ...], *, note: str) -> str:
    path = "".join(f"{base64.b64encode(each).decode()}\n" for each in hashes)
    return f"{receipt_verifier.PROOF_TITLE}\nindex {seq}\n{path}\n{note}"


def _index(text: str, *, size: int, selection: Selection, log: LogIdentity) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{receipt_verifier.TITLE}\n{log.origin}\n{size}\n{selection}\n{digest}\n"
