"""The command about what is in a bundle, for whoever has to approve it: sbom."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bundleformat.artifact import Artifact
from bundleformat.errors import MissingError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.media import open_medium
from bundleformat.payload import read_artifact
from bundleformat.verify import VerifiedBundle
from bundler.cli.inspect import BundleFolder, RootFile, verified_metadata
from bundler.cli.output import show
from bundler.cli.runtime import JsonFlag, runtime_of
from bundler.pack import check_absent, write_new_file


def sbom(
    context: typer.Context,
    bundle: BundleFolder,
    *,
    root: RootFile,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to make; without it, the bill itself is printed.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print a bundle's signed bill of materials (CycloneDX 1.7, JSON)."""
    if out is not None:
        check_absent(out)
    with open_medium(bundle) as medium:
        found = verified_metadata(medium, root, runtime_of(context))
        artifact = _bill(found, bundle)
        data = read_artifact(medium, artifact, max_bytes=DEFAULT_LIMITS.text_bytes)
    if out is None:
        typer.echo(data.decode("utf-8"), nl=False)
        return
    write_new_file(out, data, mode=0o644)
    components = _count(data)
    value = {"out": str(out), "components": components, "sha256": artifact.sha256}
    line = f"{out}: {components} components, as signed with the bundle"
    show(value, (line,), as_json=as_json)


def _bill(bundle: VerifiedBundle, place: Path) -> Artifact:
    for artifact in bundle.manifest.artifacts:
        if artifact.kind == "sbom":
            return artifact
    raise MissingError(
        "this bundle carries no bill of materials",
        where=str(place),
        hint="A bundle for trust alone has none; any other is built with one.",
    )


def _count(data: bytes) -> int:
    document: dict[str, Any] = json.loads(data)
    return len(document.get("components", ()))
