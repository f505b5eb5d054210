"""``sallyport generations``: what is active, what was, and going back to it."""

from typing import Annotated, Any

import typer

from appliance import generation_flow
from appliance.cli.confirm import Yes, check_confirmed
from appliance.cli.options import Json, host
from appliance.cli.output import show, table
from appliance.cli.progress import watched
from appliance.compose import import_host
from appliance.generation_flow import Change, Listed
from appliance.host import OpenHost
from appliance.registry.catalogue import Generation, Reason, models_of
from bundleformat.manifest import Artifact

app = typer.Typer(
    help=(
        "What is active, what was, and going back to it. A generation is one "
        "imported bundle; going back never changes whom this host trusts."
    ),
    no_args_is_help=True,
)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List every imported generation, and whether its files are still here.

    A generation whose files are gone cannot be activated.
    """
    listed = generation_flow.list_generations(import_host(host()))
    rows = tuple(
        (
            str(each.generation.id),
            each.generation.channel,
            str(each.generation.version),
            "active" if each.generation.active else "",
            each.generation.activated_ts[:19] + "Z",
            _files(each),
            ", ".join(model.name for model in models_of(each.generation)),
        )
        for each in listed
    )
    headings = ("ID", "CHANNEL", "VERSION", "", "ACTIVATED", "FILES", "MODELS")
    value = {"generations": [_listed_value(each) for each in listed]}
    show(value, table(headings, rows), as_json=as_json)


@app.command()
def activate(
    identity: Annotated[
        int, typer.Argument(metavar="ID", help="As `generations list` shows it.")
    ],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make a kept generation the active one of its channel.

    Its files are read again and its policies checked first. Whom this host trusts
    and the newest version it has accepted stay what they are. A running server
    follows within seconds.
    """
    opened = host()
    change = generation_flow.find_change(import_host(opened), identity)
    _apply(opened, change, reason=Reason.ACTIVATE, yes=yes, as_json=as_json)


@app.command()
def rollback(
    channel: Annotated[
        str | None,
        typer.Option(help="Which channel, if several are active.", show_default=False),
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Activate the generation that was active immediately before.

    Rolling back twice returns to where you were; to go further back, name the
    generation with `generations activate`. Everything else is as with that.
    """
    opened = host()
    change = generation_flow.find_rollback(import_host(opened), channel=channel)
    _apply(opened, change, reason=Reason.ROLLBACK, yes=yes, as_json=as_json)


def _apply(
    opened: OpenHost, change: Change, *, reason: Reason, yes: bool, as_json: bool
) -> None:
    if change.changes:
        question = f"{_step(change)}{_loss(change.withdrawn)}. Go on?"
        check_confirmed(question, yes=yes)
    with watched("reading its files", as_json=as_json) as observer:
        done = generation_flow.activate(
            import_host(opened),
            change.after.id,
            reason=reason,
            environments=opened.home.root / "environments",
            progress=observer.on_progress,
        )
    after = done.after
    name = f"bundle {after.version} of channel {after.channel}"
    line = (
        f"{name} is now active: generation {after.id}{_loss(done.withdrawn)}"
        if done.changes
        else f"{name} is already active; nothing to do"
    )
    show(_change_value(done), (line,), as_json=as_json)


def _step(change: Change) -> str:
    before = "" if change.before is None else f" from version {change.before.version}"
    return f"channel {change.after.channel} goes{before} to {change.after.version}"


def _loss(withdrawn: tuple[Artifact, ...]) -> str:
    if not withdrawn:
        return ""
    return f"; withdrawn: {', '.join(f'{a.kind} {a.name}' for a in withdrawn)}"


def _files(each: Listed) -> str:
    if each.missing_files:
        return f"{each.missing_files} gone"
    return "removable" if each.generation.collected_ts else "here"


def _listed_value(each: Listed) -> dict[str, Any]:
    generation = each.generation
    return {
        **_generation_value(generation),
        "active": generation.active,
        "activated": generation.activated_ts,
        "manifest_sha256": generation.manifest_sha256,
        "collected": generation.collected_ts,
        "missing_files": each.missing_files,
        "models": [model.name for model in models_of(generation)],
    }


def _generation_value(generation: Generation) -> dict[str, Any]:
    return {
        "generation": generation.id,
        "channel": generation.channel,
        "version": generation.version,
    }


def _change_value(change: Change) -> dict[str, Any]:
    before = None if change.before is None else _generation_value(change.before)
    return {
        **_generation_value(change.after),
        "previous": before,
        "already_active": not change.changes,
        "withdrawn": [{"kind": a.kind, "name": a.name} for a in change.withdrawn],
    }
