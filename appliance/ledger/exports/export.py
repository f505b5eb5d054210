"""Writes the ledger into a folder that an auditor takes away and checks elsewhere.

An export is one snapshot: a single read transaction, so the server may go on
writing. The records are hashed while they are written and compared with the
signed root; a ledger that does not add up is not exported as if it did. The
folder appears complete, synced to disk, or not at all. What is made of the records
for people and other programs can be written beside them, and is in the manifest.
"""

import datetime as dt
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine

from appliance.db.session import reader
from appliance.ledger.exports import verifier
from appliance.ledger.exports.bodies_file import Fetch, write_bodies
from appliance.ledger.exports.export_records import RECORDS, write_records
from appliance.ledger.exports.out_folder import (
    check_place,
    new_file,
    partial_folder,
    write_new,
)
from appliance.ledger.exports.redaction import LISTING, Listing, Redaction
from appliance.ledger.exports.selection import EVERYTHING, Selection
from appliance.ledger.log.append import Receipt
from appliance.ledger.log.consistency import consistency_file
from appliance.ledger.log.cosigned import cosignatures_file, cosigned_sizes
from appliance.ledger.log.head import (
    LogIdentity,
    read_checkpoint,
    read_verified_head,
)
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.log.last_record import record_and_end
from appliance.ledger.log.rotation import key_chain
from appliance.ledger.records.events import Draft, Event, Outcome, timestamp
from appliance.ledger.records.fields import JSON
from appliance.ledger.tree.note import Checkpoint, sign_note
from bundleformat.errors import MissingError

MANIFEST_TITLE = verifier.TITLE
"""First line of the note that signs a manifest; no checkpoint can begin with it."""

Derive = Callable[[Path], Iterable[str]]
"""Adds files to a folder whose ``RECORDS`` is written, and returns their names."""

