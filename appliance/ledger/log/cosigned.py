"""What witnesses signed of this ledger: taken in, and given out with every export."""

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import Connection, insert, select

from appliance.db.tables import CosignatureRow
from appliance.ledger.log.append import append
from appliance.ledger.log.consistency import check_held
from appliance.ledger.log.head import LogIdentity, read_checkpoint
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.records.events import Draft, Event, Outcome, timestamp
from appliance.ledger.records.fields import JSON
from appliance.ledger.tree.cosignature import WitnessKey, open_cosignature
from appliance.ledger.tree.note import Checkpoint, decode_note, parse_checkpoint
from bundleformat.errors import ConflictError, SignatureError

MOST_EXPORTED = 1_000
"""Most cosignatures in an export; the newest heads' come first."""


def import_cosignature(
    connection: Connection,
    data: bytes,
    *,
    witness: WitnessKey,
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
    account: Mapping[str, JSON] = MappingProxyType({}),
) -> Checkpoint:
    """Keep what ``witness`` signed in the note ``data``, and record that it is here.

    ``account`` is who brought it, for the record.

    Raises:
        MalformedError: It is no signed checkpoint.
        SignatureError: The witness did not sign it, or it is of another ledger.
        RollbackError, EquivocationError: The ledger has no such head.
        ConflictError: It is here already.
    """
    head = parse_checkpoint(decode_note(data).text)
    if head.origin != log.origin:
        raise SignatureError(
            "the checkpoint is of another log",
            where="checkpoint",
            expected=log.origin,
            actual=ascii(head.origin),
        )
    cosigned = open_cosignature(data, key=witness)
    check_held(connection, head, where="checkpoint")
    there = select(CosignatureRow.size).where(
        CosignatureRow.size == head.size, CosignatureRow.witness == witness.encode()
    )
    if connection.execute(there).first() is not None:
        raise ConflictError(
            "this cosignature is here already", where=f"checkpoint {head.size}"
        )
    connection.execute(
        insert(CosignatureRow),
        {
            "size": head.size,
            "witness": witness.encode(),
            "line": cosigned.line,
            "imported_ts": timestamp(now),
        },
    )
    said = dt.datetime.fromtimestamp(min(cosigned.seconds, 253402300799), dt.UTC)
    draft = Draft(
        event=Event.LOG_COSIGNED,
        outcome=Outcome.OK,
        fields={
            "size": str(head.size),
            "witness": witness.encode(),
            "cosigned": timestamp(said),
            **account,
        },
    )
    append(connection, [draft], log=log, keys=keys, now=now)
    return head


def cosigned_sizes(connection: Connection, *, size: int) -> frozenset[int]:
    """Return the sizes of the heads whose cosignatures an export carries."""
    return frozenset(row.size for row in _newest(connection, size=size))


def cosignatures_file(connection: Connection, *, size: int) -> bytes:
    """Return the heads that witnesses signed, up to ``size`` records, newest first.

    Each is the checkpoint's note with the ledger's own signature and one witness's,
    followed by an empty line.
    """
    notes = []
    for row in _newest(connection, size=size):
        found = read_checkpoint(connection, size=row.size)
        note = "" if found is None else found[1]
        notes.append(f"{note}{row.line}\n\n")
    return "".join(notes).encode()


def _newest(connection: Connection, *, size: int) -> list[CosignatureRow]:
    rows = connection.execute(
        select(CosignatureRow.__table__)
        .where(CosignatureRow.size <= size)
        .order_by(CosignatureRow.size.desc(), CosignatureRow.witness)
        .limit(MOST_EXPORTED)
    ).mappings()
    return [CosignatureRow(**row) for row in rows]
