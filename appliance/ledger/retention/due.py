"""Which records are due to go, or to lose the texts they commit to; only reads.

A call's records are due together, when the last of them is old enough, so that what is
left of a call is never misread; and not before its texts have gone, which nobody could
hold against anything any more.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Function,
    Text,
    and_,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from appliance.db.tables import OpenRequestRow, PruneRangeRow, RecordRow
from appliance.ledger.records.catalogue import PRUNABLE, Event
from appliance.ledger.records.events import timestamp
from appliance.ledger.retention.holds import Hold, is_held, open_holds
from bundleformat.retention import Kept

_PRUNABLE: Final = tuple(str(event) for event in PRUNABLE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """Records whose time is over.

    Attributes:
        records: How many may go.
        first: The number of the first of them, or None.
        last: That of the last.
        held: How many more would, but for each hold, by its number.
    """

    records: int
    first: int | None
    last: int | None
    held: Mapping[int, int]


def find_due(connection: Connection, kept: Kept, before: dt.datetime) -> Due:
    """Return what would go of calls that ended before a moment."""
    holds = open_holds(connection)
    counted = select(func.count(), func.min(RecordRow.seq), func.max(RecordRow.seq))
    number, first, last = connection.execute(
        counted.where(is_due(kept, before, holds))
    ).one()
    held = {
        hold.number: connection.execute(
            select(func.count()).where(
                RecordRow.event.in_(_PRUNABLE),
                _is_old(kept, before),
                _is_kept(kept, [hold]),
            )
        ).scalar_one()
        for hold in holds
    }
    return Due(records=number, first=first, last=last, held=held)


def is_due(
    kept: Kept, before: dt.datetime, holds: Sequence[Hold], *, in_order: bool = False
) -> ColumnElement[bool]:
    """Return what is true of the rows that may go.

    ``in_order`` has the database look at rows by their numbers: whoever wants the
    first of many should not have all of them looked for.
    """
    event = _unindexed(RecordRow.event) if in_order else RecordRow.event
    called = event.in_(_PRUNABLE)
    return and_(called, _is_old(kept, before), ~_is_kept(kept, holds))


def oldest_call(connection: Connection) -> str | None:
    """Return the time of the oldest record of a call that still has its bytes."""
    found = (
        connection.execute(
            select(RecordRow.ts)
            .where(RecordRow.event == event, RecordRow.bytes_.is_not(None))
            .order_by(RecordRow.ts)
            .limit(1)
        ).scalar_one_or_none()
        for event in _PRUNABLE
    )
    return min((ts for ts in found if ts is not None), default=None)


def _is_old(kept: Kept, before: dt.datetime) -> ColumnElement[bool]:
    """Return what is true of a call's record whose time is over, as its call's is."""
    moment = timestamp(before)
    other = aliased(RecordRow)
    stays = other.ts >= moment
    if kept is Kept.RECORD:
        stays = or_(stays, _keeps_text(other))
    keeping = select(other.seq).where(
        other.request_id == RecordRow.request_id, other.event.in_(_PRUNABLE), stays
    )
    ended = RecordRow.request_id.not_in(select(OpenRequestRow.request_id))
    old = and_(
        RecordRow.ts < moment,
        RecordRow.bytes_.is_not(None),
        or_(RecordRow.request_id.is_(None), ended & ~keeping.exists()),
    )
    return old if kept is Kept.RECORD else and_(old, _keeps_text(RecordRow))


def _is_kept(kept: Kept, holds: Sequence[Hold]) -> ColumnElement[bool]:
    """Return what is true of a row that a hold keeps, or of its call for its texts."""
    if kept is Kept.RECORD or not holds:
        return is_held(holds)
    held = (is_held(holds), RecordRow.request_id.is_not(None))
    calls = select(RecordRow.request_id).where(*held).correlate(None)
    return func.coalesce(RecordRow.request_id, "").in_(calls)


def _keeps_text(row: type[RecordRow]) -> ColumnElement[bool]:
    """Return what is true of a record whose text was kept, and was not let go."""
    captured = func.json_extract(cast(row.bytes_, Text), "$.body.capture")
    pruned = (
        select(PruneRangeRow.first_seq)
        .where(
            PruneRangeRow.kind == str(Kept.BODY),
            PruneRangeRow.first_seq <= row.seq,
            PruneRangeRow.last_seq >= row.seq,
        )
        .exists()
    )
    erasing = aliased(RecordRow)
    erased = (
        select(erasing.seq)
        .where(
            erasing.request_id == row.request_id,
            _unindexed(erasing.event) == str(Event.BODY_ERASED),
        )
        .exists()
    )
    return (func.coalesce(captured, "") == "full") & ~pruned & ~erased


def _unindexed(
    column: ColumnElement[str] | InstrumentedAttribute[str],
) -> Function[str]:
    """Return a column that never is NULL as what no index is of.

    Source: SQLite, "The SQLite Query Optimizer Overview", section 1.
    """
    return func.coalesce(column, "")
