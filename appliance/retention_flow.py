"""What goes when its time is over, and what must stay: planned, then done.

How long things are kept is said by the site certificate alone, which a compliance key
signed; an operator of the host decides when to let go, never of what. Nothing goes
under a certificate that is not in force, that says nothing of it, or that names texts
which cannot all be kept to.

1. The certificate says for how long, by the presets it names.
2. What ended before that moment, and is in no hold, is due.
3. It is on record before it goes; see ``ledger.retention.pruning``. Texts go before
   the records that commit to them.
"""

import datetime as dt
import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from appliance.account import account_fields
from appliance.body_flow import carry_out
from appliance.clock import rfc3339
from appliance.errors import RetentionConflictError
from appliance.host import OpenHost, tool_name
from appliance.identity.site import current_signed
from appliance.intake.trust_state import all_compliance_keys
from appliance.ledger.retention.due import Due, find_due, oldest_call
from appliance.ledger.retention.pruning import Order, prune_batch
from bundleformat.errors import (
    ExpiredError,
    MissingError,
    RefusalError,
    StorageFaultError,
)
from bundleformat.retention import Kept, Period, Retention, period
from bundleformat.site_certificate import SiteCertificate

_ADVICE: Final = (
    "It is the site certificate that says how long: `sallyport-bundler site issue "
    "--retention PRESET`, then `sallyport site install FILE`."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One kind of thing, as a plan has it.

    Attributes:
        period: How long it is kept.
        before: What ended before this moment is due; None if nothing ever is.
        due: What that is.
    """

    period: Period
    before: dt.datetime | None
    due: Due


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What would go at one moment.

    Attributes:
        now: That moment, by the host's clock.
        presets: What the certificate in force names; none if it names none.
        oldest: The time of the oldest record of a call that has its bytes, or None.
        problem: Why ``run_retention`` would refuse, or "".
        records: Of records.
        bodies: Of the texts that records commit to, each counted as its record.
    """

    now: dt.datetime
    presets: tuple[str, ...]
    problem: str
    oldest: str | None
    records: Part
    bodies: Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """What went: records and texts, in batches that each have a record of their own."""

    records: int
    bodies: int
    batches: int


def plan_retention(host: OpenHost) -> Plan:
    """Return what ``run_retention`` would let go; nothing is changed."""
    now = host.clock.now()
    with host.look() as connection:
        _, certificate = _certificate(connection, now)
        retention = None if certificate is None else certificate.retention
        problem = ""
        try:
            for kept in Kept:
                _order(connection, kept, now=now)
        except RefusalError as error:
            problem = error.text()
        return Plan(
            now=now,
            presets=() if retention is None else retention.presets,
            problem=problem,
            oldest=oldest_call(connection),
            records=_part(connection, retention, Kept.RECORD, now=now),
            bodies=_part(connection, retention, Kept.BODY, now=now),
        )


def run_retention(host: OpenHost) -> Pruned:
    """Let everything go that is due, a batch at a time.

    A process that ends in between has done whole batches; the next call goes on.

    Raises:
        MissingError: No certificate is installed, or it says nothing of retention.
        ExpiredError: It is not in force.
        RetentionConflictError: What it names cannot all be kept to.
        AuditUnavailableError: The ledger is halted, or its head is damaged.
        StorageFaultError: The disk refused.
    """
    now = host.clock.now()
    with host.look() as connection:
        # Neither goes where the other cannot.
        for kept in Kept:
            _order(connection, kept, now=now)
    # What an earlier call was killed over is carried out first.
    carry_out(host)
    bodies = [*_batches(host, Kept.BODY, now=now)]
    records = [*_batches(host, Kept.RECORD, now=now)]
    return Pruned(
        records=sum(records), bodies=sum(bodies), batches=len(records) + len(bodies)
    )


def _batches(host: OpenHost, kept: Kept, *, now: dt.datetime) -> Iterator[int]:
    """Let go of one kind of thing; yield how many went in each batch."""
    last = -1
    while True:
        with host.change() as connection:
            order = _order(connection, kept, now=now)
            if order is None:
                return
            # What a page held is overwritten, not only forgotten.
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
            gone = prune_batch(
                connection, order, log=host.log, keys=host.keys, now=now, after=last
            )
        if not gone:
            return
        last = gone[-1][1]
        if kept is Kept.BODY:
            carry_out(host)
        yield sum(last - first + 1 for first, last in gone)


def run_alone(host: OpenHost) -> tuple[Pruned, int]:
    """Do as ``run_retention`` while no server works, then give the room to the disk.

    Until then it stays in the file: a row that has become short frees no page. Returns
    what went, and how many bytes the disk got back.

    Raises:
        HostNotReadyError: A server works with the database; nothing went.
        StorageFaultError: The disk refused; it needs room for a second copy.
        RefusalError, AuditUnavailableError: As ``run_retention``.
    """
    with host.hold_serve_lock("a server works with this database: stop it first"):
        done = run_retention(host)
        return done, _shrink(host)


def _shrink(host: OpenHost) -> int:
    before = _size(host.home.database)
    host.database.dispose()
    connection = host.database.raw_connection()
    try:
        connection.cursor().execute("VACUUM")
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise StorageFaultError(
            "the database cannot be made smaller",
            where=str(host.home.database),
            actual=str(error),
            hint="It needs room for a second copy of itself. What was due has gone.",
        ) from error
    finally:
        connection.close()
        host.database.dispose()
    return max(0, before - _size(host.home.database))


def _size(path: Path) -> int:
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


def _part(
    connection: Connection, retention: Retention | None, kept: Kept, *, now: dt.datetime
) -> Part:
    found = period(retention, kept)
    if found.days is None or found.conflicts:
        nothing = Due(records=0, first=None, last=None, held={})
        return Part(period=found, before=None, due=nothing)
    before = now - dt.timedelta(days=found.days)
    return Part(period=found, before=before, due=find_due(connection, kept, before))


def _order(connection: Connection, kept: Kept, *, now: dt.datetime) -> Order | None:
    """Return what the certificate in force orders of one kind; None if nothing."""
    envelope, certificate = _certificate(connection, now)
    if certificate is None:
        raise MissingError("no site certificate is installed", hint=_ADVICE)
    if not certificate.not_before <= now < certificate.not_after:
        raise ExpiredError(
            "the site certificate is not in force",
            where="site certificate",
            expected=f"{rfc3339(certificate.not_before)} to "
            f"{rfc3339(certificate.not_after)}",
            actual=rfc3339(now),
            hint="Check this machine's clock; else have a new one issued.",
        )
    retention = certificate.retention
    if retention is None:
        raise MissingError(
            "the site certificate says nothing of retention, so nothing is ever pruned",
            hint=_ADVICE,
        )
    found = period(retention, kept)
    if found.conflicts:
        raise RetentionConflictError(
            found.conflicts[0],
            where=f"retention of {kept}s",
            hint="Have a certificate issued that names what counts here; until then "
            "nothing is pruned.",
        )
    if found.days is None:
        return None
    return Order(
        kept=kept,
        before=now - dt.timedelta(days=found.days),
        days=found.days,
        presets=retention.presets,
        certificate_sha256=hashlib.sha256(envelope).hexdigest(),
        said={**account_fields(), "tool": tool_name()},
    )


def _certificate(
    connection: Connection, now: dt.datetime
) -> tuple[bytes, SiteCertificate | None]:
    found = current_signed(connection, keys=all_compliance_keys(connection), now=now)
    return (b"", None) if found is None else found
