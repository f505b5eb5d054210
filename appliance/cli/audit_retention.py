"""``sallyport audit retention``: what goes when its time is over, and letting it go."""

from typing import Annotated, Any

import typer

from appliance.cli.confirm import Yes, check_confirmed
from appliance.cli.options import Json, host
from appliance.cli.output import note, show
from appliance.clock import rfc3339
from appliance.retention_flow import (
    Part,
    Plan,
    plan_retention,
    run_alone,
    run_retention,
)

app = typer.Typer(
    help="How long records are kept, as the site certificate says.",
    no_args_is_help=True,
)


@app.command()
def plan(as_json: Json = False) -> None:
    """Show how long things are kept and why, and what would go now; change nothing."""
    found = plan_retention(host())
    show(_value(found), _lines(found), as_json=as_json)


@app.command()
def run(
    yes: Yes = False,
    compacting: Annotated[
        bool,
        typer.Option(
            "--compact",
            help="Make the database's file smaller besides; no server may run.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Let go of what is due; each batch is on record before it goes.

    Kept prompts and answers are destroyed with their keys. Of a record that goes its
    number, time, event, outcome, team, request and hash stay, so that every proof and
    checkpoint is as good as before. Records that are not of calls never go.
    """
    opened = host()
    found = plan_retention(opened)
    due = [
        f"{part.due.records} {name} of calls that ended before {rfc3339(part.before)}"
        for name, part in (("records", found.records), ("texts", found.bodies))
        if part.before is not None and part.due.records
    ]
    if due:
        check_confirmed(
            f"By this host's clock it is {rfc3339(found.now)}. This lets go of "
            f"{' and '.join(due)}. They cannot be brought back. Go on?",
            yes=yes,
        )
    given_back = 0
    if compacting:
        done, given_back = run_alone(opened)
    else:
        done = run_retention(opened)
    value: dict[str, Any] = {
        "records": done.records,
        "bodies": done.bodies,
        "batches": done.batches,
    }
    if compacting:
        value["given_back_bytes"] = given_back
    lines = [f"pruned {done.records} records and {done.bodies} texts, on record"]
    if not done.batches:
        lines = ["nothing is due"]
    if compacting:
        lines.append(f"gave {given_back:,} bytes back to the disk")
    show(value, tuple(lines), as_json=as_json)
    if done.records and not compacting:
        note("their room stays in the file; --compact gives it back to the disk")


def _value(found: Plan) -> dict[str, Any]:
    return {
        "now": rfc3339(found.now),
        "presets": list(found.presets),
        "problem": found.problem,
        "oldest_call_ts": found.oldest,
        "records": _part_value(found.records),
        "bodies": _part_value(found.bodies),
    }


def _part_value(part: Part) -> dict[str, Any]:
    return {
        "days": part.period.days,
        "because": list(part.period.because),
        "conflicts": list(part.period.conflicts),
        "before": None if part.before is None else rfc3339(part.before),
        "due": part.due.records,
        "first": part.due.first,
        "last": part.due.last,
        "held": {str(number): held for number, held in part.due.held.items()},
    }


def _lines(found: Plan) -> tuple[str, ...]:
    return (
        f"presets        {', '.join(found.presets) or 'none'}",
        *((f"refused        {found.problem}",) if found.problem else ()),
        f"now            {rfc3339(found.now)}",
        f"oldest call    {found.oldest or 'none with its record'}",
        *_part_lines("records", found.records),
        *_part_lines("texts", found.bodies),
    )


def _part_lines(name: str, part: Part) -> tuple[str, ...]:
    kept = "for ever" if part.period.days is None else f"{part.period.days} days"
    lines = [f"{name:<15}kept {kept}"]
    lines += [f"{'':<15}{each}" for each in part.period.because]
    lines += [f"{'conflict':<15}{each}" for each in part.period.conflicts]
    if part.before is not None:
        due = part.due
        places = f", from record {due.first} to {due.last}" if due.records else ""
        lines.append(
            f"{'due':<15}{due.records} of before {rfc3339(part.before)}{places}"
        )
        lines += [
            f"{'held':<15}{held} more by hold {number}"
            for number, held in due.held.items()
            if held
        ]
    return tuple(lines)
