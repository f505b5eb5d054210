"""Gives a host its ledger: a key, a name, and the first record.

The private key is an unencrypted PKCS8 file that only its owner may read, because
the server must start without a person. Whoever can read it can sign another
history from the last checkpoint that somebody holds elsewhere; it cannot change
what such a checkpoint already covers. Keys are not rotated in this release.
"""

import datetime as dt
import re
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, insert, select

from appliance.db.tables import LogMetaRow
from appliance.errors import HostNotReadyError
from appliance.ledger.append import LogIdentity, append
from appliance.ledger.events import Draft, Event, Outcome, timestamp
from appliance.ledger.note import VerifierKey, parse_vkey
from appliance.private_file import read_private_file, write_private_file
from bundleformat.errors import (
    ConflictError,
    MalformedError,
    SignatureError,
)

_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9./-]{0,99}")


def commission(
    connection: Connection, *, key_path: Path, site: str, tool: str, now: dt.datetime
) -> LogIdentity:
    """Create this host's ledger in the caller's transaction and return its name.

    A key that an interrupted commissioning left behind is used again.

    Args:
        connection: In an IMMEDIATE transaction, on a database without a ledger.
        key_path: Where the private key is, or will be.
        site: First part of the origin: letters, digits, dots, dashes and slashes.
        tool: Name and version of this program, as ``sallyport/0.1.0``.
        now: When.

    Raises:
        MalformedError: ``site`` cannot be part of an origin.
        ConflictError: This host already has a ledger.
        HostNotReadyError: The key file is there and cannot be used.
        StorageFaultError: The key cannot be written.
    """
    if not _SITE.fullmatch(site):
        raise MalformedError("not a name for a log", where="site", actual=site)
    if connection.execute(select(LogMetaRow.log_id)).first() is not None:
        raise ConflictError("this host already has a ledger", where="ledger")
    signer = load_key(key_path) if key_path.exists() else create_key(key_path)
    log_id = secrets.token_hex(8)
    origin = f"{site}/audit/{log_id}"
    public = signer.public_key().public_bytes_raw()
    vkey = parse_vkey(VerifierKey(name=origin, public=public).encode()).encode()
    log = LogIdentity(log_id=log_id, origin=origin, vkey=vkey)
    connection.execute(
        insert(LogMetaRow),
        {
            "log_id": log_id,
            "origin": origin,
            "vkey": vkey,
            "created_ts": timestamp(now),
        },
    )
    genesis = Draft(
        event=Event.LOG_CREATED, outcome=Outcome.OK, fields={"vkey": vkey, "tool": tool}
    )
    append(connection, [genesis], log=log, signer=signer, now=now)
    return log


def open_ledger(
    connection: Connection, *, key_path: Path
) -> tuple[LogIdentity, Ed25519PrivateKey]:
    """Return this host's ledger identity and the key that belongs to it.

    Raises:
        HostNotReadyError: There is no ledger, or no usable key.
        SignatureError: The key is not the one the ledger was created with.
    """
    log = read_identity(connection)
    signer = load_key(key_path)
    if signer.public_key().public_bytes_raw() != parse_vkey(log.vkey).public:
        raise SignatureError(
            "this key does not belong to this ledger",
            where=str(key_path),
            hint="Restore the key file that belongs to this database.",
        )
    return log, signer


def read_identity(connection: Connection) -> LogIdentity:
    """Return the identity of this host's ledger.

    Raises:
        HostNotReadyError: This host has none yet.
    """
    row = connection.execute(
        select(LogMetaRow.log_id, LogMetaRow.origin, LogMetaRow.vkey)
    ).one_or_none()
    if row is None:
        raise HostNotReadyError(
            "this host has no ledger yet",
            hint="Run: sallyport trust init --root FILE --fingerprint HEX",
        )
    return LogIdentity(log_id=row.log_id, origin=row.origin, vkey=row.vkey)


def create_key(path: Path) -> Ed25519PrivateKey:
    """Write a new private key, readable by its owner alone, and return it.

    Raises:
        ConflictError: A file of that name is there.
        StorageFaultError: The disk refused.
    """
    signer = Ed25519PrivateKey.generate()
    pem = signer.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private_file(path, pem)
    return signer


def load_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in ``path``.

    Raises:
        HostNotReadyError: It is missing, readable by others, or no Ed25519 key.
    """
    pem = read_private_file(path)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise HostNotReadyError("not a private key", where=str(path)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise HostNotReadyError("not an Ed25519 key", where=str(path))
    return key
