"""Finds records by their time, without reading all of them.

Times rise with the records' numbers, but for two things. A clock that goes back by
little halts nothing, and a process may read it before it waits for its turn: both
are below ``SLACK``. And after a halt the clock may go on from anywhere. So the ledger
is searched between one halt and the next by bisection, and a little more than that is
read at the end.
"""

import bisect
import datetime as dt
import itertools
from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from appliance.db.tables import HaltRow, RecordRow
from appliance.ledger.records.events import timestamp

SLACK = dt.timedelta(minutes=5)
"""How far a record may be behind the one before it."""


def first_from(connection: Connection, moment: dt.datetime) -> int | None:
    """Return the number of the first record at ``moment`` or later, or None."""
    for stretch in _stretches(connection):
        start = _reached(connection, stretch, moment - SLACK)
        query = (
            select(RecordRow.seq)
            .where(RecordRow.seq >= start, RecordRow.seq < stretch.stop)
            .where(RecordRow.ts >= timestamp(moment))
        )
        found = connection.execute(query.order_by(RecordRow.seq).limit(1)).scalar()
        if found is not None:
            return found
    return None


def last_before(connection: Connection, moment: dt.datetime) -> int | None:
    """Return the number of the last record before ``moment``, or None."""
    for stretch in reversed(list(_stretches(connection))):
        stop = _reached(connection, stretch, moment + SLACK)
        query = (
            select(RecordRow.seq)
            .where(RecordRow.seq >= stretch.start, RecordRow.seq < stop)
            .where(RecordRow.ts < timestamp(moment))
        )
        newest = query.order_by(RecordRow.seq.desc()).limit(1)
        found = connection.execute(newest).scalar()
        if found is not None:
            return found
    return None


def _stretches(connection: Connection) -> Iterator[range]:
    """Yield the numbers between one halt or release and the next, in order."""
    size = connection.execute(select(func.max(RecordRow.seq))).scalar()
    halts = connection.execute(select(HaltRow.halted_seq, HaltRow.released_seq))
    edges = {0, 0 if size is None else size + 1}
    edges.update(seq for row in halts for seq in row if seq is not None)
    yield from itertools.starmap(range, itertools.pairwise(sorted(edges)))


def _reached(connection: Connection, stretch: range, moment: dt.datetime) -> int:
    """Return where ``stretch`` reaches ``moment``, or its end if it does not.

    Before it all times are below ``moment`` and ``SLACK``; from it on none is below
    ``moment`` less ``SLACK``.
    """
    wanted = timestamp(moment)

    def ts(seq: int) -> str:
        return connection.execute(
            select(RecordRow.ts).where(RecordRow.seq == seq)
        ).scalar_one()

    return stretch.start + bisect.bisect_left(stretch, wanted, key=ts)
