"""What ``sallyport bundle`` says of a bundle, for reading and for machines."""

from collections.abc import Sequence
from typing import Any

from appliance.cli.output import table
from appliance.import_steps.host import Imported, ImportPlan, Verified
from appliance.intake.preflight import Fit
from bundleformat.manifest import Artifact
from bundleformat.report import bundle_value
from bundleformat.verify import VerifiedBundle


def heading(bundle: VerifiedBundle) -> tuple[str, ...]:
    """Return who made a bundle, when, and until when it may be imported."""
    manifest = bundle.manifest
    signers = ", ".join(key[:12] for key in bundle.signed_by)
    expired = " (expired)" if bundle.expired else ""
    return (
        f"bundle       {manifest.version} of channel {manifest.channel}",
        f"made         {manifest.created:%Y-%m-%d}",
        f"valid until  {bundle.expires:%Y-%m-%d}{expired}",
        f"signed by    {signers} under root {bundle.root_version}",
    )


def contents(bundle: VerifiedBundle) -> tuple[str, ...]:
    """Return what a bundle delivers, as a table."""
    if bundle.manifest.purpose == "trust":
        return ("it delivers nothing; it says whom to trust",)
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


def coverage_line(found: Verified) -> str:
    """Return what was verified, and what was not there."""
    if found.whole:
        return "every byte agrees with its digest"
    places = []
    if found.volumes_wanted:
        places.append(f"are on volume {', '.join(map(str, found.volumes_wanted))}")
    if found.since is not None:
        places.append(f"came with bundle {found.since}")
    return (
        f"every byte here agrees with its digest: {found.chunks} of "
        f"{found.chunks_of} chunks, {found.size_bytes:,} of {found.size_bytes_of:,} "
        f"bytes; the others {' or '.join(places)}"
    )


def verified_value(found: Verified) -> dict[str, Any]:
    """Return what ``--json`` shows of a verified medium."""
    return {
        **bundle_value(found.bundle),
        "verified": {
            "whole": found.whole,
            "chunks": found.chunks,
            "chunks_of": found.chunks_of,
            "bytes": found.size_bytes,
            "bytes_of": found.size_bytes_of,
            "volumes_wanted": list(found.volumes_wanted),
            "since": found.since,
        },
    }


def done_value(done: Imported) -> dict[str, Any]:
    """Return what ``--json`` shows of an import."""
    return {
        **bundle_value(done.bundle),
        "generation": done.generation,
        "already_active": done.already_active,
        "repaired": list(done.repaired),
        "trust_updated": done.trust_updated,
        "withdrawn": _named(done.withdrawn),
        "not_allowed_here": list(done.not_allowed_here),
        "environments": list(done.environments),
        "expiry_accepted": done.bundle.expired,
    }


def done_lines(done: Imported) -> tuple[str, ...]:
    """Return what an import did."""
    manifest = done.bundle.manifest
    name = f"bundle {manifest.version} of channel {manifest.channel}"
    if done.generation is not None and not done.already_active:
        return (
            *heading(done.bundle),
            *contents(done.bundle),
            f"{name} is now active: generation {done.generation}",
            *(
                f"environment {each} is installed: sallyport environment path {each}"
                for each in done.environments
            ),
            *_withdrawn_line("withdrawn:", done.withdrawn),
            *_not_allowed_line(done.not_allowed_here),
            "the ledger holds its receipt",
        )
    changes = []
    if done.repaired:
        changes.append(f"repaired in the store: {', '.join(done.repaired)}")
    if done.trust_updated:
        changes.append(f"root {done.bundle.root_version} is trusted from now on")
    if done.generation is None:
        told = "; ".join(changes) or "this host knew it already"
        return (f"{name} delivers nothing; {told}",)
    if changes:
        return (f"{name} is active; {'; '.join(changes)}",)
    return (f"{name} is already active; nothing to do",)


