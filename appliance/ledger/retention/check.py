"""Whether the tables of prunings and holds say what the records say; for ``fsck``."""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, func, select

from appliance.db.tables import HoldRow, PruneRangeRow, RecordRow
from appliance.ledger.log.pruned import count_pruned
from appliance.ledger.records.events import Event
from bundleformat.errors import DigestMismatchError, MissingError
from bundleformat.retention import Kept


def check_retention(connection: Connection) -> int:
    """Return how many records were pruned, each by a record that says so.

    Raises:
        DigestMismatchError: One was not, or a table is not what the records say.
    """
    said = {
        (record["kind"], *map(int, each.split("-")), seq)
        for seq, record in _records(connection, Event.LOG_PRUNED)
        for each in record["ranges"]
    }
    kept = {tuple(row) for row in connection.execute(select(PruneRangeRow.__table__))}
    _check_same("prune_range", said, kept)
    lacking = select(func.count()).where(RecordRow.bytes_.is_(None))
    pruned, empty = (
        count_pruned(connection, Kept.RECORD),
        connection.execute(lacking).scalar_one(),
    )
    if pruned != empty:
        raise DigestMismatchError(
            "other records have no bytes than were pruned",
            where="record",
            expected=str(pruned),
            actual=str(empty),
        )
    _check_holds(connection)
    return pruned


def _check_holds(connection: Connection) -> None:
    lifted = {r["hold"]: seq for seq, r in _records(connection, Event.HOLD_LIFTED)}
    said = set()
    for seq, record in _records(connection, Event.HOLD_PLACED):
        asked = record["selection"]
        first, last = (
            int(asked[name]) if name in asked else None for name in ("first", "last")
        )
        named = tuple(asked.get(n) for n in ("event", "team", "model", "request_id"))
        over = lifted.get(record["hold"])
        said.add((record["hold"], first, last, *named, seq, record["ts"], over))
    kept = {tuple(row) for row in connection.execute(select(HoldRow.__table__))}
    _check_same("hold", said, kept)


def _records(
    connection: Connection, event: Event
) -> Iterator[tuple[int, dict[str, Any]]]:
    query = select(RecordRow.seq, RecordRow.bytes_).where(RecordRow.event == str(event))
    for seq, data in connection.execute(query.order_by(RecordRow.seq)):
        if data is None:
            raise MissingError(
                "a record that is never pruned has no bytes", where=f"record {seq}"
            )
        yield seq, json.loads(data)


def _check_same(table: str, said: set[Any], kept: set[Any]) -> None:
    if said != kept:
        raise DigestMismatchError(
            f"the table {table} is not what the records say",
            where=table,
            expected=str(len(said)),
            actual=str(len(kept)),
        )
