"""Writes the ledger into a folder that an auditor takes away and checks elsewhere.

An export is one snapshot: a single read transaction, so the server may go on
writing. The records are hashed while they are written and compared with the
signed root; a ledger that does not add up is not exported as if it did. The
folder appears complete, synced to disk, or not at all.
"""

import datetime as dt
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, select

from appliance.db.session import reader
from appliance.db.tables import RecordRow
from appliance.ledger import verifier
from appliance.ledger.append import append
from appliance.ledger.events import Draft, Event, Outcome, timestamp
from appliance.ledger.head import LogIdentity, read_note, read_verified_head
from appliance.ledger.merkle import Frontier, leaf_hash
from appliance.ledger.note import sign_note
from appliance.ledger.out_folder import check_place, partial_folder, write_new
from bundleformat.errors import DigestMismatchError

MANIFEST_TITLE = "sallyport export manifest v1"
"""First line of the note that signs a manifest; no checkpoint can begin with it."""

RECORDS = "records.jsonl"
"""The evidence: one canonical record on each line."""

Derive = Callable[[Path], Iterable[str]]
"""Adds files to a folder whose ``RECORDS`` is written, and returns their names."""

_STREAMED = {"yield_per": 1_000}


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """What was written.

    Attributes:
        folder: Where.
        origin: Which log.
        vkey: The key that an auditor verifies it with.
        size: Number of records, the export's own ``log.exported`` among them.
        root: The signed tree head over them.
    """

    folder: Path
    origin: str
    vkey: str
    size: int
    root: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    path: str
    sha256: str
    size_bytes: int
    derived: bool = False


def export(
    engine: Engine,
    folder: Path,
    *,
    log: LogIdentity,
    signer: Ed25519PrivateKey,
    now: dt.datetime,
    tool: str,
    derive: Derive | None = None,
) -> Export:
    """Record ``log.exported``, then write the whole ledger to ``folder``.

    Args:
        engine: The database; nothing else of it is locked meanwhile.
        folder: Where; it MUST NOT exist, its parent must.
        log: The ledger's identity.
        signer: The ledger's key, for the record and the manifest.
        now: When.
        tool: Name and version of this program, as ``sallyport/0.1.0``.
        derive: Makes further files from the records, for convenience; the manifest
            lists them as what they are.

    Raises:
        ConflictError: ``folder`` exists.
        MissingError: The folder it should lie in does not.
        DigestMismatchError: The records do not hash to the signed root.
        AuditUnavailableError: The ledger's head is damaged.
        StorageFaultError: The medium refused, or is full.
    """
    check_place(folder)
    with engine.begin() as connection:
        _record_export(connection, log=log, signer=signer, now=now, tool=tool)
    with partial_folder(folder) as partial:
        with reader(engine).begin() as connection:
            head = read_verified_head(connection, log=log)
            files = [
                _write(partial / "checkpoint.txt", read_note(connection).encode()),
                _write_records(connection, partial / RECORDS, head=head),
            ]
        program = Path(verifier.__file__).read_bytes()
        files.append(_write(partial / "verify.py", program))
        names = derive(partial) if derive else ()
        files.extend(_derived(partial / name) for name in names)
        manifest = _manifest(files, log=log, size=head.size, now=now, tool=tool)
        title = (
            f"{MANIFEST_TITLE}\n{log.origin}\n{hashlib.sha256(manifest).hexdigest()}\n"
        )
        _write(partial / "manifest.json", manifest)
        _write(
            partial / "manifest.note", sign_note(title, name=log.origin, signer=signer)
        )
    return Export(
        folder=folder,
        origin=log.origin,
        vkey=log.vkey,
        size=head.size,
        root=head.root(),
    )


def _record_export(
    connection: Connection,
    *,
    log: LogIdentity,
    signer: Ed25519PrivateKey,
    now: dt.datetime,
    tool: str,
) -> None:
    size = read_verified_head(connection, log=log).size
    draft = Draft(
        event=Event.LOG_EXPORTED,
        outcome=Outcome.OK,
        fields={"size": str(size + 1), "tool": tool},
    )
    append(connection, [draft], log=log, signer=signer, now=now)


def _write_records(connection: Connection, path: Path, *, head: Frontier) -> _File:
    """Write one record per line, and check that they hash to ``head``."""
    rows = select(RecordRow.bytes_).where(RecordRow.seq < head.size)
    records = connection.execute(
        rows.order_by(RecordRow.seq), execution_options=_STREAMED
    ).scalars()
    digest, size_bytes, tree = hashlib.sha256(), 0, Frontier()
    with path.open("xb") as file:
        for record in records:
            line = record + b"\n"
            file.write(line)
            digest.update(line)
            size_bytes += len(line)
            tree = tree.extended([leaf_hash(record)])
        file.flush()
        os.fsync(file.fileno())
    if tree != head:
        raise DigestMismatchError(
            "the records do not hash to the signed root",
            where="ledger",
            expected=head.root().hex(),
            actual=tree.root().hex(),
            hint="Run: sallyport audit fsck. Keep the database; it is evidence.",
        )
    return _File(path=path.name, sha256=digest.hexdigest(), size_bytes=size_bytes)


def _write(path: Path, data: bytes) -> _File:
    write_new(path, data)
    digest = hashlib.sha256(data).hexdigest()
    return _File(path=path.name, sha256=digest, size_bytes=len(data))


def _derived(path: Path) -> _File:
    """Return what the manifest says of a file that was made from the records."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        os.fsync(file.fileno())
        size_bytes = file.tell()
    return _File(
        path=path.name, sha256=digest.hexdigest(), size_bytes=size_bytes, derived=True
    )


def _entry(file: _File) -> dict[str, str]:
    entry = {
        "path": file.path,
        "sha256": file.sha256,
        "size_bytes": str(file.size_bytes),
    }
    return {**entry, "derived_from": RECORDS} if file.derived else entry


def _manifest(
    files: list[_File],
    *,
    log: LogIdentity,
    size: int,
    now: dt.datetime,
    tool: str,
) -> bytes:
    return rfc8785.dumps(
        {
            "v": 1,
            "created": timestamp(now),
            "tool": tool,
            "origin": log.origin,
            "vkey": log.vkey,
            "size": str(size),
            "range": {"first": "0", "last": str(size - 1)},
            "files": [
                _entry(file) for file in sorted(files, key=lambda file: file.path)
            ],
        }
    )
