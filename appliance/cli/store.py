"""``sallyport store``: the files of every generation, checked, repaired, collected."""

from pathlib import Path
from typing import Annotated, Any

import typer

from appliance import repair_flow, store_flow
from appliance.cli.options import Json, host
from appliance.cli.output import show, table
from appliance.cli.progress import watched
from appliance.compose import import_host
from appliance.registry.collect import Surplus
from appliance.registry.fsck import Finding, StoreReport
from appliance.repair_flow import Repaired, Wanted
from appliance.store_flow import repair_hint
from bundleformat.errors import DigestMismatchError

app = typer.Typer(
    help="The files of every generation, checked, repaired and collected.",
    no_args_is_help=True,
)


@app.command()
def fsck(
    repair_hints: Annotated[
        bool,
        typer.Option("--repair-hints", help="Say of each finding what to do about it."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Read every stored byte again and say what is not as it was admitted.

    Changes nothing. Ends with status 3 if anything is damaged, missing or not
    Sallyport's; what is only left over does not count.
    """
    with watched("reading the store", as_json=as_json) as observer:
        report = store_flow.fsck(import_host(host()), progress=observer.on_progress)
    rows = tuple(_row(each) for each in report.findings)
    lines = list(table(("PROBLEM", "BYTES", "NEEDED BY", "PATH"), rows)) if rows else []
    if repair_hints:
        hints = (repair_hint(each) for each in report.findings)
        lines += [f"hint: {each}" for each in dict.fromkeys(hints)]
    count = f"{report.files} files, {report.size_bytes:,} bytes"
    lines.append(f"{count}: {'NOT as' if report.damaged else 'all as'} they should be")
    show(_report_value(report), tuple(lines), as_json=as_json)
    if report.damaged:
        wrong = [each for each in report.findings if each.problem.is_damage]
        raise DigestMismatchError(
            "the store is not as it should be",
            where=str(wrong[0].path),
            actual=f"{len(wrong)} problems; {wrong[0].problem}",
            hint=repair_hint(wrong[0]),
        )


@app.command()
def repair(
    media: Annotated[
        list[Path],
        typer.Argument(
            help="Where to look: a folder, an .mbundle file or an ISO image; several "
            "of any bundles.",
            metavar="MEDIUM",
        ),
    ],
    generation: Annotated[
        int | None,
        typer.Option(
            metavar="ID",
            help="Only that generation, also if its files were collected.",
            show_default=False,
        ),
    ] = None,
    removed: Annotated[
        bool,
        typer.Option(
            "--removed", help="Also the files of models that were removed by hand."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring back what the store lost, or what decayed, from any medium.

    The medium need not be trusted, and its bundle may be old: every chunk is known
    by its digest from bundles this host accepted. Environments that are gone are
    installed again. Nothing else changes. What is not found is named, with status
    3; what is found is kept, so another medium can follow.
    """
    opened = host()
    wanted = Wanted(media=tuple(media), generation=generation, removed=removed)
    with watched("reading the store", as_json=as_json) as observer:
        done = repair_flow.repair(
            import_host(opened),
            wanted,
            environments=opened.home.root / "environments",
            observer=observer,
        )
    show(_repaired_value(done), _repaired_lines(done), as_json=as_json)


@app.command()
def gc(
    keep: Annotated[
        int,
        typer.Option(
            min=0,
            max=1_000,
            help="Generations of each channel to keep besides the active one.",
        ),
    ] = store_flow.KEEP,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would go and change nothing."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove the files that no kept generation needs.

    Kept are the active generation of every channel and those that were active
    before it; a generation that loses files cannot be activated any more. Nothing
    that is served loses a file.
    """
    opened = host()
    environments = opened.home.root / "environments"
    work = store_flow.preview_collection if dry_run else store_flow.collect
    surplus = work(import_host(opened), environments=environments, keep=keep)
    verb = "would remove" if dry_run else "removed"
    line = (
        f"{verb} {len(surplus.files)} files, {surplus.size_bytes:,} bytes, and the "
        f"environments of {len(surplus.environments)} generations"
        if surplus
        else "nothing to remove"
    )
    lost = ", ".join(map(str, surplus.generations))
    lines = (line, *((f"cannot be activated any more: {lost}",) if lost else ()))
    value = {**_surplus_value(surplus), "keep": keep, "dry_run": dry_run}
    show(value, lines, as_json=as_json)


def _repaired_lines(done: Repaired) -> tuple[str, ...]:
    lines = [f"repaired: {each.kind} {each.name}" for each in done.artifacts]
    lines += [f"installed again: environment {each}" for each in done.environments]
    if not lines:
        return ("nothing was lost",)
    counts = f"{done.medium_bytes:,} bytes from media"
    return (*lines, f"{counts}, {done.reused_bytes:,} bytes from other stored files")


def _repaired_value(done: Repaired) -> dict[str, Any]:
    return {
        "repaired": [
            {
                "kind": each.kind,
                "name": each.name,
                "sha256": each.sha256,
                "size_bytes": each.size_bytes,
            }
            for each in done.artifacts
        ],
        "environments": list(done.environments),
        "copied_bytes": done.medium_bytes,
        "reused_bytes": done.reused_bytes,
    }


def _row(finding: Finding) -> tuple[str, ...]:
    needed = "" if finding.needed is None else ", ".join(finding.needed.names)
    size = f"{finding.size_bytes:,}" if finding.size_bytes else ""
    said = ascii(str(finding.path))[1:-1]
    expected = f" (expected {finding.expected})" if finding.problem == "mode" else ""
    return (finding.problem, size, needed, said + expected)


def _report_value(report: StoreReport) -> dict[str, Any]:
    return {
        "files": report.files,
        "size_bytes": report.size_bytes,
        "damaged": report.damaged,
        "findings": [
            {
                "problem": each.problem,
                "is_damage": each.problem.is_damage,
                "path": str(each.path),
                "size_bytes": each.size_bytes,
                "expected": each.expected,
                "actual": each.actual,
                "needed_by": [] if each.needed is None else list(each.needed.names),
                "generations": []
                if each.needed is None
                else list(each.needed.generations),
                "hint": repair_hint(each),
            }
            for each in report.findings
        ],
    }


def _surplus_value(surplus: Surplus) -> dict[str, Any]:
    return {
        "files": len(surplus.files),
        "size_bytes": surplus.size_bytes,
        "sha256": [file.sha256 for file in surplus.files],
        "environments": [path.name for path in surplus.environments],
        "generations": list(surplus.generations),
    }
