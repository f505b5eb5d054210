"""``sallyport``: the command line of an isolated host.

One file per group of commands; a command is a function of the same name that
parses, calls one flow and prints what it returned.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

import typer

from appliance.cli import serve
from appliance.cli.options import HOME_HELP, remember_home
from appliance.cli.output import INTERRUPTED_STATUS, PROGRAM, guarded, note
from appliance.containment.secrecy import forbid_inspection
from bundleformat.errors import UsageError

GROUPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "trust": "trust",
        "site": "site",
        "bundle": "bundle",
        "model": "model",
        "environment": "environment",
        "generations": "generation",
        "store": "store",
        "receipts": "receipt",
        "key": "key",
        "team": "team",
        "audit": "audit",
        "evidence": "evidence",
        "db": "database",
    }
)
"""The groups of commands and their modules, in the order that a new host needs."""


def make_app(groups: Collection[str] = tuple(GROUPS)) -> typer.Typer:
    """Return the command line with ``groups`` of its commands, and ``serve``."""
    app = typer.Typer(
        name=PROGRAM,
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
    app.callback()(options)
    for name in groups:
        module = import_module(f"{__name__}.{GROUPS[name]}")
        app.add_typer(module.app, name=name)
    app.command()(serve.serve)
    return app


def groups_for(given: Collection[str]) -> Collection[str]:
    """Return the groups that a command can be of; all, if it is of none.

    No command pays for another's modules: an import has a hundred megabytes, and
    every command starts the sooner.
    """
    named = [name for name in GROUPS if name in given]
    return named if named or "serve" in given else tuple(GROUPS)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        typer.echo(f"sallyport {version('sallyport')}")
        raise typer.Exit


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
        app = make_app(groups_for(given))
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
