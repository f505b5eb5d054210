"""How the command line speaks: data on stdout, messages on stderr.

Exit statuses: 0 done, 1 a bug, 2 called wrongly, 3 refused, 4 the host failed,
130 interrupted. A refusal reads
``sallyport-bundler: refused: digest-mismatch: c/ab/…: …`` and then ``hint: …``.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer

from bundleformat.errors import Error
from bundleformat.manifest import Manifest
from bundleformat.moments import format_moment
from bundleformat.report import error_lines, json_line, printable
from bundleformat.verify import VerifiedBundle
from bundler.progress import BarMeter, LineMeter, Meter, SilentMeter, size

PROGRAM: Final = "sallyport-bundler"
"""The name that begins every message."""


def show(value: dict[str, Any], lines: tuple[str, ...], *, as_json: bool) -> None:
    """Print ``value`` as one JSON line, or ``lines`` for reading.

    What is not printable is escaped: both may quote a medium, or a request.
    """
    if as_json:
        typer.echo(json_line(value))
        return
    for line in lines:
        typer.echo(printable(line))


def note(line: str) -> None:
    """Print a message that is not data, to stderr."""
    typer.echo(printable(line), err=True)


def report(error: Error, *, as_json: bool) -> int:
    """Print ``error`` on stderr and return its exit status."""
    for line in error_lines(error, program=PROGRAM, as_json=as_json):
        note(line)
    return error.exit_status


@contextmanager
def meter(*, as_json: bool) -> Iterator[Meter]:
    """Give the progress display that fits where stderr goes."""
    if as_json:
        yield SilentMeter()
    elif sys.stderr.isatty():
        with BarMeter() as bar:
            yield bar
    else:
        yield LineMeter()


def bundle_lines(bundle: VerifiedBundle) -> tuple[str, ...]:
    """Return what a person reads of a verified bundle."""
    manifest = bundle.manifest
    return (
        f"channel {manifest.channel}, version {manifest.version}",
        f"created {format_moment(manifest.created)}",
        f"refused from {format_moment(bundle.expires)} on",
        f"root version {bundle.root_version}; signed by",
        *(f"  {key_id}" for key_id in bundle.signed_by),
        *_artifact_lines(manifest),
    )


def _artifact_lines(manifest: Manifest) -> Iterator[str]:
    for item in manifest.artifacts:
        yield f"{item.kind} {item.name}  {size(item.size_bytes)}"
        yield f"  sha256 {item.sha256}"
        if item.model is not None:
            terms = item.model
            yield f"  licence {terms.licence}; from {terms.origin}"
            yield (
                f"  {terms.architecture}, {terms.context_length} tokens; "
                f"regions {', '.join(terms.allowed_regions)}"
            )
