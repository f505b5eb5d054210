"""The command line of the connected machine: ``sallyport-bundler``.

One file per group of commands; this one puts them together, reads
the clock once, and turns whatever happens into an exit status.
"""

import datetime as dt
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Final

import typer

from bundleformat.errors import Error, UsageError
from bundler.cli import (
    approve,
    build,
    inspect,
    keys,
    media,
    plan,
    release,
    root_change,
    sbom,
    sheet,
    sign,
    trust,
)
from bundler.cli.output import PROGRAM, note, report
from bundler.cli.runtime import Runtime, terminal_question
from bundler.signing.passphrase import terminal_prompt

INTERRUPTED_STATUS: Final = 130
"""Exit status after Ctrl-C, as shells have it."""

app: Final = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turn models and policies into signed bundles for isolated hosts.\n\n"
    "In this order: `keygen` four times (root, release, bundler, compliance), "
    "`root init`, `site issue`, then `build` for every bundle. Private keys and "
    "this program stay on the connected machine; the bundle, the root file and "
    "the site certificate travel.",
)
app.command()(keys.keygen)
app.add_typer(root_change.root_app, name="root")
keys.site_app.command("release")(release.site_release)
keys.site_app.command("approve")(approve.site_approve)
app.add_typer(keys.site_app, name="site")
app.command(help=build.BUILD_HELP)(build.build)
app.command()(plan.plan)
app.command()(plan.diff)
app.command()(sign.sign)
app.command()(sign.attach)
app.command()(trust.trust_bundle)
app.command()(inspect.inspect)
app.command()(inspect.verify)
app.command()(sbom.sbom)
app.command()(sheet.sheet)
app.command()(media.split)
app.command()(media.join)
app.command()(media.image)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        typer.echo(f"{PROGRAM} {version('sallyport')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before the command."""


def main(
    arguments: Sequence[str] | None = None, *, runtime: Runtime | None = None
) -> int:
    """Run one command and return its exit status, whatever happens in it.

    The one place of this process where every exception ends: what is not in the
    error tree is a bug and is shown as one.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        return _run(given, runtime or _runtime())
    except Error as error:
        return report(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        return 0
    except Exception:  # noqa: BLE001 - the top of the process: report a bug
        traceback.print_exc()
        note(f"{PROGRAM}: bug: please report the lines above")
        return 1


def _run(given: Sequence[str], runtime: Runtime) -> int:
    try:
        status = app(args=given, prog_name=PROGRAM, standalone_mode=False, obj=runtime)
    except typer.TyperException as error:
        message = error.format_message()
        if not given or given[-1:] in (["root"], ["site"]):
            # Called without a command: the message is the help text.
            note(message)
            return UsageError.exit_status
        raise UsageError(
            message.rstrip("."), hint=f"`{PROGRAM} COMMAND --help` lists the options."
        ) from error
    if status == INTERRUPTED_STATUS:
        return _interrupted()
    return int(status or 0)


def _interrupted() -> int:
    note(f"{PROGRAM}: interrupted; nothing was left behind")
    return INTERRUPTED_STATUS


def _runtime() -> Runtime:
    return Runtime(
        now=dt.datetime.now(dt.UTC), ask=terminal_prompt(), answer=terminal_question()
    )
