"""Appends records and signs the new tree head, inside the caller's transaction.

This is the only code that inserts into ``record``, ``subtree`` and ``checkpoint``.
The head, and which key is to sign, are always read from the database inside the
transaction, never remembered, so that a command line and a running server can append
to one ledger while its keys change. Nothing is committed here: a flow can make its
own change and the record of it one transaction.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from appliance.db.tables import CheckpointRow, OpenRequestRow, RecordRow
from appliance.ledger.log.halt import check_not_halted
from appliance.ledger.log.head import LogIdentity, check_continues, read_signing_head
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.log.objects import check_objects
from appliance.ledger.log.subtrees import Growth
from appliance.ledger.records.events import Draft, Event, encode_record, timestamp
from appliance.ledger.tree.merkle import Frontier, leaf_hash
from appliance.ledger.tree.note import Checkpoint, sign_note

__all__ = [
    "CLOSING",
    "OF_A_REQUEST",
    "Appended",
    "LogIdentity",
    "Receipt",
    "append",
    "extend",
]

CLOSING = (Event.LLM_RESPONSE, Event.LLM_ABORTED)
"""The events that end what ``llm.request`` opened."""

OF_A_REQUEST = (Event.LLM_REQUEST, *CLOSING)
"""The events of a request's life; exactly one opens it and one ends it."""

# Built once: making a statement costs more than executing it.
_INSERT_RECORD = insert(RecordRow)
_INSERT_CHECKPOINT = insert(CheckpointRow)
_INSERT_OPEN = insert(OpenRequestRow)
_WHICH_ARE_OPEN = select(OpenRequestRow.request_id).where(
    OpenRequestRow.request_id.in_(bindparam("asked", expanding=True))
)
_CLOSE = delete(OpenRequestRow).where(
    OpenRequestRow.request_id == bindparam("closed_request_id")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """Where a record went, and a tree head that covers it.

    Attributes:
        seq: The record's number, which is its leaf index.
        leaf: Its leaf hash.
        size: Records below ``root``.
        root: The tree head signed in the same transaction.
    """

    seq: int
    leaf: bytes
    size: int
    root: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Appended:
    """What one append did: a receipt for each draft, and the tree's new edge."""

    receipts: tuple[Receipt, ...]
    frontier: Frontier


def append(
    connection: Connection,
    drafts: Sequence[Draft],
    *,
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
) -> tuple[Receipt, ...]:
    """Append ``drafts`` and one signed checkpoint; return a receipt for each.

    ``connection`` MUST be in an IMMEDIATE transaction, and a receipt means
    nothing until the caller has committed it.

    Raises:
        AuditUnavailableError: The ledger is halted, its triggers were changed, or its
            own head does not fit together.
        HostNotReadyError, RollbackError, SignatureError: The private key of the open
            epoch is not there, or is another.
        ValueError: A draft opens a request twice or ends one that is not open.
    """
    check_objects(connection)
    return extend(connection, drafts, log=log, keys=keys, now=now).receipts


def extend(
    connection: Connection,
    drafts: Sequence[Draft],
    *,
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
    seen: Frontier | None = None,
) -> Appended:
    """Append as ``append`` does, if the ledger still continues from ``seen``."""
    check_not_halted(connection)
    return extend_although_halted(
        connection, drafts, log=log, keys=keys, now=now, seen=seen
    )


def extend_although_halted(
    connection: Connection,
    drafts: Sequence[Draft],
    *,
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
    seen: Frontier | None = None,
) -> Appended:
    """Append as ``extend`` does, for the records of a halt and of its release alone."""
    before, opened = read_signing_head(connection)
    if seen is not None:
        check_continues(connection, seen=seen, head=before)
    if not drafts:
        return Appended(receipts=(), frontier=before)
    leaves = _insert_records(connection, drafts, first=before.size, log=log, now=now)
    _settle_open_requests(connection, drafts, first=before.size)
    signer = keys.signer(opened)
    growth = Growth(before, leaves)
    growth.keep(connection)
    after = growth.after
    root = after.root()
    text = Checkpoint(origin=log.origin, size=after.size, root=root).encode()
    connection.execute(
        _INSERT_CHECKPOINT,
        {
            "size": after.size,
            "root": root,
            "frontier": after.encode(),
            "note": sign_note(text, name=log.origin, signer=signer).decode(),
            "ts": timestamp(now),
        },
    )
    receipts = tuple(
        Receipt(seq=seq, leaf=leaf, size=after.size, root=root)
        for seq, leaf in enumerate(leaves, start=before.size)
    )
    return Appended(receipts=receipts, frontier=after)


def _insert_records(
    connection: Connection,
    drafts: Sequence[Draft],
    *,
    first: int,
    log: LogIdentity,
    now: dt.datetime,
) -> list[bytes]:
    """Insert ``drafts`` as records from ``first`` on and return their leaf hashes."""
    rows: list[dict[str, Any]] = []
    for seq, draft in enumerate(drafts, start=first):
        record = encode_record(draft, seq=seq, now=now, origin=log.origin)
        rows.append(
            {
                "seq": seq,
                "leaf": leaf_hash(record),
                "bytes": record,
                "ts": timestamp(now),
                "event": str(draft.event),
                "outcome": str(draft.outcome),
                "team": draft.team,
                "request_id": draft.request_id,
            }
        )
    connection.execute(_INSERT_RECORD, rows)
    return [row["leaf"] for row in rows]


def _settle_open_requests(
    connection: Connection, drafts: Sequence[Draft], *, first: int
) -> None:
    """Keep ``open_request`` equal to the requests whose outcome is not recorded."""
    asked = [d.request_id for d in drafts if d.event in OF_A_REQUEST]
    if not asked:
        return
    found = connection.execute(_WHICH_ARE_OPEN, {"asked": asked})
    still_open = set(found.scalars())
    opened: dict[str, dict[str, object]] = {}
    closed: list[dict[str, str]] = []
    for seq, draft in enumerate(drafts, start=first):
        request_id = draft.request_id or ""
        if draft.event is Event.LLM_REQUEST:
            if request_id in still_open:
                raise ValueError("llm.request: this request is already open")
            still_open.add(request_id)
            opened[request_id] = {
                "request_id": request_id,
                "seq": seq,
                "team": draft.team,
            }
        elif draft.event in CLOSING:
            if request_id not in still_open:
                raise ValueError(f"{draft.event}: this request is not open")
            still_open.remove(request_id)
            if opened.pop(request_id, None) is None:
                closed.append({"closed_request_id": request_id})
    if closed:
        connection.execute(_CLOSE, closed)
    if opened:
        connection.execute(_INSERT_OPEN, list(opened.values()))
