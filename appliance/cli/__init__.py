"""``sallyport``: the command line of an isolated host.

One file per group of commands; a command is a function of the same name that
parses, calls one flow and prints what it returned.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli import (
    audit,
    bundle,
    database,
    environment,
    evidence,
    generation,
    key,
    model,
    receipt,
    serve,
    site,
    store,
    team,
    trust,
)
from appliance.cli.options import HOME_HELP, remember_home
from appliance.cli.output import INTERRUPTED_STATUS, PROGRAM, guarded, note
from appliance.containment.secrecy import forbid_inspection
from bundleformat.errors import UsageError

app = typer.Typer(
    name="sallyport",
    help=(
        "Language models across an air gap, with proof.\n\n"
        "On a new host, in this order: trust init, site install, bundle import, "
        "key create, serve."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
GROUPS = {
    "trust": trust.app,
    "site": site.app,
    "bundle": bundle.app,
    "model": model.app,
    "environment": environment.app,
    "generations": generation.app,
    "store": store.app,
    "receipts": receipt.app,
    "key": key.app,
    "team": team.app,
    "audit": audit.app,
    "evidence": evidence.app,
    "db": database.app,
}
"""The groups of commands, in the order in which a new host needs them."""

for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)
app.command()(serve.serve)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        typer.echo(f"sallyport {version('sallyport')}")
        raise typer.Exit


@app.callback()
def options(
    home: Annotated[
        Path | None, typer.Option(help=HOME_HELP, show_default=False)
    ] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before the command."""
    remember_home(home)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status, whatever happens in it."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return guarded(lambda: _run(given), as_json="--json" in given)


def program() -> int:
    """Run as a process of its own: what ``sallyport`` and ``-m appliance`` call."""
    return guarded(_protected, as_json=False) or main()


def _protected() -> int:
    # Commands hold keys in memory, and a trial load starts a model beside them.
    forbid_inspection()
    return 0


def _run(given: list[str]) -> int:
    try:
        status = app(args=given, prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message()
        if message.lstrip().startswith("Usage:"):
            # Called without a command: the message is the help text.
            note(message)
            return UsageError.exit_status
        raise UsageError(
            message.rstrip("."), hint=f"`{PROGRAM} COMMAND --help` lists the options."
        ) from error
    if status == INTERRUPTED_STATUS:
        raise KeyboardInterrupt
    return int(status or 0)
