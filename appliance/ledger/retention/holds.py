"""Holds: what must stay although its time is over, until the officer lifts the hold.

A hold names records by what an export is asked for. It keeps them, and the texts of
their calls, from everything that lets go of either. Placing one is an operator's word
on record; lifting one takes a statement that a compliance key signed, which is for
the flow that calls ``lift`` to check. Each is one transaction with its record.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    and_,
    cast,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from appliance.db.tables import HoldRow, RecordRow
from appliance.errors import HeldError
from appliance.ledger.log.append import append
from appliance.ledger.log.head import LogIdentity
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.records.events import Draft, Event, Outcome, timestamp
from appliance.ledger.records.fields import JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Which records a hold keeps; None does not matter.

    Attributes:
        first: Number of the first one.
        last: Number of the last one; None keeps what is still to come as well.
        event: Only this event.
        team: Only records of this team.
        model: Only records that name this model, and those of the same calls.
        request_id: Only records of this call.
    """

    first: int | None = None
    last: int | None = None
    event: str | None = None
    team: str | None = None
    model: str | None = None
    request_id: str | None = None

    def fields(self) -> dict[str, JSON]:
        """Return what matters, as ``hold.placed`` has it."""
        said: dict[str, JSON] = {
            "first": None if self.first is None else str(self.first),
            "last": None if self.last is None else str(self.last),
            "event": self.event,
            "team": self.team,
            "model": self.model,
            "request_id": self.request_id,
        }
        return {name: value for name, value in said.items() if value is not None}

    def __str__(self) -> str:
        """Return what matters, for a person."""
        fields = self.fields().items()
        return ", ".join(f"{name} {value}" for name, value in fields) or "everything"

    def clause(self) -> ColumnElement[bool]:
        """Return what is true of the rows of its records.

        Where a call's model is not known any more, it may have been this one.
        """
        asked: list[ColumnElement[bool]] = [true()]
        if self.first is not None:
            asked.append(RecordRow.seq >= self.first)
        if self.last is not None:
            asked.append(RecordRow.seq <= self.last)
        for column, value in (
            (RecordRow.event, self.event),
            (RecordRow.team, self.team),
            (RecordRow.request_id, self.request_id),
        ):
            if value is not None:
                asked.append(func.coalesce(column, "") == value)
        if self.model is not None:
            asked.append(_of_model(self.model))
        return and_(*asked)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """A hold: its number from 1, what it keeps, and since when.

    Attributes:
        placed_seq: Its ``hold.placed``.
        lifted_seq: Its ``hold.lifted``; None as long as it holds.
    """

    number: int
    held: Held
    placed_seq: int
    placed_ts: str
    lifted_seq: int | None


def list_holds(connection: Connection) -> tuple[Hold, ...]:
    """Return every hold there ever was, oldest first."""
    rows = connection.execute(select(HoldRow.__table__).order_by(HoldRow.number))
    return tuple(
        Hold(
            number=row["number"],
            held=Held(
                first=row["first_seq"],
                last=row["last_seq"],
                event=row["event"],
                team=row["team"],
                model=row["model"],
                request_id=row["request_id"],
            ),
            placed_seq=row["placed_seq"],
            placed_ts=row["placed_ts"],
            lifted_seq=row["lifted_seq"],
        )
        for row in rows.mappings()
    )


def open_holds(connection: Connection) -> tuple[Hold, ...]:
    """Return the holds that hold, oldest first."""
    return tuple(hold for hold in list_holds(connection) if hold.lifted_seq is None)


def is_held(holds: Iterable[Hold]) -> ColumnElement[bool]:
    """Return what is true of the rows that any of ``holds`` keeps."""
    return or_(~true(), *(hold.held.clause() for hold in holds))


def check_not_held(connection: Connection, request_ids: Iterable[str]) -> None:
    """Check that no hold keeps a record of these calls, nor so their texts.

    ``connection`` MUST be in the transaction that then records their end.

    Raises:
        HeldError: One does.
    """
    wanted = tuple(request_ids)
    for hold in open_holds(connection):
        query = select(RecordRow.request_id).where(
            RecordRow.request_id.in_(wanted), hold.held.clause()
        )
        name = connection.execute(query.limit(1)).scalar_one_or_none()
        if name is not None:
            raise HeldError(
                "a legal hold keeps this call",
                where=name,
                actual=f"hold {hold.number}, of {hold.placed_ts}",
                hint="Lift it first, with a second person: sallyport audit hold lift.",
            )


def place(
    connection: Connection,
    held: Held,
    *,
    said: Mapping[str, JSON],
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
) -> Hold:
    """Append ``hold.placed`` and its row in the caller's transaction.

    ``said`` is who placed it and why, as the catalogue has it.

    Raises:
        AuditUnavailableError: The ledger is halted, or its head is damaged.
    """
    newest = connection.execute(select(func.max(HoldRow.number))).scalar_one()
    number = (newest or 0) + 1
    draft = Draft(
        event=Event.HOLD_PLACED,
        outcome=Outcome.OK,
        fields={"hold": number, "selection": held.fields(), **said},
    )
    (receipt,) = append(connection, [draft], log=log, keys=keys, now=now)
    connection.execute(
        insert(HoldRow),
        {
            "number": number,
            "first_seq": held.first,
            "last_seq": held.last,
            "event": held.event,
            "team": held.team,
            "model": held.model,
            "request_id": held.request_id,
            "placed_seq": receipt.seq,
            "placed_ts": timestamp(now),
        },
    )
    return Hold(
        number=number,
        held=held,
        placed_seq=receipt.seq,
        placed_ts=timestamp(now),
        lifted_seq=None,
    )


def lift(
    connection: Connection,
    number: int,
    *,
    said: Mapping[str, JSON],
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
) -> int:
    """Append ``hold.lifted`` and close the row in the caller's transaction.

    ``said`` is why and by whose leave, as the catalogue has it. Returns the record's
    number.

    Raises:
        AuditUnavailableError: The ledger is halted, or its head is damaged.
    """
    draft = Draft(
        event=Event.HOLD_LIFTED, outcome=Outcome.OK, fields={"hold": number, **said}
    )
    (receipt,) = append(connection, [draft], log=log, keys=keys, now=now)
    row = update(HoldRow).where(HoldRow.number == number)
    connection.execute(row.values(lifted_seq=receipt.seq))
    return receipt.seq


def _of_model(name: str) -> ColumnElement[bool]:
    said = func.json_extract(cast(RecordRow.bytes_, Text), "$.model.name")
    named = func.coalesce(said, "") == name
    calls = select(RecordRow.request_id).where(
        RecordRow.event == str(Event.LLM_REQUEST),
        or_(named, RecordRow.bytes_.is_(None)),
    )
    return or_(named, func.coalesce(RecordRow.request_id, "").in_(calls))
