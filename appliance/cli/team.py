"""``sallyport team``: what the callers of a team are cleared for."""

import dataclasses
from typing import Annotated

import typer

from appliance import admin_flow
from appliance.cli.options import Json, host
from appliance.cli.output import show, table
from appliance.compose import core_files
from appliance.identity import teams
from appliance.policy.classes import parse_classes

app = typer.Typer(help="What a team is cleared for.", no_args_is_help=True)


@app.command("set")
def set_classes(
    team: Annotated[str, typer.Argument(help="The team; key create makes new ones.")],
    clearance: Annotated[
        str, typer.Option(help="The most restrictive data class it may send.")
    ],
    default_class: Annotated[
        str | None,
        typer.Option(
            help="What its requests without a label count as. Default: unchanged.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Set a team's clearance and the class of its unlabelled requests."""
    classes = parse_classes(core_files().classes)
    changed = admin_flow.set_team(
        host(),
        team,
        clearance=clearance,
        default_class=default_class,
        levels={row.name: row.level for row in classes.rows},
    )
    line = (
        f"team {changed.name} is cleared up to {changed.clearance}; "
        f"unlabelled requests count as {changed.default_class}"
    )
    show(dataclasses.asdict(changed), (line,), as_json=as_json)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List every team."""
    with host().look() as connection:
        found = teams.list_teams(connection)
    rows = tuple((team.name, team.clearance, team.default_class) for team in found)
    value = {"teams": [dataclasses.asdict(team) for team in found]}
    show(value, table(("TEAM", "CLEARANCE", "DEFAULT CLASS"), rows), as_json=as_json)
