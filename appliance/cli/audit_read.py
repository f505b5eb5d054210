"""``sallyport audit show``, ``search`` and ``stats``: reading, which is on record."""

import json
import re
from typing import Annotated, Any

import typer

from appliance import audit_read_flow
from appliance.audit_read_flow import Reading
from appliance.cli.options import Json, host
from appliance.cli.output import note, show, table
from appliance.ledger.log.search import Filter
from appliance.ledger.records.fields import REASON, SEQ
from bundleformat.errors import UsageError

MAX_RECORDS = 10_000
"""Most records that one search prints; an export has them all."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?Z)?", re.ASCII)
_EVENT = re.compile(r"[a-z]+\.([a-z_]+|\*)", re.ASCII)

Reason = Annotated[
    str, typer.Option(help="Why you read this, in your words; it is on record.")
]
EventName = Annotated[
    str | None,
    typer.Option(
        metavar="<name>", help="An event, or a subject as llm.*", show_default=False
    ),
]
Outcome = Annotated[
    str | None, typer.Option(metavar="<name>", help="How it ended.", show_default=False)
]
Team = Annotated[
    str | None, typer.Option(metavar="<name>", help="Its team.", show_default=False)
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="<time>",
        help="From 2026-11-22 or 2026-11-22T08:04Z on, UTC.",
        show_default=False,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="<time>", help="Before that moment.", show_default=False),
]


def show_one(
    seq: Annotated[str, typer.Argument(metavar="SEQ", help="The record's number.")],
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Show one record. That you read it, and why, is recorded first."""
    number = _seq(seq)
    reading, found = audit_read_flow.read_one(
        host(), number, reason=parse_reason(reason)
    )
    pretty = json.dumps(found.fields, indent=2, ensure_ascii=False).splitlines()
    value = {"record": found.fields, "leaf": found.leaf, "read_as": reading.seq}
    show(value, (*pretty, f"leaf {found.leaf}"), as_json=as_json)
    if "pruned" in found.fields:
        note(f"pruned, as record {found.fields['pruned']} says; this is all of it")
    _say(reading)


def search(  # noqa: PLR0913, PLR0917 - one argument for each option
    reason: Reason,
    event: EventName = None,
    outcome: Outcome = None,
    team: Team = None,
    request: Annotated[
        str | None,
        typer.Option(metavar="<id>", help="Its request.", show_default=False),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="<id>", help="Its API key's id.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="<name>", help="Its model.", show_default=False),
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(
            metavar="<code>", help="Why it was refused or failed.", show_default=False
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int,
        typer.Option(min=1, max=MAX_RECORDS, help="Most records printed, the newest."),
    ] = 100,
    as_json: Json = False,
) -> None:
    """Show the records that say all of this; the reading is recorded before."""
    wanted = Filter(
        event=_event(event),
        outcome=outcome,
        team=team,
        request=request,
        key=key,
        model=model,
        code=code,
        since=parse_when(since, "--since"),
        until=parse_when(until, "--until"),
    )
    reading, found = audit_read_flow.read_some(
        host(), wanted, limit=limit, reason=parse_reason(reason)
    )
    rows = tuple(
        (
            str(each.seq),
            str(each.fields["ts"])[:19] + "Z",
            str(each.fields["event"]),
            str(each.fields["outcome"]),
            str(each.fields.get("team", "")),
            str(each.fields.get("request_id", "")),
            _about(each.fields),
        )
        for each in found
    )
    value = {
        "records": [{"record": each.fields, "leaf": each.leaf} for each in found],
        "matches": reading.matches,
        "read_as": reading.seq,
    }
    headings = ("RECORD", "TIME", "EVENT", "OUTCOME", "TEAM", "REQUEST", "")
    show(value, table(headings, rows), as_json=as_json)
    _say(reading, printed=len(found))


def stats(
    event: EventName = None,
    outcome: Outcome = None,
    team: Team = None,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Count records by event, outcome and team. That you did is recorded first."""
    wanted = Filter(
        event=_event(event),
        outcome=outcome,
        team=team,
        since=parse_when(since, "--since"),
        until=parse_when(until, "--until"),
    )
    reading, counted = audit_read_flow.read_numbers(host(), wanted)
    names = ("event", "outcome", "team", "records")
    value = {
        "counts": [dict(zip(names, row, strict=True)) for row in counted],
        "matches": reading.matches,
        "read_as": reading.seq,
    }
    rows = tuple((e, o, t, str(number)) for e, o, t, number in counted)
    headings = ("EVENT", "OUTCOME", "TEAM", "RECORDS")
    show(value, table(headings, rows), as_json=as_json)
    _say(reading)


def _about(fields: dict[str, Any]) -> str:
    """Return why something was refused or failed, or that a record was pruned."""
    if "pruned" in fields:
        return "pruned"
    return str(fields.get("code") or fields.get("error_code") or "")


def _say(reading: Reading, *, printed: int | None = None) -> None:
    """Tell the reader that the reading is on record, and what was not shown."""
    if printed is not None and printed < reading.matches:
        note(f"the newest {printed} of {reading.matches}; --limit shows more")
    if reading.unread:
        note(f"{reading.unread} pruned records have no key, model or code to find")
    note(f"this reading is record {reading.seq}")


def _seq(text: str) -> int:
    try:
        SEQ(text, "SEQ")
    except ValueError as error:
        raise UsageError(
            "not a record's number", where="SEQ", actual=ascii(text[:32])
        ) from error
    return int(text)


def parse_reason(text: str, where: str = "--reason") -> str:
    """Return why somebody does something, if it is what records can carry.

    Raises:
        UsageError: It is not one line, or too long, or says nothing.
    """
    try:
        REASON(text, where)
    except ValueError as error:
        raise UsageError(
            "no reason that can be recorded",
            where=where,
            expected="one line of 1 to 200 characters",
        ) from error
    return text


def _event(text: str | None) -> str | None:
    if text is not None and not _EVENT.fullmatch(text):
        raise UsageError(
            "not the name of an event",
            where="--event",
            expected="subject.action, or subject.* for all of a subject",
            actual=ascii(text[:64]),
        )
    return text


def parse_when(text: str | None, where: str) -> str | None:
    """Return a moment as records have it, microseconds and all."""
    if text is None:
        return None
    if not _MOMENT.fullmatch(text):
        raise UsageError(
            "not a time",
            where=where,
            expected="2026-11-22, or 2026-11-22T08:04:29Z",
            actual=ascii(text[:32]),
        )
    full = "0000-00-00T00:00:00.000000"
    given = text.removesuffix("Z")
    return given + full[len(given) :] + "Z"
