"""Lets records or their texts go whose time is over, a batch at a time.

1. Which: those of calls that ended before a moment, that no hold keeps.
2. ``log.pruned`` says which, how many, and by whose order.
3. Their ranges stand in ``prune_range``, as that record names them.
4. The bytes of records become NULL; number, leaf hash and index columns stay. Texts
   lie elsewhere: whoever calls this destroys them next, because the record says so.

A batch is one transaction: a process that ends anywhere in it leaves the ledger as it
was before. The whole tree stays, so every head and proof is as good as before.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select, update

from appliance.db.tables import PruneRangeRow, RecordRow
from appliance.ledger.log.append import append
from appliance.ledger.log.head import LogIdentity
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.records.events import Draft, Event, Outcome, timestamp
from appliance.ledger.records.fields import JSON
from appliance.ledger.retention.due import is_due
from appliance.ledger.retention.holds import open_holds
from bundleformat.retention import Kept

BATCH: Final = 10_000
"""Most records of one batch: it holds up whoever waits to record something else."""

MAX_RANGES: Final = 1_000
"""Most ranges that one ``log.pruned`` names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to go, and by whose word.

    Attributes:
        kept: Records, or their bodies.
        before: What ended before this moment.
        days: How long it had to be kept.
        presets: What asked for that.
        certificate_sha256: The site certificate that names them.
        said: Who carries it out, as ``log.pruned`` has it.
    """

    kept: Kept
    before: dt.datetime
    days: int
    presets: tuple[str, ...]
    certificate_sha256: str
    said: Mapping[str, JSON]


def prune_batch(
    connection: Connection,
    order: Order,
    *,
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
    after: int = -1,
    most: int = BATCH,
    most_ranges: int = MAX_RANGES,
) -> tuple[tuple[int, int], ...]:
    """Let the first go that are due after a number; return their ranges, or none.

    ``connection`` MUST be in an IMMEDIATE transaction, and nothing has gone until
    the caller has committed it.

    Raises:
        AuditUnavailableError: The ledger is halted, or its head is damaged.
    """
    # 1. Which.
    holds = open_holds(connection)
    due = is_due(order.kept, order.before, holds, in_order=True)
    chosen = select(RecordRow.seq).where(RecordRow.seq > after, due)
    chosen = chosen.order_by(RecordRow.seq).limit(most)
    ranges = tuple(ranges_of(connection.execute(chosen).scalars())[:most_ranges])
    if not ranges:
        return ()
    # 2. and 3. It is on record.
    record_ranges(connection, order, ranges, log=log, keys=keys, now=now)
    if order.kept is Kept.BODY:
        return ranges
    # 4. The bytes go.
    gone = update(RecordRow).values(bytes_=None)
    gone = gone.where(
        RecordRow.seq.between(bindparam("range_first"), bindparam("range_last"))
    )
    for first, last in ranges:
        connection.execute(gone, {"range_first": first, "range_last": last})
    return ranges


def record_ranges(
    connection: Connection,
    order: Order,
    ranges: Sequence[tuple[int, int]],
    *,
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
) -> int:
    """Append ``log.pruned`` and its rows; return its number."""
    draft = Draft(
        event=Event.LOG_PRUNED,
        outcome=Outcome.OK,
        fields={
            "kind": str(order.kept),
            "ranges": [f"{first}-{last}" for first, last in ranges],
            "records": sum(last - first + 1 for first, last in ranges),
            "presets": order.presets,
            "days": order.days,
            "before": timestamp(order.before),
            "certificate_sha256": order.certificate_sha256,
            **order.said,
        },
    )
    (receipt,) = append(connection, [draft], log=log, keys=keys, now=now)
    connection.execute(
        insert(PruneRangeRow),
        [
            {
                "kind": str(order.kept),
                "first_seq": first,
                "last_seq": last,
                "record_seq": receipt.seq,
            }
            for first, last in ranges
        ],
    )
    return receipt.seq


def ranges_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as ranges, each with its first and its last."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges
