"""Legal holds: an operator places one at once, and two people lift it.

A hold only keeps, so whoever hears of a claim may place it, with a reason that is on
record. What is no longer held may be destroyed, so lifting takes what destroying
itself takes: the approval of somebody who holds a compliance key, for this hold alone.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from appliance.account import account_fields
from appliance.approval_flow import Wish, check_leave, read_leave, write_ask
from appliance.db.tables import RecordRow
from appliance.host import OpenHost, tool_name
from appliance.ledger.exports.places import places_between
from appliance.ledger.records.catalogue import Event
from appliance.ledger.records.fields import TOKEN
from appliance.ledger.retention.holds import Held, Hold, lift, list_holds, place
from bundleformat.approval import Act, Ask
from bundleformat.errors import ConflictError, MissingError, UsageError

_DAY = dt.timedelta(days=1)
_DAY_CHARACTERS = len("2026-11-27")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to be held, as a person names it; each is optional.

    Attributes:
        start: The first record's number, or a day or moment.
        end: The last record's number, or a day or moment that is over; else what is
            still to come is held as well.
        event: Only this event.
        team: Only this team.
        model: Only records that name this model, and those of the same calls.
        request_id: Only this call.
    """

    start: str | None = None
    end: str | None = None
    event: str | None = None
    team: str | None = None
    model: str | None = None
    request_id: str | None = None


def place_hold(host: OpenHost, wanted: Wanted, *, reason: str) -> tuple[Hold, int]:
    """Hold what is wanted from now on; return the hold and how many records it keeps.

    Raises:
        UsageError: That names no records.
        MissingError: There is no record of the time or number named.
        AuditUnavailableError: The ledger is halted, or its head is damaged.
        StorageFaultError: The disk refused; nothing is held.
    """
    now = host.clock.now()
    with host.change() as connection:
        held = _held(connection, wanted, now=now)
        hold = place(
            connection,
            held,
            said={"reason": reason, "tool": tool_name(), **account_fields()},
            log=host.log,
            keys=host.keys,
            now=now,
        )
        counted = select(func.count()).select_from(RecordRow).where(held.clause())
        return hold, connection.execute(counted).scalar_one()


def ask_to_lift(
    host: OpenHost, number: int, out: Path, *, reason: str, life: dt.timedelta
) -> Ask:
    """Write to ``out`` what a second person is asked to approve; it is on record.

    Raises:
        MissingError, ConflictError: There is no such hold, or it is lifted.
        UsageError, AuditUnavailableError, StorageFaultError: As ``write_ask``.
    """
    with host.look() as connection:
        hold = _open_hold(connection, number)
    return write_ask(
        host,
        _wish(number, reason),
        out,
        facts={"keeps": str(hold.held), "placed": hold.placed_ts},
        life=life,
    )


def lift_hold(host: OpenHost, number: int, *, reason: str, envelope: bytes) -> int:
    """End a hold that an approval allows to be ended; return its record's number.

    Raises:
        MissingError, ConflictError: There is no such hold, or it is lifted.
        SignatureError, MalformedError: It is no approval that this host trusts.
        UnsuitableApprovalError, ExpiredError, UsedApprovalError: It does not allow
            this.
        AuditUnavailableError: The ledger is halted, or its head is damaged.
        StorageFaultError: The disk refused; it still holds.
    """
    leave = read_leave(host, envelope)
    with host.change() as connection:
        check_leave(connection, host, leave, _wish(number, reason))
        _open_hold(connection, number)
        return lift(
            connection,
            number,
            said={"reason": reason, "approval": leave.field(), **account_fields()},
            log=host.log,
            keys=host.keys,
            now=host.clock.now(),
        )


def _wish(number: int, reason: str) -> Wish:
    return Wish(act=Act.HOLD_LIFTED, values={"hold": str(number)}, reason=reason)


def _open_hold(connection: Connection, number: int) -> Hold:
    for hold in list_holds(connection):
        if hold.number == number:
            if hold.lifted_seq is not None:
                raise ConflictError(
                    "this hold is lifted already",
                    where=f"hold {number}",
                    actual=f"record {hold.lifted_seq}",
                )
            return hold
    raise MissingError(
        "there is no such hold",
        where=f"hold {number}",
        hint="Run: sallyport audit hold list",
    )


def _held(connection: Connection, wanted: Wanted, *, now: dt.datetime) -> Held:
    for name, text in (
        ("event", wanted.event),
        ("team", wanted.team),
        ("model", wanted.model),
        ("request", wanted.request_id),
    ):
        _check_name(f"--{name}", text)
    if wanted.event is not None and wanted.event not in set(Event):
        raise UsageError(
            "there is no such event", where="--event", actual=ascii(wanted.event)
        )
    if wanted.end is not None and _is_to_come(wanted.end, now=now):
        raise UsageError(
            "a hold that ends in the future would end now",
            where="--to",
            hint="Leave --to out: what is still to come is held as well, until the "
            "hold is lifted.",
        )
    first, last = places_between(connection, wanted.start, wanted.end)
    return Held(
        first=first,
        last=last,
        event=wanted.event,
        team=wanted.team,
        model=wanted.model,
        request_id=wanted.request_id,
    )


def _is_to_come(text: str, *, now: dt.datetime) -> bool:
    """Return whether a day or moment is not over; anything else is not to come."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return False
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return moment + (_DAY if len(text) == _DAY_CHARACTERS else dt.timedelta()) > now


def _check_name(option: str, text: str | None) -> None:
    if text is None:
        return
    try:
        TOKEN(text, option)
    except ValueError as error:
        raise UsageError(
            "not a name that records carry",
            where=option,
            expected="1 to 200 printable characters without a space",
            actual=ascii(text[:64]),
        ) from error
