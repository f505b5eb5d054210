"""Finds the records that a person names by their number, their time or their call."""

import datetime as dt

from sqlalchemy import Connection, select

from appliance.db.tables import RecordRow
from appliance.ledger.exports.export import Wishes
from appliance.ledger.exports.receipt_header import parse_receipt
from appliance.ledger.exports.selection import Selection
from appliance.ledger.log.consistency import check_held
from appliance.ledger.log.head import LogIdentity
from appliance.ledger.log.moments import first_from, last_before
from appliance.ledger.tree.note import Checkpoint
from bundleformat.errors import MissingError, UsageError

_DAY = dt.timedelta(days=1)


def place_from(connection: Connection, text: str) -> int:
    """Return the number of the first record from a number, day or moment on.

    Raises:
        UsageError: ``text`` is none of these.
        MissingError: There is no such record yet.
    """
    if text.isdecimal() and text.isascii():
        return int(text)
    moment, _ = _moment(text, where="--from")
    return _found(first_from(connection, moment), text)


def place_to(connection: Connection, text: str) -> int:
    """Return the number of the last record up to a number, day or moment.

    Raises:
        UsageError: ``text`` is none of these.
        MissingError: There is no such record.
    """
    if text.isdecimal() and text.isascii():
        return int(text)
    moment, is_day = _moment(text, where="--to")
    end = moment + (_DAY if is_day else dt.timedelta.resolution)
    return _found(last_before(connection, end), text)


def places_between(
    connection: Connection, start: str | None, end: str | None
) -> tuple[int | None, int | None]:
    """Return the numbers of the first and last record of a range; None is open.

    Raises:
        UsageError: One is no number, day or moment, or the range ends before it begins.
        MissingError: There is no such record.
    """
    first = None if start is None else place_from(connection, start)
    last = None if end is None else place_to(connection, end)
    if first is not None and last is not None and first > last:
        raise UsageError(
            "the range ends before it begins",
            where="--from, --to",
            actual=f"{first} to {last}",
        )
    return first, last


def proof_wishes(connection: Connection, what: str, *, log: LogIdentity) -> Wishes:
    """Return what proves a call: by a record's number, a request's id or a receipt.

    Raises:
        MissingError: There is no such record.
        MalformedError: It looks like a receipt and is none.
        RollbackError, EquivocationError: The receipt is not of this ledger.
    """
    heads: tuple[Checkpoint, ...] = ()
    if what.count(".") == 2:
        told = parse_receipt(what)
        head = Checkpoint(origin=log.origin, size=told.size, root=told.root)
        check_held(connection, head, where="receipt")
        heads, what = (head,), str(told.seq)
    if not (what.isdecimal() and what.isascii()):
        query = select(RecordRow.seq).where(RecordRow.request_id == what).limit(1)
        _found(connection.execute(query).scalar_one_or_none(), what)
        selection = Selection(request_id=what, listed=False)
        return Wishes(selection=selection, receipts=heads)
    named = select(RecordRow.seq, RecordRow.request_id)
    row = connection.execute(named.where(RecordRow.seq == _small(what))).one_or_none()
    seq = _found(None if row is None else row.seq, what)
    request_id = None if row is None else row.request_id
    if request_id is None:
        selection = Selection(first=seq, last=seq, listed=False)
    else:
        selection = Selection(request_id=request_id, listed=False)
    return Wishes(selection=selection, receipts=heads)


def _small(text: str) -> int:
    """Return a number that SQLite can hold; what is larger names nothing."""
    return int(text) if len(text) < 19 else -1


def _found(seq: int | None, text: str) -> int:
    if seq is None:
        raise MissingError(
            "there is no such record",
            where=text,
            hint="Run: sallyport audit status",
        )
    return seq


def _moment(text: str, *, where: str) -> tuple[dt.datetime, bool]:
    """Return a moment, in UTC unless it says otherwise, and whether it is a day."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            "neither a record's number nor a day or moment",
            where=where,
            expected="7, 2026-11-27 or 2026-11-27T08:00:00Z",
            actual=ascii(text),
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return moment, len(text) == len("2026-11-27")