def plan_value(plan: ImportPlan) -> dict[str, Any]:
    """Return what ``--json`` shows of a planned import."""
    return {
        **bundle_value(plan.bundle),
        "already_active": plan.active_generation is not None,
        "damaged": list(plan.damaged),
        "updates_trust": plan.updates_trust,
        "withdrawn": _named(plan.withdrawn),
        "copy_bytes": plan.copy_bytes,
        "reused_bytes": plan.reused_bytes,
        "held_bytes": plan.held_bytes,
        "unpacked_bytes": plan.unpacked_bytes,
        "needed_bytes": plan.needed_bytes,
        "needed_inodes": plan.needed_inodes,
        "free_bytes": plan.free_bytes,
        "free_inodes": plan.free_inodes,
        "store_bytes": plan.store_bytes,
        "volumes": plan.volumes,
        "volumes_wanted": list(plan.volumes_wanted),
        "environments": [_fit_value(fit) for fit in plan.fits],
        "not_allowed_here": list(plan.not_allowed_here),
        "expired": plan.bundle.expired,
        "host": {
            "cpu": f"x86-64-v{plan.facts.cpu_level}",
            "glibc": ".".join(map(str, plan.facts.glibc)),
            "python": ".".join(map(str, plan.facts.python)),
            "sallyport": ".".join(map(str, plan.facts.program)),
        },
    }


def plan_lines(plan: ImportPlan) -> tuple[str, ...]:
    """Return what an import would do."""
    newer_root = f"would trust root {plan.bundle.root_version} from then on"
    return (
        *heading(plan.bundle),
        *contents(plan.bundle),
        *(_fit_line(fit) for fit in plan.fits),
        _verdict(plan),
        *_room_lines(plan),
        *_not_allowed_line(plan.not_allowed_here),
        *((newer_root,) if plan.updates_trust else ()),
        *_withdrawn_line("would withdraw:", plan.withdrawn),
    )


def _verdict(plan: ImportPlan) -> str:
    if plan.bundle.manifest.purpose == "trust":
        return "it delivers nothing; importing it would only change the trust"
    if plan.damaged:
        return (
            f"it is active; importing it would copy {plan.copy_bytes:,} bytes again "
            f"to repair: {', '.join(plan.damaged)}"
        )
    if plan.active_generation is None:
        return (
            f"would copy {plan.copy_bytes:,} bytes ({plan.held_bytes:,} are here "
            f"already, {plan.free_bytes:,} are free) and activate it"
        )
    if plan.updates_trust:
        return "it is already active; importing it would only change the trust"
    return "it is already active; importing it would change nothing"


def _room_lines(plan: ImportPlan) -> tuple[str, ...]:
    lines = []
    if plan.copy_bytes or plan.unpacked_bytes:
        files = "" if plan.free_inodes is None else f" of {plan.free_inodes:,} free"
        lines.append(
            f"needs room for {plan.needed_bytes:,} bytes and {plan.needed_inodes:,} "
            f"files{files}; the store holds {plan.store_bytes:,} bytes"
        )
    if plan.unpacked_bytes:
        lines.append(f"of these, {plan.unpacked_bytes:,} bytes for environments")
    if plan.reused_bytes:
        lines.append(f"would take {plan.reused_bytes:,} bytes from the store itself")
    if plan.volumes_wanted:
        wanted = ", ".join(map(str, plan.volumes_wanted))
        lines.append(f"also wanted: volume {wanted} of {plan.volumes}")
    return tuple(lines)


def _fit_line(fit: Fit) -> str:
    if not fit.misfits:
        return f"environment {fit.name} ({fit.role}) fits this host"
    told = ", ".join(f"needs {need}, here {fact}" for need, fact in fit.misfits)
    return f"environment {fit.name} ({fit.role}) does not fit this host: {told}"


def _fit_value(fit: Fit) -> dict[str, Any]:
    return {
        "name": fit.name,
        "role": fit.role,
        "fits": not fit.misfits,
        "misfits": [{"needs": need, "here": fact} for need, fact in fit.misfits],
    }


def _not_allowed_line(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    told = ", ".join(names)
    return (f"not allowed in the region of this host, so not served: {told}",)


def _named(artifacts: Sequence[Artifact]) -> list[dict[str, str]]:
    return [{"kind": each.kind, "name": each.name} for each in artifacts]


def _withdrawn_line(verb: str, artifacts: Sequence[Artifact]) -> tuple[str, ...]:
    if not artifacts:
        return ()
    return (f"{verb} {', '.join(f'{each.kind} {each.name}' for each in artifacts)}",)
