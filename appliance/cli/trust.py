"""``sallyport trust``: whom this host believes."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.options import Json, home, host, read_input
from appliance.cli.output import show
from appliance.clock import SystemClock, rfc3339
from appliance.commission_flow import initialise_trust
from appliance.intake import trust_state
from bundleformat.trust import check_root, fingerprint, grouped

app = typer.Typer(help="Whom this host believes.", no_args_is_help=True)


@app.command()
def init(
    root: Annotated[Path, typer.Option(help="The root file, such as 1.root.json.")],
    fingerprint: Annotated[
        str,
        typer.Option(
            help="Its fingerprint as you received it on paper or by voice, never "
            "from the medium. Spaces and capitals do not matter."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Make this host ready: trust a root, create the ledger and its key.

    Note the ledger's verifier key that this prints: it is what an auditor checks
    every later export with, and it must reach the auditor by another road.
    """
    made = initialise_trust(
        home(), read_input(root), fingerprint=fingerprint, clock=SystemClock()
    )
    value = {
        "channel": made.root.channel,
        "root_version": made.root.version,
        "root_expires": rfc3339(made.root.expires),
        "fingerprint": made.fingerprint,
        "ledger_vkey": made.vkey,
    }
    lines = (
        f"channel      {made.root.channel}",
        f"root         version {made.root.version}, until {made.root.expires:%Y-%m-%d}",
        f"fingerprint  {grouped(made.fingerprint)}",
        f"ledger key   {made.vkey}",
    )
    show(value, lines, as_json=as_json)


@app.command("show")
def show_trust(as_json: Json = False) -> None:
    """Show each channel's root, its fingerprint, and the newest accepted bundle."""
    opened = host()
    now = opened.clock.now()
    with opened.look() as connection:
        trusted = [
            trust_state.load(connection, channel)
            for channel in trust_state.channels(connection)
        ]
    rows = []
    lines: list[str] = []
    for channel in trusted:
        newest = channel.state.newest_root()
        root = check_root(newest, now=now)
        accepted = 0 if channel.floor is None else channel.floor.bundle_version
        rows.append(
            {
                "channel": channel.channel,
                "root_version": root.version,
                "root_expires": rfc3339(root.expires),
                "fingerprint": fingerprint(newest),
                "newest_bundle": accepted,
            }
        )
        lines += [
            f"channel      {channel.channel}",
            f"root         version {root.version}, until {root.expires:%Y-%m-%d}",
            f"fingerprint  {grouped(fingerprint(newest))}",
            f"accepted     {f'bundle {accepted}' if accepted else 'no bundle yet'}",
        ]
    show({"channels": rows}, tuple(lines), as_json=as_json)
