"""``sallyport trust``: whom this host believes."""

from pathlib import Path
from typing import Annotated

import typer
from tuf.api.metadata import Root

from appliance.cli.options import Json, home, host, read_input
from appliance.cli.output import show, table
from appliance.clock import SystemClock, rfc3339
from appliance.commission_flow import initialise_trust
from appliance.intake import trust_state
from appliance.intake.trust_state import ChannelTrust
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.trust import (
    TrustFloor,
    check_root,
    fingerprint,
    grouped,
    parse_root,
)

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


@app.command()
def history(
    channel: Annotated[
        str | None,
        typer.Option(help="Which channel; all of them without it.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show every root this host has accepted, oldest first, and each floor.

    A floor never goes down: nothing older than it is accepted, whatever happens
    to the rest of the trust state.
    """
    opened = host()
    with opened.look() as connection:
        known = trust_state.channels(connection)
        chosen = (
            known
            if channel is None
            else (trust_state.choose_channel(connection, channel),)
        )
        trusted = [trust_state.load(connection, each) for each in chosen]
    roots = [row for each in trusted for row in _root_rows(each)]
    value = {
        "channels": [
            {
                "channel": each.channel,
                "roots": [row for row in roots if row["channel"] == each.channel],
                "floor": _floor_value(each.floor),
            }
            for each in trusted
        ]
    }
    rows = tuple(
        (
            str(row["channel"]),
            str(row["root_version"]),
            str(row["expires"])[:10],
            f"{row['threshold']} of {row['root_keys']}",
            str(row["fingerprint"]),
        )
        for row in roots
    )
    lines = (
        *table(("CHANNEL", "ROOT", "EXPIRES", "SIGNATURES", "FINGERPRINT"), rows),
        *(_floor_line(each) for each in trusted),
    )
    show(value, lines, as_json=as_json)


def _root_rows(channel: ChannelTrust) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for version, data in sorted(channel.state.roots().items()):
        root = parse_root(data, where=f"root {version}", limits=DEFAULT_LIMITS).signed
        role = root.roles[Root.type]
        rows.append(
            {
                "channel": channel.channel,
                "root_version": version,
                "expires": rfc3339(root.expires),
                "threshold": role.threshold,
                "root_keys": len(role.keyids),
                "fingerprint": fingerprint(data),
            }
        )
    return rows


def _floor_value(floor: TrustFloor | None) -> dict[str, object] | None:
    if floor is None:
        return None
    return {
        "root_version": floor.root_version,
        "bundle_version": floor.bundle_version,
        "time_floor": rfc3339(floor.time_floor),
    }


def _floor_line(channel: ChannelTrust) -> str:
    floor = channel.floor
    if floor is None:
        return f"{channel.channel}: no bundle accepted yet"
    return (
        f"{channel.channel}: nothing before root {floor.root_version}, bundle "
        f"{floor.bundle_version} or {floor.time_floor:%Y-%m-%d} is accepted again"
    )
