"""That the ledger is halted, and since when; ``halting`` makes and ends it.

A halt is the record ``log.halted`` and a row of the table ``halt``, made in one
transaction. Where that cannot be written, ``halt_marker`` keeps it, until row and
record can be. While either is there nothing is appended by any process of this host,
but the records of halting and of the release themselves.
Source: NIST SP 800-53 AU-5.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Connection, Engine, func, select

from appliance.db.session import reader
from appliance.db.tables import HaltRow
from appliance.errors import AuditUnavailableError
from appliance.ledger.log.halt_marker import HaltMarker
from bundleformat.ledger_release import Cause

_OPEN = select(HaltRow.number, HaltRow.cause, HaltRow.halted_ts).where(
    HaltRow.released_seq.is_(None)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Halt:
    """A halt that is not over.

    Attributes:
        number: From 1; that of one which is not on record yet is the next.
        cause: Why.
        halted: Since when, as its record has it.
        recorded: Whether row and record are there.
    """

    number: int
    cause: Cause
    halted: str
    recorded: bool


def find_halt(connection: Connection) -> Halt | None:
    """Return the halt this ledger is in, or None."""
    row = connection.execute(_OPEN).one_or_none()
    if row is not None:
        return Halt(
            number=row.number,
            cause=Cause(row.cause),
            halted=row.halted_ts,
            recorded=True,
        )
    marked = marker_of(connection.engine).read()
    if marked is None or is_known(connection, marked.halted):
        return None
    return Halt(
        number=next_number(connection),
        cause=marked.cause,
        halted=marked.halted,
        recorded=False,
    )


def is_known(connection: Connection, halted: str) -> bool:
    """Return whether the halt that began then has its row, over or not."""
    found = connection.execute(
        select(HaltRow.number).where(HaltRow.halted_ts == halted)
    )
    return found.first() is not None


def check_not_halted(connection: Connection) -> None:
    """Check that records may be appended.

    Raises:
        AuditUnavailableError: The ledger is halted.
    """
    halt = find_halt(connection)
    if halt is not None:
        raise halted_error(halt.cause)


def is_halted(engine: Engine) -> bool:
    """Return whether the ledger is halted, without waiting for any writer."""
    with reader(engine).connect() as connection:
        return find_halt(connection) is not None


def halted_error(cause: Cause) -> AuditUnavailableError:
    """Return what everybody is told as long as the ledger is halted."""
    return AuditUnavailableError(
        f"the ledger is halted ({cause}): until its release nothing is served or "
        "changed here; the operator of this host finds out more with "
        "`sallyport audit status`",
        cause=cause,
        hint="Run: sallyport audit status",
    )


def next_number(connection: Connection) -> int:
    """Return the number that the next halt gets."""
    newest = connection.execute(select(func.max(HaltRow.number))).scalar_one()
    return (newest or 0) + 1


def marker_of(engine: Engine) -> HaltMarker:
    """Return the file that keeps a halt which the database could not take."""
    return _marker(str(engine.url.database))


@lru_cache(16)
def _marker(database: str) -> HaltMarker:
    return HaltMarker(Path(database).parent)
