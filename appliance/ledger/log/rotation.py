"""Hands the ledger over from one signing key to the next, and destroys the old one.

1. The next key is on disk.
2. In one transaction: the record ``key.rotate``, which names the next key, and a
   head over it that the old key signs; the old epoch ends there, the next begins.
3. The old key's file is gone.
4. The table says so.

A process that ends between two of these leaves a ledger that opens and verifies. A
next key without its record is thrown away; a closed key whose file is still there
goes at the next start. Gain: who steals today's key cannot sign what was recorded
before today, also if nobody carried a checkpoint away.
Source: the shape of key evolution in forward-secure logs (Schneier and Kelsey,
"Secure Audit Logs to Support Computer Forensics"), here with public keys.
"""

import base64
import datetime as dt
from dataclasses import dataclass
from typing import Any

import rfc8785
from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.orm import aliased

from appliance.db.tables import CheckpointRow, EpochKeyRow, RecordRow
from appliance.ledger.log.append import Appended, extend
from appliance.ledger.log.head import LogIdentity, read_signing_head
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.records.events import Draft, Event, Outcome, timestamp
from appliance.ledger.tree.merkle import Frontier
from appliance.ledger.tree.note import VerifierKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One key of the ledger and what it signs.

    Attributes:
        number: From 0, the key of commissioning.
        vkey: The verifier key.
        from_size: Heads of more records than this are signed by it,
        to_size: up to this many; None while it is open.
        rotate_seq: The record that names the key.
        destroyed_ts: When the private key's file was gone, or None.
    """

    number: int
    vkey: str
    from_size: int
    to_size: int | None
    rotate_seq: int
    destroyed_ts: str | None


def read_epochs(connection: Connection) -> tuple[Epoch, ...]:
    """Return every epoch of the ledger, oldest first."""
    rows = connection.execute(
        select(EpochKeyRow.__table__).order_by(EpochKeyRow.epoch)
    ).mappings()
    return tuple(
        Epoch(number=row["epoch"], **{k: v for k, v in row.items() if k != "epoch"})
        for row in rows
    )


def key_chain(connection: Connection, *, size: int) -> bytes:
    """Return what shows whose key signs a head over ``size`` records.

    One line for each key after the first, in RFC 8785: its number, its verifier
    key, the record that names it, the roots of the perfect subtrees to the left of
    that record, and the head over them all that the key before it signed.
    """
    before = aliased(CheckpointRow)
    rows = connection.execute(
        select(
            EpochKeyRow.epoch,
            EpochKeyRow.vkey,
            CheckpointRow.note,
            RecordRow.bytes_.label("record"),
            before.frontier,
            before.size,
        )
        .join(CheckpointRow, CheckpointRow.size == EpochKeyRow.from_size)
        .join(before, before.size == EpochKeyRow.rotate_seq)
        .join(RecordRow, RecordRow.seq == EpochKeyRow.rotate_seq)
        .where(EpochKeyRow.from_size < size)
        .order_by(EpochKeyRow.epoch)
    )
    return b"".join(_chain_line(row) + b"\n" for row in rows)


def _chain_line(row: Any) -> bytes:  # noqa: ANN401 - a row of the query above
    left = Frontier.decode(row.frontier, size=row.size).hashes
    return rfc8785.dumps(
        {
            "epoch": row.epoch,
            "vkey": row.vkey,
            "note": row.note,
            "record": row.record.decode(),
            "left": [base64.b64encode(root).decode() for root in left],
        }
    )


def rotate(
    engine: Engine, *, log: LogIdentity, keys: LedgerKeys, now: dt.datetime, reason: str
) -> None:
    """Sign with a new key from now on; the keys before it are gone afterwards.

    Raises:
        AuditUnavailableError: The ledger's head does not fit together.
        StorageFaultError: The disk refused.
    """
    with engine.begin() as connection:
        hand_over(connection, log=log, keys=keys, now=now, reason=reason)
    destroy_closed_keys(engine, keys=keys, now=now)


def hand_over(
    connection: Connection,
    *,
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
    reason: str,
    seen: Frontier | None = None,
) -> Appended:
    """Take steps 1 and 2 in the caller's transaction, if ``seen`` still holds.

    Nothing else may be appended in that transaction, and the caller MUST then
    ``destroy_closed_keys``.
    """
    _, closing = read_signing_head(connection)
    number = closing.number + 1
    # 1. The next key is on disk.
    public = keys.create(number).public_key().public_bytes_raw()
    vkey = VerifierKey(name=log.origin, public=public).encode()
    # 2. The old key signs a head over the record that names the next.
    rotation = Draft(
        event=Event.KEY_ROTATE,
        outcome=Outcome.OK,
        fields={"epoch": number, "vkey": vkey, "reason": reason},
    )
    done = extend(connection, [rotation], log=log, keys=keys, now=now, seen=seen)
    size = done.frontier.size
    old = update(EpochKeyRow).where(EpochKeyRow.epoch == closing.number)
    connection.execute(old.values(to_size=size))
    connection.execute(
        insert(EpochKeyRow),
        {"epoch": number, "vkey": vkey, "from_size": size, "rotate_seq": size - 1},
    )
    return done


def destroy_closed_keys(engine: Engine, *, keys: LedgerKeys, now: dt.datetime) -> None:
    """Take steps 3 and 4 for every closed epoch that still needs them.

    Raises:
        StorageFaultError: The disk refused; another call takes up what is left.
    """
    with engine.begin() as connection:
        left = connection.execute(
            select(EpochKeyRow.epoch)
            .where(EpochKeyRow.to_size.is_not(None))
            .where(EpochKeyRow.destroyed_ts.is_(None))
        ).scalars()
        for number in left.all():
            # 3. The old key's file is gone.
            keys.destroy(number)
            # 4. The table says so.
            old = update(EpochKeyRow).where(EpochKeyRow.epoch == number)
            connection.execute(old.values(destroyed_ts=timestamp(now)))