__all__ = ["MANIFEST_TITLE", "RECORDS", "Derive", "Export", "Wishes", "export"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What an export is asked to be.

    Attributes:
        selection: Which records it holds.
        since: Heads of this ledger that the auditor holds; for each of them the
            export shows that its records are the first of this export's.
        receipts: Heads that callers were told in receipts; the same is shown.
        redaction: How much it tells of them.
        bodies: Gives the texts that its records commit to; without, it has none.
        asked: What ``log.exported`` says besides: who asked, and for what form.
        allow: Refuses the export, in the transaction that records it.
    """

    selection: Selection = EVERYTHING
    since: tuple[Checkpoint, ...] = ()
    receipts: tuple[Checkpoint, ...] = ()
    redaction: Redaction = Redaction.DIGEST
    bodies: Fetch | None = None
    asked: Mapping[str, JSON] = field(default_factory=dict)
    allow: Callable[[Connection], object] = field(default=lambda _: None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """What was written.

    Attributes:
        folder: Where.
        origin: Which log.
        vkey: The key that an auditor verifies it with.
        size: Number of records, the export's own ``log.exported`` among them unless
            the ledger is halted.
        root: The signed tree head over them.
    """

    folder: Path
    origin: str
    vkey: str
    size: int
    root: bytes


def export(
    engine: Engine,
    folder: Path,
    *,
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
    tool: str,
    wishes: Wishes | None = None,
    derive: Derive | None = None,
) -> Export:
    """Record ``log.exported``, then write the ledger up to it to ``folder``.

    While the ledger is halted there is no such record, and the export is the same.

    Args:
        engine: The database; nothing else of it is locked meanwhile.
        folder: Where; it MUST NOT exist, its parent must.
        log: The ledger's identity.
        keys: The ledger's keys, for the record and the manifest.
        now: When.
        tool: Name and version of this program, as ``sallyport/0.1.0``.
        wishes: What it is to hold; everything unless told otherwise.
        derive: Makes further files from the records, for convenience; the manifest
            lists them as what they are.

    Raises:
        ConflictError: ``folder`` exists.
        MissingError: The folder it should lie in does not.
        RollbackError, EquivocationError: A head that is held is not of this ledger.
        DigestMismatchError: The records do not hash to the signed root.
        AuditUnavailableError: The ledger's head is damaged.
        StorageFaultError: The medium refused, or is full.
    """
    wishes = wishes or Wishes()
    check_place(folder)
    end, signer = record_and_end(
        engine,
        lambda connection: _draft(connection, wishes, log=log, tool=tool),
        log=log,
        keys=keys,
        now=now,
    )
    with partial_folder(folder) as partial:
        with reader(engine).begin() as connection:
            names = list(_write_evidence(connection, partial, wishes, end=end))
        names += write_bodies(partial, wishes.bodies) if wishes.bodies else ()
        files = [_entry(partial, name) for name in names]
        if wishes.redaction is Redaction.METADATA:
            files.append({**_entry(partial, LISTING), "derived_from": "ledger"})
        files += [
            {**_entry(partial, name), "derived_from": RECORDS}
            for name in (derive(partial) if derive else ())
        ]
        files.sort(key=lambda file: file["path"])
        manifest = _manifest(files, wishes, log=log, end=end, now=now, tool=tool)
        _write_signed(partial, manifest, log=log, signer=signer)
    return Export(
        folder=folder, origin=log.origin, vkey=log.vkey, size=end.size, root=end.root
    )


def _draft(
    connection: Connection, wishes: Wishes, *, log: LogIdentity, tool: str
) -> Draft:
    wishes.allow(connection)
    size = read_verified_head(connection, log=log).size
    selection = wishes.selection.fields() or None
    return Draft(
        event=Event.LOG_EXPORTED,
        outcome=Outcome.OK,
        fields={
            "size": str(size + 1),
            "tool": tool,
            "selection": selection,
            "redaction": str(wishes.redaction),
            **wishes.asked,
        },
    )


def _write_evidence(
    connection: Connection, folder: Path, wishes: Wishes, *, end: Receipt
) -> Iterator[str]:
    """Write everything up to the head of ``end``; yield the names of the files."""
    found = read_checkpoint(connection, size=end.size)
    if found is None:
        raise MissingError("the head of this export is gone", where="ledger")
    note = found[1]
    proofs = {
        f"consistency/{held.size}-{end.size}.txt": consistency_file(
            connection, held, size=end.size, note=note
        )
        for held in wishes.since
    }
    cosigned = cosignatures_file(connection, size=end.size)
    cuts = {head.size for head in (*wishes.since, *wishes.receipts)}
    if proofs:
        (folder / "consistency").mkdir(mode=0o700)
    for name, data in {
        "checkpoint.txt": note.encode(),
        "epoch-keys.jsonl": key_chain(connection, size=end.size),
        "verify.py": Path(verifier.__file__).read_bytes(),
        **proofs,
        **({"cosignatures.txt": cosigned} if cosigned else {}),
    }.items():
        write_new(folder / name, data)
        yield name
    withheld = wishes.redaction is Redaction.METADATA
    with new_file(folder / LISTING) if withheld else nullcontext() as listing:
        yield from write_records(
            connection,
            folder,
            selection=wishes.selection,
            size=end.size,
            root=end.root,
            cuts=cuts | cosigned_sizes(connection, size=end.size),
            listing=Listing(listing, secret=secrets.token_bytes(32))
            if listing
            else None,
        )


def _entry(folder: Path, name: str) -> dict[str, str]:
    with (folder / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
        return {"path": name, "sha256": digest, "size_bytes": str(file.tell())}


def _write_signed(
    folder: Path, manifest: bytes, *, log: LogIdentity, signer: Ed25519PrivateKey
) -> None:
    digest = hashlib.sha256(manifest).hexdigest()
    title = f"{MANIFEST_TITLE}\n{log.origin}\n{digest}\n"
    note = sign_note(title, name=log.origin, signer=signer)
    write_new(folder / "manifest.json", manifest)
    write_new(folder / "manifest.note", note)


def _manifest(
    files: list[dict[str, str]],
    wishes: Wishes,
    *,
    log: LogIdentity,
    end: Receipt,
    now: dt.datetime,
    tool: str,
) -> bytes:
    span = wishes.selection.span(end.size)
    return rfc8785.dumps(
        {
            "v": 1,
            "created": timestamp(now),
            "tool": tool,
            "origin": log.origin,
            "vkey": log.vkey,
            "size": str(end.size),
            "range": {"first": str(span.start), "last": str(span.stop - 1)},
            "files": files,
            "redact": str(wishes.redaction),
            **({"only": only} if (only := _only(wishes)) else {}),
        }
    )


def _only(wishes: Wishes) -> str:
    """Return what the verifier is to say is there, where not every record is."""
    said = str(wishes.selection)
    if wishes.redaction is Redaction.METADATA:
        said = f"{LISTING} of {said}" if said else LISTING
    elif not wishes.selection.filtered:
        return said
    return f"{said}, which is the host's word"
