"""Finds records by what they say: for ``audit show``, ``search`` and ``stats``.

Only reads. Whoever reads is put on record first; that is the business of the flow
that calls this, and it counts under the same filter as it reads.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import rfc8785
from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    cast,
    false,
    func,
    or_,
    select,
)

from appliance.db.tables import RecordRow
from appliance.ledger.log.moments import first_from, last_before
from appliance.ledger.tree.merkle import leaf_hash

ANY_OF_SUBJECT: Final = ".*"
"""How an event is named of which only the subject matters: ``llm.*``."""

_KEYS: Final = ("$.actor.key_id", "$.key_id")
_MODELS: Final = ("$.model.name",)
_CODES: Final = ("$.code", "$.error_code")
"""Where records have the key, the model and the code that they are about."""

_INDEX: Final = ("ts", "event", "outcome", "team", "request_id")
"""What is known of a record that was pruned, beside its number and hash."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """What a record must say to be found; what is None does not matter.

    Attributes:
        seq: Its number.
        event: Its event, or a subject followed by ``.*``.
        outcome: Its outcome.
        team: Its team.
        request: The API request it is about.
        key: The API key it is about.
        model: The model it is about.
        code: Why something was refused or failed.
        since: No earlier than this moment, RFC 3339 in UTC with microseconds.
        until: Before this moment.
    """

    seq: int | None = None
    event: str | None = None
    outcome: str | None = None
    team: str | None = None
    request: str | None = None
    key: str | None = None
    model: str | None = None
    code: str | None = None
    since: str | None = None
    until: str | None = None

    @property
    def reads_bytes(self) -> bool:
        """Whether it asks for what only a record's bytes say; pruned ones never do."""
        return any(each is not None for each in (self.key, self.model, self.code))

    def terms(self) -> dict[str, str]:
        """Return what matters, by name."""
        given = {
            "seq": None if self.seq is None else str(self.seq),
            "event": self.event,
            "outcome": self.outcome,
            "team": self.team,
            "request": self.request,
            "key": self.key,
            "model": self.model,
            "code": self.code,
            "since": self.since,
            "until": self.until,
        }
        return {name: value for name, value in given.items() if value is not None}

    def sha256(self) -> str:
        """Return the digest of the filter's canonical form.

        It is SHA-256 over the RFC 8785 bytes of ``terms``: whoever knows what was
        looked for can compare, and a record of it gives away no more than that.
        """
        return hashlib.sha256(rfc8785.dumps(self.terms())).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundRecord:
    """A record that was found.

    Attributes:
        seq: Its number.
        leaf: Its leaf hash.
        data: Its exact bytes; None if it was pruned.
        index: What the ledger's index says of it, where that says anything.
    """

    seq: int
    leaf: bytes
    data: bytes | None
    index: Mapping[str, str]


def count_records(connection: Connection, wanted: Filter, *, size: int) -> int:
    """Return how many of the first ``size`` records are wanted."""
    query = select(func.count()).select_from(RecordRow)
    where = _conditions(connection, wanted, size=size)
    return connection.execute(query.where(*where)).scalar_one()


def find_records(
    connection: Connection, wanted: Filter, *, size: int, limit: int
) -> Iterator[FoundRecord]:
    """Yield the newest ``limit`` wanted records of the first ``size``, oldest first."""
    query = select(RecordRow.__table__)
    query = query.where(*_conditions(connection, wanted, size=size))
    newest = query.order_by(RecordRow.seq.desc()).limit(limit).subquery()
    rows = connection.execute(select(newest).order_by(newest.c.seq))
    for row in rows.mappings():
        data = row["bytes"]
        yield FoundRecord(
            seq=row["seq"],
            leaf=row["leaf"] if data is None else leaf_hash(data),
            data=data,
            index={name: row[name] for name in _INDEX if row[name] is not None},
        )


def count_by_event(
    connection: Connection, wanted: Filter, *, size: int
) -> tuple[tuple[str, str, str, int], ...]:
    """Return how many wanted records there are of each event, outcome and team."""
    columns = (RecordRow.event, RecordRow.outcome, RecordRow.team)
    query = select(*columns, func.count()).where(
        *_conditions(connection, wanted, size=size)
    )
    rows = connection.execute(query.group_by(*columns).order_by(*columns))
    return tuple(
        (event, outcome, team or "", number) for event, outcome, team, number in rows
    )


def _conditions(
    connection: Connection, wanted: Filter, *, size: int
) -> Iterator[ColumnElement[bool]]:
    yield RecordRow.seq < size
    yield from _between(connection, wanted)
    for column, value in (
        (RecordRow.seq, wanted.seq),
        (RecordRow.outcome, wanted.outcome),
        (RecordRow.team, wanted.team),
        (RecordRow.request_id, wanted.request),
    ):
        if value is not None:
            yield column == value
    if wanted.event is not None:
        yield _is_event(wanted.event)
    if wanted.since is not None:
        yield RecordRow.ts >= wanted.since
    if wanted.until is not None:
        yield RecordRow.ts < wanted.until
    for paths, text in (
        (_KEYS, wanted.key),
        (_MODELS, wanted.model),
        (_CODES, wanted.code),
    ):
        if text is not None:
            yield or_(*(_says(path) == text for path in paths))


def _between(connection: Connection, wanted: Filter) -> Iterator[ColumnElement[bool]]:
    """Bound the numbers of records of a time, so that no others are looked at."""
    if wanted.since is not None:
        first = first_from(connection, dt.datetime.fromisoformat(wanted.since))
        yield false() if first is None else RecordRow.seq >= first
    if wanted.until is not None:
        last = last_before(connection, dt.datetime.fromisoformat(wanted.until))
        yield false() if last is None else RecordRow.seq <= last


def _is_event(event: str) -> ColumnElement[bool]:
    if event.endswith(ANY_OF_SUBJECT):
        return RecordRow.event.startswith(event.removesuffix("*"), autoescape=True)
    return RecordRow.event == event


def _says(path: str) -> ColumnElement[str]:
    return func.json_extract(cast(RecordRow.bytes_, Text), path)
