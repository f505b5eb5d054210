"""Whether the table of halts says what the records say; for ``fsck``."""

import json

from sqlalchemy import Connection, select

from appliance.db.tables import HaltRow, RecordRow
from appliance.ledger.records.events import Event
from bundleformat.errors import DigestMismatchError

_OF_HALTS = (str(Event.LOG_HALTED), str(Event.LOG_RELEASED))


def check_halts(connection: Connection) -> None:
    """Check that each halt has its row, and each row its records.

    Raises:
        DigestMismatchError: One has not.
    """
    said: dict[int, tuple[str, str, int, int | None]] = {}
    rows = connection.execute(
        select(RecordRow.seq, RecordRow.event, RecordRow.bytes_)
        .where(RecordRow.event.in_(_OF_HALTS))
        .order_by(RecordRow.seq)
    )
    for row in rows:
        record = json.loads(row.bytes)
        number, cause = record["halt"], record["cause"]
        if row.event == Event.LOG_HALTED:
            said[number] = (cause, record["halted"], row.seq, None)
        elif number in said:
            said[number] = (*said[number][:3], row.seq)
    kept = {
        row.number: (row.cause, row.halted_ts, row.halted_seq, row.released_seq)
        for row in connection.execute(select(HaltRow.__table__))
    }
    if said != kept:
        raise DigestMismatchError(
            "the table of halts is not what the records say",
            where="halt",
            expected=str(len(said)),
            actual=str(len(kept)),
        )
