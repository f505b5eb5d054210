"""Gives a host its ledger: a first key, a name, and the first record.

The verifier key made here is what the auditor writes down, for the ledger's whole
life: every later key is vouched for by the one before it (``rotation``).
"""

import datetime as dt
import re
import secrets
from pathlib import Path

from sqlalchemy import Connection, insert, select

from appliance.db.tables import EpochKeyRow, LogMetaRow
from appliance.errors import HostNotReadyError
from appliance.ledger.log.append import LogIdentity, append
from appliance.ledger.log.head import read_open_epoch
from appliance.ledger.log.keys import LedgerKeys, create_key, load_key
from appliance.ledger.records.events import Draft, Event, Outcome, timestamp
from appliance.ledger.tree.note import VerifierKey, parse_vkey
from bundleformat.errors import ConflictError, MalformedError

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
    connection.execute(
        insert(EpochKeyRow),
        {"epoch": 0, "vkey": vkey, "from_size": 0, "rotate_seq": 0},
    )
    genesis = Draft(
        event=Event.LOG_CREATED, outcome=Outcome.OK, fields={"vkey": vkey, "tool": tool}
    )
    append(connection, [genesis], log=log, keys=LedgerKeys(key_path), now=now)
    return log


def open_ledger(
    connection: Connection, *, key_path: Path
) -> tuple[LogIdentity, LedgerKeys]:
    """Return this host's ledger identity and its keys, the open one checked.

    Raises:
        HostNotReadyError: There is no ledger, or no usable key.
        RollbackError: The database is older than the keys.
        SignatureError: The key is not the one that the open epoch names.
    """
    log = read_identity(connection)
    keys = LedgerKeys(key_path)
    keys.signer(read_open_epoch(connection))
    return log, keys


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
