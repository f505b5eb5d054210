"""What somebody with write access to an export, or with the ledger's key, can do."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from appliance.ledger.exports.export import MANIFEST_TITLE
from appliance.ledger.log.head import LogIdentity, read_open_epoch
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.tree.merkle import leaf_hash, tree_root
from appliance.ledger.tree.note import Checkpoint, sign_note


@dataclass(frozen=True)
class Thief:
    """Whoever has a key that signs heads of a log."""

    log: LogIdentity
    signer: Ed25519PrivateKey


class Opened(Protocol):
    """An open host, or a ledger."""

    @property
    def log(self) -> LogIdentity: ...

    @property
    def keys(self) -> LedgerKeys: ...


def thief_of(opened: Opened, connection: Connection) -> Thief:
    """Return who has copied the key that signs now."""
    signer = opened.keys.signer(read_open_epoch(connection))
    return Thief(log=opened.log, signer=signer)


class Signing(Protocol):
    """Whoever holds a log's real key: a test's ledger, or a whole host."""

    @property
    def log(self) -> LogIdentity: ...

    @property
    def signer(self) -> Ed25519PrivateKey: ...


def records_of(folder: Path) -> list[bytes]:
    """Return the records of an export."""
    return (folder / "records.jsonl").read_bytes().splitlines()


def copy_with(folder: Path, records: Sequence[bytes], *, to: Path) -> Path:
    """Copy an export and replace its records, without any key."""
    shutil.copytree(folder, to)
    (to / "records.jsonl").write_bytes(b"".join(r + b"\n" for r in records))
    return to


def resign(folder: Path, *, ledger: Signing) -> Path:
    """Sign ``folder`` as it is now with the ledger's real key."""
    leaves = [leaf_hash(record) for record in records_of(folder)]
    head = Checkpoint(
        origin=ledger.log.origin, size=len(leaves), root=tree_root(leaves)
    )
    note = sign_note(head.encode(), name=ledger.log.origin, signer=ledger.signer)
    (folder / "checkpoint.txt").write_bytes(note)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["size"] = str(len(leaves))
    for file in manifest["files"]:
        data = (folder / file["path"]).read_bytes()
        file["sha256"] = hashlib.sha256(data).hexdigest()
        file["size_bytes"] = str(len(data))
    return sign_manifest(folder, manifest, ledger=ledger)


def sign_manifest(folder: Path, manifest: dict[str, Any], *, ledger: Signing) -> Path:
    """Put ``manifest`` into ``folder``, signed with the ledger's real key."""
    encoded = rfc8785.dumps(manifest)
    (folder / "manifest.json").write_bytes(encoded)
    digest = hashlib.sha256(encoded).hexdigest()
    title = f"{MANIFEST_TITLE}\n{ledger.log.origin}\n{digest}\n"
    signed = sign_note(title, name=ledger.log.origin, signer=ledger.signer)
    (folder / "manifest.note").write_bytes(signed)
    return folder
