"""``sallyport bundle``: what came on media."""

from pathlib import Path
from typing import Annotated

import typer

from appliance import import_flow, import_looks
from appliance.cli.bundle_lines import (
    contents,
    coverage_line,
    done_lines,
    done_value,
    heading,
    plan_lines,
    plan_value,
    verified_value,
)
from appliance.cli.options import Json, host
from appliance.cli.output import show
from appliance.cli.progress import watched
from appliance.compose import import_host
from appliance.import_steps.host import Asked
from appliance.ledger.records.fields import REASON
from bundleformat.errors import UsageError
from bundleformat.report import bundle_value

app = typer.Typer(help="What came on media.", no_args_is_help=True)

Media = Annotated[
    list[Path],
    typer.Argument(
        help="Where the bundle is: a folder, an .mbundle file or an ISO image; "
        "several for several volumes.",
        metavar="MEDIUM",
    ),
]
Channel = Annotated[
    str | None,
    typer.Option(
        help="Which channel, if this host trusts several.", show_default=False
    ),
]


@app.command()
def inspect(media: Media, channel: Channel = None, as_json: Json = False) -> None:
    """Show who signed a bundle and what it delivers; reads only small files."""
    bundle = import_looks.inspect_bundle(import_host(host()), media, channel=channel)
    show(bundle_value(bundle), (*heading(bundle), *contents(bundle)), as_json=as_json)


@app.command()
def verify(media: Media, channel: Channel = None, as_json: Json = False) -> None:
    """Verify every signature and every byte on the media; changes nothing.

    One volume of several can be verified alone: what it covers is said.
    """
    opened = import_host(host())
    with watched("verifying", as_json=as_json) as observer:
        found = import_looks.verify_bundle(
            opened, media, channel=channel, observer=observer
        )
    lines = (*heading(found.bundle), *contents(found.bundle), coverage_line(found))
    show(verified_value(found), lines, as_json=as_json)


@app.command("import")
def import_(
    media: Media,
    channel: Channel = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would happen and change nothing."),
    ] = False,
    accept_expired: Annotated[
        bool,
        typer.Option(
            "--accept-expired",
            help="Take this bundle although it has expired; needs --reason.",
        ),
    ] = False,
    reason: Annotated[
        str | None,
        typer.Option(
            help="Who decided that, and why, on one line; goes on record.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify, copy, examine and activate a bundle.

    Whatever interrupts it, run it again: it goes on, and nothing half-imported is
    ever served. A running server follows within seconds. With one drive, import
    one volume after the other, in any order; exit status 5 asks for the next.
    """
    asked = Asked(
        media=tuple(media),
        channel=channel,
        accept_expired=_reason(reason, wanted=accept_expired),
    )
    opened = import_host(host())
    if dry_run:
        plan = import_looks.preview_import(opened, asked)
        show(plan_value(plan), plan_lines(plan), as_json=as_json)
        return
    with watched("importing", as_json=as_json) as observer:
        done = import_flow.import_bundle(opened, asked, observer=observer)
    show(done_value(done), done_lines(done), as_json=as_json)


def _reason(reason: str | None, *, wanted: bool) -> str | None:
    """Return the reason for which an expired bundle is accepted, or None.

    Raises:
        UsageError: One of the two options was given without the other.
    """
    if wanted != (reason is not None):
        raise UsageError(
            "--accept-expired and --reason belong together",
            hint="Say who decided to take an expired bundle, and why.",
        )
    if reason is None:
        return None
    try:
        REASON(reason, "--reason")
    except ValueError as error:
        raise UsageError(str(error)) from error
    return reason
