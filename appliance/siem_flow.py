"""Feeds the ledger of a running server to a collector, as RFC 5424 lines of OCSF."""

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import func, select

from appliance.audit_formats.record import read_record
from appliance.audit_formats.syslog import syslog_line
from appliance.db.tables import RecordRow
from appliance.host import OpenHost, tool_name
from appliance.ledger.log.append import Receipt
from appliance.ledger.records.catalogue import Event, Outcome
from appliance.ledger.records.events import Draft
from appliance.siem.feed import Feed
from appliance.siem.socket_sink import Kind, SocketSink

RECORD_TIMEOUT_S: Final = 10.0
"""How long the feed waits for the record of a gap to be durable. Unit: seconds."""


class Ledger(Protocol):
    """What records a gap."""

    def submit(self, draft: Draft) -> "Future[Receipt]":
        """Queue a draft; the future resolves when it is durable."""


def siem_feed(host: OpenHost, *, ledger: Ledger) -> Feed | None:
    """Return the feed of ``host``, which is not started, or None if none is set.

    Raises:
        StorageFaultError: The ledger cannot be read.
    """
    settings = host.settings.siem
    if not settings.socket:
        return None
    return Feed(
        source=LedgerSource(host, ledger=ledger),
        sink=SocketSink(Path(settings.socket), kind=Kind(settings.kind)),
        render=render,
        place=host.home.run / "siem.next",
        backlog=settings.backlog,
    )


def render(data: bytes, number: int, brief: bool) -> bytes:  # noqa: FBT001 - see feed.Render
    """Return the message for a record, or a short one that says it is not whole."""
    record = read_record(data)
    return syslog_line(record, tool=tool_name(), number=number, brief=brief)


class LedgerSource:
    """The records of a host, as the feed reads them."""

    def __init__(self, host: OpenHost, *, ledger: Ledger) -> None:
        self._host = host
        self._ledger = ledger

    def size(self) -> int:
        """Return how many records are durable."""
        newest = select(func.coalesce(func.max(RecordRow.seq), -1))
        with self._host.look() as connection:
            return connection.execute(newest).scalar_one() + 1

    def records(self, first: int, count: int) -> Sequence[bytes | None]:
        """Return the exact bytes of ``count`` records, None of one that was pruned."""
        query = select(RecordRow.bytes_).where(RecordRow.seq >= first)
        with self._host.look() as connection:
            rows = connection.execute(query.order_by(RecordRow.seq).limit(count))
            return list(rows.scalars())

    def record_gap(self, first: int, last: int) -> None:
        """Make durable that records ``first`` to ``last`` were not sent.

        Raises:
            AuditUnavailableError: The ledger cannot write.
            TimeoutError: It has not written in time.
        """
        gap = Draft(
            event=Event.SIEM_GAP,
            outcome=Outcome.ERROR,
            fields={
                "first": str(first),
                "last": str(last),
                "records": last - first + 1,
            },
        )
        self._ledger.submit(gap).result(RECORD_TIMEOUT_S)
