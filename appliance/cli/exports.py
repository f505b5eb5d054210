"""What the commands that write an export have in common: options, and what they say."""

import shlex
from collections.abc import Collection
from typing import Annotated, Any

import typer

from appliance.audit_flow import Carrier
from appliance.audit_formats.derive import FILES, Format
from appliance.ledger.exports.export import Export
from bundleformat.errors import UsageError

Formats = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="<list>",
        help="What is made from the records besides, with commas: "
        "csv, xlsx, ocsf, syslog, html.",
    ),
]
Tar = Annotated[bool, typer.Option("--tar", help="Write one tar archive instead.")]
Iso = Annotated[
    bool,
    typer.Option("--iso", help="Write one ISO 9660 image instead; needs xorriso."),
]

UNPACKING = {
    Carrier.FOLDER: "",
    Carrier.TAR: "unpacks it with tar -xf, then ",
    Carrier.ISO: "mounts it, then ",
}
"""What comes before a verification."""


def carrier_of(*, tar: bool, iso: bool) -> Carrier:
    """Return what the options ask for.

    Raises:
        UsageError: They ask for both.
    """
    if tar and iso:
        raise UsageError(
            "an export is one file of one kind",
            where="--tar, --iso",
            hint="Name one of the two; export again for the other.",
        )
    if iso:
        return Carrier.ISO
    return Carrier.TAR if tar else Carrier.FOLDER


def export_value(made: Export, *, formats: Collection[Format]) -> dict[str, Any]:
    """Return what a machine is told of an export."""
    return {
        "folder": str(made.folder),
        "origin": made.origin,
        "vkey": made.vkey,
        "size": made.size,
        "root": made.root.hex(),
        "derived": [FILES[each] for each in formats],
    }


def export_lines(made: Export, *, carrier: Carrier) -> tuple[str, ...]:
    """Return what a person is told of an export, how to check it at the end."""
    checked = {
        Carrier.FOLDER: str(made.folder),
        Carrier.TAR: made.folder.stem,
        Carrier.ISO: "MOUNT",
    }[carrier]
    return (
        f"wrote {made.size} records to {made.folder}",
        f"root {made.root.hex()}",
        (
            f"the auditor {UNPACKING[carrier]}checks it with: python -I verify.py "
            f"{shlex.quote(checked)} --key {shlex.quote(made.vkey)}"
        ),
    )
