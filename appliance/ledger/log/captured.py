"""What the ledger says of one request's bodies: kept, how, and what became of them.

Only reads. The columns of a record find it; what is believed is its bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, select, union_all
from sqlalchemy.orm import aliased

from appliance.db.tables import OpenRequestRow, PruneRangeRow, RecordRow
from appliance.ledger.log.pruned import find_pruning
from appliance.ledger.records.catalogue import Event
from bundleformat.retention import Kept as Retained

PARTS: Final[Mapping[str, str]] = {
    str(Event.LLM_REQUEST): "request",
    str(Event.LLM_RESPONSE): "response",
}
"""The part of a request that a record of an event commits to."""

DESTROYING: Final = (str(Event.BODY_ERASED),)
"""The events whose records say that all bodies of their request are no more. So does
``log.pruned`` of the requests of the records that it names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A body that was kept, as its record has it.

    Attributes:
        seq: The number of that record.
        commitment: The salted digest of the body.
        size_bytes: Its length.
    """

    seq: int
    commitment: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CapturedCall:
    """An accepted request and what was captured of it.

    Attributes:
        request_id: Its id.
        team: Whose it is, or "" if its records were pruned; the same of what follows.
        key_id: The API key it came with.
        ts: When it was accepted.
        level: What was captured of it.
        kept: Each part that was kept.
        ended: Whether its outcome is on record.
        destroyed_by: The event by which its bodies are no more, or "".
    """

    request_id: str
    team: str
    key_id: str
    ts: str
    level: str
    kept: Mapping[str, Kept] = field(default_factory=dict)
    ended: bool
    destroyed_by: str = ""


def read_captured(
    connection: Connection, request_id: str, *, size: int | None = None
) -> CapturedCall | None:
    """Return what is on record of a request's bodies; None of one that never began.

    With ``size``, one that began later counts as never begun. Of one whose records
    were pruned nothing is known but that.
    """
    rows = connection.execute(
        select(RecordRow.seq, RecordRow.event, RecordRow.bytes_)
        .where(RecordRow.request_id == request_id)
        .order_by(RecordRow.seq)
    )
    opened: dict[str, Any] | None = None
    kept, destroyed_by = {}, ""
    for seq, event, data in rows:
        if event in DESTROYING:
            destroyed_by = event
        if event not in PARTS:
            continue
        if data is None:
            return _pruned(request_id)
        said = json.loads(data)
        if event == Event.LLM_REQUEST and (size is None or seq < size):
            opened = said
        body = said.get("body", {})
        if body.get("capture") == "full" and "commitment" in body:
            if find_pruning(connection, seq, Retained.BODY) is not None:
                destroyed_by = str(Event.LOG_PRUNED)
            kept[PARTS[event]] = Kept(
                seq=seq, commitment=body["commitment"], size_bytes=body["size_bytes"]
            )
    if opened is None:
        return None
    still_open = select(OpenRequestRow.seq).where(
        OpenRequestRow.request_id == request_id
    )
    return CapturedCall(
        request_id=request_id,
        team=opened["team"],
        key_id=opened["actor"]["key_id"],
        ts=opened["ts"],
        level=opened.get("body", {}).get("capture", "metadata"),
        kept=kept,
        ended=connection.execute(still_open).first() is None,
        destroyed_by=destroyed_by,
    )


def _pruned(request_id: str) -> CapturedCall:
    """Return a request of which the texts went first, and then the records."""
    return CapturedCall(
        request_id=request_id,
        team="",
        key_id="",
        ts="",
        level="",
        ended=True,
        destroyed_by=str(Event.LOG_PRUNED),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Destruction:
    """A record by which the bodies of a request are no more."""

    seq: int
    leaf: bytes
    request_id: str


def destructions(connection: Connection, *, after: int) -> tuple[Destruction, ...]:
    """Return every record after number ``after`` that destroys, the oldest first."""
    named = aliased(RecordRow)
    erased = select(RecordRow.seq, RecordRow.leaf, RecordRow.request_id).where(
        RecordRow.event.in_(DESTROYING), RecordRow.seq > after
    )
    pruned = (
        select(RecordRow.seq, RecordRow.leaf, named.request_id)
        .join(PruneRangeRow, PruneRangeRow.record_seq == RecordRow.seq)
        .join(named, named.seq.between(PruneRangeRow.first_seq, PruneRangeRow.last_seq))
        .where(PruneRangeRow.kind == str(Retained.BODY), RecordRow.seq > after)
    )
    rows = connection.execute(union_all(erased, pruned).order_by("seq"))
    return tuple(
        Destruction(seq=seq, leaf=leaf, request_id=name)
        for seq, leaf, name in rows
        if name is not None
    )


def is_record(connection: Connection, *, seq: int, leaf: bytes) -> bool:
    """Return whether the ledger's record of that number has that leaf hash."""
    found = select(RecordRow.leaf).where(RecordRow.seq == seq)
    return connection.execute(found).scalar_one_or_none() == leaf
