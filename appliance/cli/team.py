"""``sallyport team``: what a team is cleared for, and what it may take of a host."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from appliance import admin_flow
from appliance.admin_flow import TeamEntry
from appliance.bodies.capture import LEVELS
from appliance.cli.options import Json, host
from appliance.cli.output import show, table
from appliance.core_policies import core_files
from appliance.identity.terms import DEFAULT, NAMES, PRIORITIES
from appliance.policy.classes import parse_classes
from appliance.quota.allowance import allowance
from appliance.settings import LimitSettings
from bundleformat.errors import UsageError

app = typer.Typer(help="What a team is cleared for and may take.", no_args_is_help=True)


def _term(words: str) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(
        help=f"{words}, or {DEFAULT}: the host's setting.", show_default=False
    )
    return info


@app.command("set")
def set_team(  # noqa: PLR0913 - an option each
    *,
    team: Annotated[str, typer.Argument(help="The team; key create makes new ones.")],
    clearance: Annotated[
        str | None,
        typer.Option(
            help="The most restrictive data class it may send.", show_default=False
        ),
    ] = None,
    default_class: Annotated[
        str | None,
        typer.Option(
            help="What its requests without a label count as.", show_default=False
        ),
    ] = None,
    capture: Annotated[
        str | None,
        typer.Option(
            help=f"What is captured of prompts and answers: {', '.join(LEVELS)}.",
            show_default=False,
        ),
    ] = None,
    running: Annotated[str | None, _term("Requests that run at once")] = None,
    queued: Annotated[str | None, _term("Requests that wait beside them")] = None,
    requests_per_minute: Annotated[
        str | None, _term("Requests begun in a minute")
    ] = None,
    tokens_per_minute: Annotated[
        str | None, _term("Tokens of prompts and answers in a minute")
    ] = None,
    tokens_per_day: Annotated[
        str | None, _term("Tokens in a day, from midnight UTC on")
    ] = None,
    weight: Annotated[
        str | None, _term("Its share of an engine beside other teams', 1 to 100")
    ] = None,
    priority: Annotated[
        str | None, _term(f"How urgent it may be at most: {', '.join(PRIORITIES)}")
    ] = None,
    as_json: Json = False,
) -> None:
    """Set what is named of a team; everything else stays as it is."""
    asked = {
        "running": running,
        "queued": queued,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "tokens_per_day": tokens_per_day,
        "weight": weight,
        "priority": priority,
    }
    changes = {name: text for name, text in asked.items() if text is not None}
    if not changes and (clearance, default_class, capture) == (None, None, None):
        raise UsageError(
            "nothing to set", hint="See the options with: sallyport team set --help"
        )
    classes = parse_classes(core_files().classes)
    changed = admin_flow.set_team(
        host(),
        team,
        levels={row.name: row.level for row in classes.rows},
        clearance=clearance,
        default_class=default_class,
        capture=capture,
        changes=changes,
    )
    limits = host().settings.limits
    show(_value(changed, limits), _lines(changed, limits), as_json=as_json)


@app.command("show")
def show_team(
    team: Annotated[str, typer.Argument(help="The team.")], as_json: Json = False
) -> None:
    """Show one team: its clearance, its limits and where they come from."""
    entry = admin_flow.get_team(host(), team)
    limits = host().settings.limits
    show(_value(entry, limits), _lines(entry, limits), as_json=as_json)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List every team; a dash is the host's default."""
    found = admin_flow.list_teams(host())
    limits = host().settings.limits
    rows = tuple(
        (
            entry.team.name,
            entry.team.clearance,
            entry.team.default_class,
            entry.team.capture,
            *(_own(entry, name) for name in NAMES),
        )
        for entry in found
    )
    headings = (
        "TEAM",
        "CLEARANCE",
        "DEFAULT CLASS",
        "CAPTURE",
        "RUNNING",
        "QUEUED",
        "REQUESTS/MIN",
        "TOKENS/MIN",
        "TOKENS/DAY",
        "WEIGHT",
        "PRIORITY",
    )
    value = {"teams": [_value(entry, limits) for entry in found]}
    show(value, table(headings, rows), as_json=as_json)


def _value(entry: TeamEntry, limits: LimitSettings) -> dict[str, Any]:
    """Return a team with what holds for it, and which of it is its own."""
    own = {name: v for name, v in asdict(entry.terms).items() if v is not None}
    return {
        **asdict(entry.team),
        **asdict(allowance(limits, own)),
        "own": sorted(own),
    }


def _lines(entry: TeamEntry, limits: LimitSettings) -> tuple[str, ...]:
    holds = asdict(allowance(limits, asdict(entry.terms)))
    return (
        (
            f"team {entry.team.name} is cleared up to {entry.team.clearance}; "
            f"unlabelled requests count as {entry.team.default_class}"
        ),
        f"captured of its prompts and answers: {entry.team.capture}",
        *table(
            ("LIMIT", "VALUE", "FROM"),
            tuple(
                (
                    name.replace("_", " "),
                    _shown(value),
                    "the team"
                    if getattr(entry.terms, name) is not None
                    else "the host",
                )
                for name, value in holds.items()
            ),
        ),
    )


def _own(entry: TeamEntry, name: str) -> str:
    value = getattr(entry.terms, name)
    return "-" if value is None else _shown(value)


def _shown(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value
