"""Reading the ledger on the host itself, where every reading is a record of its own.

1. who reads: the account of the operating system, and the login it began as.
2. in one transaction: how many records the filter finds, and ``log.read`` of it.
3. only when that is durable, the records are read, and handed to be shown.

A ledger that cannot record a reading is not read. An export is never withheld: it
is what there is to read while the ledger is halted.
Source: PCI DSS 4.0.1, 10.2.1.3; NIST SP 800-53 AU-6, AU-7 and AU-9.
"""

import json
from dataclasses import dataclass
from typing import Any

from appliance.account import account_fields
from appliance.errors import AuditUnavailableError
from appliance.host import OpenHost, tool_name
from appliance.ledger.log.halt import find_halt
from appliance.ledger.log.head import read_verified_head
from appliance.ledger.log.pruned import Pruned, count_pruned, read_pruned
from appliance.ledger.log.search import (
    Filter,
    FoundRecord,
    count_by_event,
    count_records,
    find_records,
)
from appliance.ledger.records.catalogue import Event, Outcome
from appliance.ledger.records.events import Draft
from bundleformat.errors import MissingError
from bundleformat.retention import Kept


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a reading gives, and the record that it was done.

    Attributes:
        seq: The number of its ``log.read``.
        matches: How many records the filter finds.
        size: Of how many.
        unread: How many more were pruned and cannot be asked; 0 if all could.
    """

    seq: int
    matches: int
    size: int
    unread: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One record as a person sees it: what it says, and how it is proven.

    Attributes:
        seq: Its number.
        leaf: Its leaf hash.
        fields: What it says; of one that was pruned what the ledger's index has, and
            under ``pruned`` the number of the record that says so.
    """

    seq: int
    leaf: str
    fields: dict[str, Any]


def read_one(host: OpenHost, seq: int, *, reason: str) -> tuple[Reading, Shown]:
    """Return record ``seq``, having recorded that it was read.

    Raises:
        MissingError: There is no such record; that it was asked for is on record.
        UsageError: As ``read_some``.
        AuditUnavailableError, StorageFaultError: As ``read_some``.
    """
    wanted = Filter(seq=seq)
    reading, found = read_some(host, wanted, limit=1, reason=reason, command="show")
    if not found:
        raise MissingError(
            "there is no such record",
            where=str(seq),
            expected=f"0 to {reading.size - 1}",
            hint="Run: sallyport audit status",
        )
    return reading, found[0]


def read_some(
    host: OpenHost, wanted: Filter, *, limit: int, reason: str, command: str = "search"
) -> tuple[Reading, tuple[Shown, ...]]:
    """Return the newest wanted records, having recorded that they were read.

    Args:
        host: Whose ledger.
        wanted: What the records say.
        limit: How many are returned.
        reason: Why, in the reader's words.
        command: What the reader called.

    Raises:
        AuditUnavailableError: The ledger is halted, or its head is damaged; nothing
            was read.
        StorageFaultError: The reading cannot be recorded; nothing was read.
    """
    reading = _record(host, wanted, command=command, reason=reason)
    with host.look() as connection:
        found = find_records(connection, wanted, size=reading.size, limit=limit)
        pruned = read_pruned(connection)
        return reading, tuple(_shown(each, pruned) for each in found)


def read_numbers(
    host: OpenHost, wanted: Filter
) -> tuple[Reading, tuple[tuple[str, str, str, int], ...]]:
    """Return how many records there are of each event, outcome and team.

    It says nothing of any one call, and so wants no reason. It is recorded.

    Raises:
        AuditUnavailableError, StorageFaultError: As ``read_some``.
    """
    reading = _record(host, wanted, command="stats", reason=None)
    with host.look() as connection:
        return reading, count_by_event(connection, wanted, size=reading.size)


def _record(
    host: OpenHost, wanted: Filter, *, command: str, reason: str | None
) -> Reading:
    _check_recordable(host)
    with host.change() as connection:
        size = read_verified_head(connection, log=host.log).size
        matches = count_records(connection, wanted, size=size)
        draft = Draft(
            event=Event.LOG_READ,
            outcome=Outcome.OK,
            fields={
                "command": command,
                "filter_sha256": wanted.sha256(),
                "records": matches,
                "size": str(size),
                "tool": tool_name(),
                "reason": reason,
                **account_fields(),
            },
        )
        (receipt,) = host.record(connection, [draft], now=host.clock.now())
        unread = count_pruned(connection, Kept.RECORD) if wanted.reads_bytes else 0
    return Reading(seq=receipt.seq, matches=matches, size=size, unread=unread)


def _check_recordable(host: OpenHost) -> None:
    """Check that a reading can be recorded, and say what to read where it cannot."""
    with host.look() as connection:
        halt = find_halt(connection)
    if halt is not None:
        raise AuditUnavailableError(
            f"the ledger is halted ({halt.cause}): a reading cannot be recorded, and "
            "without that nothing is shown",
            cause=halt.cause,
            hint="An export is never withheld, and holds every record: sallyport audit "
            "export --out FOLDER; read its records.jsonl. What halted the ledger: "
            "sallyport audit status",
        )


def _shown(found: FoundRecord, pruned: Pruned) -> Shown:
    if found.data is not None:
        fields = json.loads(found.data)
    else:
        by = pruned.by(found.seq)
        said = "by no record" if by is None else str(by)
        fields = {"seq": str(found.seq), **found.index, "pruned": said}
    return Shown(seq=found.seq, leaf=found.leaf.hex(), fields=fields)
