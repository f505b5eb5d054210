"""How many tokens each team has used, as the ledger says.

There is no other account of it: what a restart or a crash leaves behind is what
was recorded. A request that was cut short, whose use nobody knows, counts as if
it had used all that it asked for.
"""

import datetime as dt
from collections.abc import Mapping

from sqlalchemy import ColumnElement, Connection, Select, Text, cast, func, select
from sqlalchemy.orm import aliased

from appliance.db.tables import RecordRow
from appliance.ledger.records.catalogue import Event
from appliance.ledger.records.events import timestamp


def tokens_by_team(connection: Connection, *, since: dt.datetime) -> Mapping[str, int]:
    """Return the tokens of prompts and answers that ended since a moment."""
    used: dict[str, int] = {}
    for query in (_answered(since), _cut_short(since)):
        for row in connection.execute(query):
            team = str(row[0])
            used[team] = used.get(team, 0) + row[1]
    return used


def _answered(since: dt.datetime) -> Select[str | None, int]:
    tokens = _number(RecordRow, "$.prompt_tokens") + _number(
        RecordRow, "$.completion_tokens"
    )
    return (
        select(RecordRow.team, func.sum(tokens))
        .where(RecordRow.event == str(Event.LLM_RESPONSE))
        .where(RecordRow.ts >= timestamp(since))
        .group_by(RecordRow.team)
    )


def _cut_short(since: dt.datetime) -> Select[str | None, int]:
    asked = aliased(RecordRow)
    tokens = _number(asked, "$.prompt_tokens") + _number(asked, "$.params.max_tokens")
    return (
        select(RecordRow.team, func.sum(tokens))
        .join(asked, asked.request_id == RecordRow.request_id)
        .where(RecordRow.event == str(Event.LLM_ABORTED))
        .where(RecordRow.ts >= timestamp(since))
        .where(asked.event == str(Event.LLM_REQUEST))
        .group_by(RecordRow.team)
    )


def _number(row: type[RecordRow], path: str) -> ColumnElement[int]:
    return func.coalesce(func.json_extract(cast(row.bytes_, Text), path), 0)
