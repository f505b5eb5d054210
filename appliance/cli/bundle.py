"""``sallyport bundle``: what came on a medium."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from appliance import import_flow
from appliance.cli.options import Json, host
from appliance.cli.output import show, table
from appliance.cli.progress import watched
from appliance.compose import import_host
from appliance.import_host import Imported, ImportPlan
from bundleformat.manifest import Artifact
from bundleformat.report import bundle_value
from bundleformat.verify import VerifiedBundle

app = typer.Typer(help="What came on a medium.", no_args_is_help=True)

Medium = Annotated[Path, typer.Argument(help="The folder of the bundle on the medium.")]
Channel = Annotated[
    str | None,
    typer.Option(
        help="Which channel, if this host trusts several.", show_default=False
    ),
]


@app.command()
def inspect(medium: Medium, channel: Channel = None, as_json: Json = False) -> None:
    """Show who signed a bundle and what it delivers; reads only small files."""
    bundle = import_flow.inspect_bundle(import_host(host()), medium, channel=channel)
    show(bundle_value(bundle), (*_heading(bundle), *_contents(bundle)), as_json=as_json)


@app.command()
def verify(medium: Medium, channel: Channel = None, as_json: Json = False) -> None:
    """Verify every signature and every byte on the medium; changes nothing."""
    opened = import_host(host())
    with watched("verifying") as observer:
        bundle = import_flow.verify_bundle(
            opened, medium, channel=channel, observer=observer
        )
    lines = (*_heading(bundle), *_contents(bundle), "every byte agrees with its digest")
    show(bundle_value(bundle), lines, as_json=as_json)


@app.command("import")
def import_(
    medium: Medium,
    channel: Channel = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would happen and change nothing."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify, copy, examine and activate a bundle.

    Whatever interrupts it, run it again: it goes on, and nothing half-imported is
    ever served. A running server follows within seconds.
    """
    opened = import_host(host())
    if dry_run:
        plan = import_flow.preview_import(opened, medium, channel=channel)
        show(_plan_value(plan), _plan_lines(plan), as_json=as_json)
        return
    with watched("importing") as observer:
        done = import_flow.import_bundle(
            opened, medium, channel=channel, observer=observer
        )
    value = {
        **bundle_value(done.bundle),
        "generation": done.generation,
        "already_active": done.already_active,
        "repaired": list(done.repaired),
        "trust_updated": done.trust_updated,
        "withdrawn": _named(done.withdrawn),
    }
    show(value, _done_lines(done), as_json=as_json)


def _done_lines(done: Imported) -> tuple[str, ...]:
    manifest = done.bundle.manifest
    name = f"bundle {manifest.version} of channel {manifest.channel}"
    if not done.already_active:
        return (
            *_heading(done.bundle),
            *_contents(done.bundle),
            f"{name} is now active: generation {done.generation}",
            *_withdrawn_line("withdrawn:", done.withdrawn),
            "the ledger holds its receipt",
        )
    changes = []
    if done.repaired:
        changes.append(f"repaired in the store: {', '.join(done.repaired)}")
    if done.trust_updated:
        changes.append(f"root {done.bundle.root_version} is trusted from now on")
    if changes:
        return (f"{name} is active; {'; '.join(changes)}",)
    return (f"{name} is already active; nothing to do",)


def _heading(bundle: VerifiedBundle) -> tuple[str, ...]:
    manifest = bundle.manifest
    signers = ", ".join(key[:12] for key in bundle.signed_by)
    return (
        f"bundle       {manifest.version} of channel {manifest.channel}",
        f"made         {manifest.created:%Y-%m-%d}",
        f"valid until  {bundle.expires:%Y-%m-%d}",
        f"signed by    {signers} under root {bundle.root_version}",
    )


def _contents(bundle: VerifiedBundle) -> tuple[str, ...]:
    rows = tuple(
        (
            artifact.kind,
            artifact.name,
            f"{artifact.size_bytes:,}",
            artifact.model.licence if artifact.model else "",
            ",".join(artifact.model.allowed_regions) if artifact.model else "",
        )
        for artifact in bundle.manifest.artifacts
    )
    return table(("KIND", "NAME", "BYTES", "LICENCE", "REGIONS"), rows)


def _plan_value(plan: ImportPlan) -> dict[str, Any]:
    return {
        **bundle_value(plan.bundle),
        "already_active": plan.active_generation is not None,
        "damaged": list(plan.damaged),
        "updates_trust": plan.updates_trust,
        "withdrawn": _named(plan.withdrawn),
        "copy_bytes": plan.copy_bytes,
        "held_bytes": plan.held_bytes,
        "free_bytes": plan.free_bytes,
    }


def _plan_lines(plan: ImportPlan) -> tuple[str, ...]:
    if plan.damaged:
        verdict = (
            f"it is active; importing it would copy {plan.copy_bytes:,} bytes again "
            f"to repair: {', '.join(plan.damaged)}"
        )
    elif plan.updates_trust:
        verdict = "it is already active; importing it would only change the trust"
    elif plan.active_generation is not None:
        verdict = "it is already active; importing it would change nothing"
    else:
        verdict = (
            f"would copy {plan.copy_bytes:,} bytes ({plan.held_bytes:,} are here "
            f"already, {plan.free_bytes:,} are free) and activate it"
        )
    newer_root = f"would trust root {plan.bundle.root_version} from then on"
    return (
        *_heading(plan.bundle),
        *_contents(plan.bundle),
        verdict,
        *((newer_root,) if plan.updates_trust else ()),
        *_withdrawn_line("would withdraw:", plan.withdrawn),
    )


def _named(artifacts: Sequence[Artifact]) -> list[dict[str, str]]:
    return [{"kind": each.kind, "name": each.name} for each in artifacts]


def _withdrawn_line(verb: str, artifacts: Sequence[Artifact]) -> tuple[str, ...]:
    if not artifacts:
        return ()
    return (f"{verb} {', '.join(f'{each.kind} {each.name}' for each in artifacts)}",)
