"""Halts the ledger and lets it go on, each with its record in one transaction.

A halt is first marked beside the database, which takes no room: at the worst the
ballast becomes the mark. Then it is recorded on a fresh connection, after the ballast
was given up if there is no room without it; nothing is ever retried on a connection
that failed. What cannot be recorded stays marked, and is recorded when it can be.
"""

import contextlib
import datetime as dt
import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from appliance.db.tables import HaltRow, RecordRow
from appliance.ledger.log.append import extend_although_halted
from appliance.ledger.log.halt import Halt, find_halt, is_known, marker_of, next_number
from appliance.ledger.log.halt_marker import Marked
from appliance.ledger.log.head import LogIdentity, read_verified_head
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.records.catalogue import TWO_HEADS
from appliance.ledger.records.causes import cause_of, name_of
from appliance.ledger.records.events import Draft, Event, Outcome, timestamp
from appliance.ledger.records.fields import JSON
from appliance.ledger.watch.ballast import Ballast
from bundleformat.errors import Error
from bundleformat.ledger_release import Cause, LedgerRelease

_FAILURES = (Error, SQLAlchemyError, sqlite3.Error, OSError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Signing:
    """Whose ledger it is and what signs its heads."""

    log: LogIdentity
    keys: LedgerKeys


def mark(error: Exception, *, now: dt.datetime) -> Marked:
    """Return the halt that ``error`` makes, on record nowhere yet."""
    details: dict[str, JSON] = dict(getattr(error, "details", {}))
    if not details:
        details["error"] = name_of(error)
    cause = cause_of(error) or Cause.IO_ERROR
    return Marked(cause=cause, halted=timestamp(now), details=details)


def keep_halt(
    engine: Engine,
    marked: Marked,
    *,
    signing: Signing,
    ballast: Ballast,
    now: dt.datetime,
) -> Marked:
    """Mark a halt, then record it; return the halt that the ledger is in then.

    That is another one, if another process was first. The mark stays until the halt
    is on record; may be called again until it is.
    """
    marker = marker_of(engine)
    if marker.read() != marked and not marker.write(marked):
        with contextlib.suppress(OSError):
            ballast.become(marker.path)
        marker.write(marked)
    if marked.cause is Cause.DISK_FULL:
        ballast.give_up()
    for _ in range(2):
        try:
            kept = _record(engine, marked, signing=signing, now=now)
        except _FAILURES:
            # Whatever it was, more room can only help.
            ballast.give_up()
        else:
            with contextlib.suppress(OSError):
                marker.remove()
            return kept
    return marked


def _record(
    engine: Engine, marked: Marked, *, signing: Signing, now: dt.datetime
) -> Marked:
    engine.dispose()
    with engine.begin() as connection:
        known = find_halt(connection)
        if known is not None and known.recorded:
            return Marked(cause=known.cause, halted=known.halted)
        if not is_known(connection, marked.halted):
            # A head that is damaged or of another key is not built upon.
            read_verified_head(connection, log=signing.log)
            record_halt(connection, marked, signing=signing, now=now)
    return marked


def record_halt(
    connection: Connection, marked: Marked, *, signing: Signing, now: dt.datetime
) -> Halt:
    """Append ``log.halted`` and its row in the caller's transaction."""
    halt = Halt(
        number=next_number(connection),
        cause=marked.cause,
        halted=marked.halted,
        recorded=True,
    )
    draft = Draft(
        event=Event.LOG_HALTED,
        outcome=Outcome.ERROR,
        fields={
            "halt": halt.number,
            "cause": str(halt.cause),
            "halted": halt.halted,
            **marked.details,
        },
    )
    seq = _append(connection, draft, signing=signing, now=now)
    connection.execute(
        insert(HaltRow),
        {
            "number": halt.number,
            "cause": str(halt.cause),
            "halted_seq": seq,
            "halted_ts": halt.halted,
        },
    )
    return halt


def end_halt(
    connection: Connection,
    release: LedgerRelease,
    *,
    envelope: bytes,
    key_ids: tuple[str, ...],
    signing: Signing,
    now: dt.datetime,
    account: Mapping[str, JSON],
) -> None:
    """Append ``log.released`` and close the halt's row in the caller's transaction.

    A halt that could not be recorded is recorded before it.

    Raises:
        AuditUnavailableError: The head is damaged, or signed by another key.
    """
    read_verified_head(connection, log=signing.log)
    halt, marked = find_halt(connection), marker_of(connection.engine).read()
    if halt is not None and not halt.recorded and marked is not None:
        record_halt(connection, marked, signing=signing, now=now)
    draft = Draft(
        event=Event.LOG_RELEASED,
        outcome=Outcome.OK,
        fields={
            "halt": release.halt,
            "cause": str(release.cause),
            "reason": release.reason,
            "key_ids": key_ids,
            "issued": timestamp(release.issued),
            "release_sha256": hashlib.sha256(envelope).hexdigest(),
            **_heads_of(connection, release.halt),
            **account,
        },
    )
    seq = _append(connection, draft, signing=signing, now=now)
    row = update(HaltRow).where(HaltRow.number == release.halt)
    connection.execute(row.values(released_seq=seq))


def _heads_of(connection: Connection, number: int) -> Mapping[str, JSON]:
    """Return the two heads that the record of a halt names, if it names any."""
    found = connection.execute(
        select(RecordRow.bytes_)
        .join(HaltRow, HaltRow.halted_seq == RecordRow.seq)
        .where(HaltRow.number == number)
    ).scalar_one()
    if found is None:
        return {}
    record: dict[str, JSON] = json.loads(found)
    return {name: record[name] for name in TWO_HEADS if name in record}


def _append(
    connection: Connection, draft: Draft, *, signing: Signing, now: dt.datetime
) -> int:
    done = extend_although_halted(
        connection, [draft], log=signing.log, keys=signing.keys, now=now
    )
    return done.receipts[0].seq
