"""``sallyport key``: who may call the API."""

import dataclasses
from typing import Annotated

import typer

from appliance import admin_flow
from appliance.cli.options import Json, host
from appliance.cli.output import note, show, table
from appliance.clock import rfc3339
from appliance.identity.keys import list_keys
from appliance.identity.lifetime import parse_duration

app = typer.Typer(help="Who may call the API.", no_args_is_help=True)


@app.command()
def create(
    team: Annotated[
        str, typer.Option(help="The team it belongs to; new ones are made.")
    ],
    name: Annotated[str, typer.Option(help="What it is for, for your own lists.")] = "",
    expires: Annotated[
        str, typer.Option(help="How long it lives: 90d, 12h; at most 365d.")
    ] = "90d",
    as_json: Json = False,
) -> None:
    """Create an API key and print it, this once.

    The host keeps only a keyed digest of it: a lost key is replaced, not found.
    """
    key, new_team = admin_flow.create_key(
        host(), team=team, name=name, lifetime=parse_duration(expires)
    )
    if new_team:
        note(f"new team {key.team}, cleared for internal data; see: sallyport team set")
    value = {
        "key": key.secret_text,
        "key_id": key.key_id,
        "team": key.team,
        "expires": rfc3339(key.expires),
    }
    note(f"key {key.key_id} of team {key.team}, until {key.expires:%Y-%m-%d}")
    show(value, (key.secret_text,), as_json=as_json)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List every key; a key's secret part is not stored and cannot be shown."""
    with host().look() as connection:
        entries = list_keys(connection)
    rows = tuple(
        (
            entry.key_id,
            entry.team,
            entry.name,
            entry.expires[:10],
            f"revoked {entry.revoked[:10]}" if entry.revoked else "",
        )
        for entry in entries
    )
    value = {"keys": [dataclasses.asdict(entry) for entry in entries]}
    headings = ("KEY", "TEAM", "NAME", "EXPIRES", "STATE")
    show(value, table(headings, rows), as_json=as_json)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as key list shows it.")],
    as_json: Json = False,
) -> None:
    """Revoke a key; its next request is refused."""
    entry = admin_flow.revoke_key(host(), key_id)
    line = f"key {entry.key_id} of team {entry.team} is revoked"
    show(dataclasses.asdict(entry), (line,), as_json=as_json)
