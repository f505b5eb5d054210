"""Commands that tell beforehand: plan, what a build would take; diff, what changes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.media import open_volumes
from bundler.cli.arguments import chunk_bytes_for
from bundler.cli.build import ChunkSize, SpecFile, VolumeSize
from bundler.cli.inspect import verified_metadata
from bundler.cli.output import show
from bundler.cli.runtime import JsonFlag, runtime_of
from bundler.comparison import compare, comparison_lines, comparison_value
from bundler.contents.spec import read_spec
from bundler.media.volume_plan import parse_volume_size
from bundler.plan_flow import plan_build, plan_lines, plan_value
from bundler.sides import read_side


def plan(
    spec: SpecFile,
    *,
    chunk_size: ChunkSize = None,
    volume_size: VolumeSize = None,
    as_json: JsonFlag = False,
) -> None:
    """Find every source of SPEC, and say what a build would take; writes nothing.

    Models on this machine are looked into. Those of a hub are asked for, not
    downloaded.
    """
    volume_bytes = None if volume_size is None else parse_volume_size(volume_size)
    found = plan_build(
        read_spec(spec, limits=DEFAULT_LIMITS),
        chunk_bytes=chunk_bytes_for(chunk_size, volume_bytes=volume_bytes),
        volume_bytes=volume_bytes,
        limits=DEFAULT_LIMITS,
    )
    show(plan_value(found), plan_lines(found), as_json=as_json)


def diff(
    context: typer.Context,
    before: Annotated[
        Path, typer.Argument(metavar="BEFORE", help="The bundle that hosts have.")
    ],
    after: Annotated[
        Path, typer.Argument(metavar="AFTER", help="The bundle that they would get.")
    ],
    *,
    root: Annotated[
        Path | None,
        typer.Option(
            help="The root you trust, as for `verify`. Without it neither bundle is "
            "verified.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what would change for a host: artifacts, terms, policies, keys, bytes.

    Policies are compared line by line where their bytes are at hand.
    """
    sides = []
    for path in (before, after):
        with open_volumes([path]) as volumes:
            if root is not None:
                verified_metadata(volumes, root, runtime_of(context))
            sides.append(read_side(volumes, limits=DEFAULT_LIMITS))
    found = compare(*sides)
    verdict = (
        "not verified: name --root to have both bundles verified"
        if root is None
        else "metadata of both verified"
    )
    value: dict[str, Any] = {**comparison_value(found), "verified": root is not None}
    show(value, (*comparison_lines(found), verdict), as_json=as_json)
