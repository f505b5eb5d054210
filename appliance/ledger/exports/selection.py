"""Which records an export is to hold; pure, and a clause for the database.

An export without any wish holds every record. Otherwise it holds the records that
were asked for and, of all others, hashes: within the range one for each record, so
that their number and places are proven; outside of it as few as the tree needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Text, and_, cast, exists, func, or_, true
from sqlalchemy.orm import aliased

from appliance.db.tables import RecordRow
from appliance.ledger.records.events import Event, token_or_digest
from appliance.ledger.records.fields import JSON

NEEDED = (Event.KEY_ROTATE,)
"""Records without which no export can be verified: every export holds them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What is asked for; None asks for nothing in particular.

    Attributes:
        first: Number of the first record of the range.
        last: Number of its last record.
        event: Only this event.
        team: Only records of this team.
        model: Only records that name this model, and those of the same requests.
        request_id: Only records of this request.
        listed: Whether records of the range that are not asked for are listed one
            by one, each by its own hash.
    """

    first: int | None = None
    last: int | None = None
    event: str | None = None
    team: str | None = None
    model: str | None = None
    request_id: str | None = None
    listed: bool = True

    @property
    def whole(self) -> bool:
        """Whether every record is asked for."""
        return not self.fields()

    @property
    def filtered(self) -> bool:
        """Whether it takes the host's word that nothing else was asked for."""
        return bool(self.fields().keys() - {"first", "last"})

    def span(self, size: int) -> range:
        """Return the range in a ledger of ``size`` records."""
        last = size - 1 if self.last is None else min(self.last, size - 1)
        return range(self.first or 0, last + 1)

    def fields(self) -> Mapping[str, JSON]:
        """Return the wishes as ``log.exported`` records them."""
        said: dict[str, JSON] = {
            name: None if value is None else str(value)
            for name, value in (("first", self.first), ("last", self.last))
        }
        for name in ("event", "team", "model", "request_id"):
            value = getattr(self, name)
            said[name] = None if value is None else token_or_digest(value)
        return {name: value for name, value in said.items() if value is not None}

    def __str__(self) -> str:
        """Return the wishes as the manifest and the verifier say them."""
        return ", ".join(f"{name} {value}" for name, value in self.fields().items())

    def clause(self) -> ColumnElement[bool]:
        """Return what is true of the rows within the range that are asked for."""
        asked: list[ColumnElement[bool]] = [true()]
        for column, wish in (
            (RecordRow.event, self.event),
            (RecordRow.team, self.team),
            (RecordRow.request_id, self.request_id),
        ):
            if wish is not None:
                asked.append(column == wish)
        if self.model is not None:
            asked.append(_names_model(self.model))
        return and_(*asked)


EVERYTHING = Selection()
"""Every record of the ledger."""


def is_needed() -> ColumnElement[bool]:
    """Return what is true of the rows that are asked for in every export.

    Those that say what was pruned are among them, so that a hash in the place of a
    record can be told from one that was left out.
    """
    needed = (*NEEDED, Event.LOG_PRUNED)
    return RecordRow.event.in_([str(event) for event in needed])


def _names_model(name: str) -> ColumnElement[bool]:
    def named(row: type[RecordRow]) -> ColumnElement[bool]:
        return func.json_extract(cast(row.bytes_, Text), "$.model.name") == name

    # By the request of each row: the rows of other days are not looked through.
    asking = aliased(RecordRow)
    request = exists().where(
        asking.request_id == RecordRow.request_id,
        asking.event == str(Event.LLM_REQUEST),
        named(asking),
    )
    return or_(named(RecordRow), request)
