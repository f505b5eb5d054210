"""Why the ledger halts, by the error that made it, and what to do about it."""

import errno
import sqlite3

from sqlalchemy.exc import DBAPIError

from appliance.errors import AuditUnavailableError
from bundleformat.errors import Error, RollbackError
from bundleformat.ledger_release import Cause

ADVICE = {
    Cause.IO_ERROR: "The disk refused a write or a sync: replace it or its cabling; "
    "then `sallyport audit fsck`.",
    Cause.DISK_FULL: "Free space on the disk of the home folder.",
    Cause.CLOCK_BACK: "Set the clock right, and find out who set it.",
    Cause.ROLLED_BACK: "Find out who put an older database back, and keep both: there "
    "were records that are missing now.",
    Cause.CHANGED_TRIGGERS: "Find out who changed the database's triggers, and what "
    "else: `sallyport audit fsck`, and a checkpoint held elsewhere. Then `sallyport db "
    "restore-triggers` makes them as they were.",
    Cause.NOT_CONTINUING: "Records were taken away or rewritten while the server ran: "
    "keep the database, and compare it with the last export.",
}
"""What is to be done before a release, by cause."""

_ROOM = (errno.ENOSPC, errno.EDQUOT)
_TRANSIENT = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def cause_of(error: Exception) -> Cause | None:
    """Return why ``error`` halts the ledger; None if it is over by itself.

    Another process that holds the database too long is refused for, not halted for.
    """
    if isinstance(error, AuditUnavailableError):
        return Cause(error.cause) if error.cause else Cause.NOT_CONTINUING
    if isinstance(error, RollbackError):
        return Cause.ROLLED_BACK
    if isinstance(error, OSError):
        return Cause.DISK_FULL if error.errno in _ROOM else Cause.IO_ERROR
    # The low byte is the error; the rest says where it came from.
    number = getattr(_original(error), "sqlite_errorcode", 0) & 0xFF
    if number in _TRANSIENT:
        return None
    return Cause.DISK_FULL if number == sqlite3.SQLITE_FULL else Cause.IO_ERROR


def name_of(error: Exception) -> str:
    """Return the short name of what went wrong, as a record may hold it."""
    if isinstance(error, Error):
        return error.code
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, type(error).__name__)
    original = _original(error)
    named = getattr(original, "sqlite_errorname", None)
    return str(named or type(original).__name__)


def _original(error: Exception) -> BaseException:
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig
    return error
