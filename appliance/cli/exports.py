"""What the commands that write an export have in common: options, and what they say."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from appliance.audit_flow import Carrier, Form, archive_name
from appliance.audit_formats.derive import FILES, parse_formats
from appliance.audit_media.sealed_file import parse_recipient
from appliance.cli.options import read_input
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
Recipient = Annotated[
    Path | None,
    typer.Option(
        metavar="<file>",
        help="Write one tar archive instead, encrypted for the auditor whose public "
        "key this is, as `open_export.py keygen` printed it.",
        show_default=False,
    ),
]


def held_files(since: list[Path] | None) -> tuple[tuple[str, bytes], ...]:
    """Return the checkpoints in these files, each with its name."""
    return tuple((str(path), read_input(path)) for path in since or ())


def form_of(formats: str, *, tar: bool, iso: bool, recipient: Path | None) -> Form:
    """Return what the options ask for.

    Raises:
        UsageError: They ask for two kinds of one file, or for a format that there
            is not.
        MissingError, LimitExceededError, MalformedError: ``recipient`` is no public
            key of an auditor.
    """
    chosen = parse_formats(formats)
    if recipient is not None and not iso:
        key = parse_recipient(read_input(recipient), where=str(recipient))
        return Form(carrier=Carrier.SEALED, formats=chosen, recipient=key)
    if recipient is not None:
        raise UsageError(
            "what is encrypted is an archive, and no image that can be mounted",
            where="--iso, --recipient",
            hint="Leave --iso away.",
        )
    if tar and iso:
        raise UsageError(
            "an export is one file of one kind",
            where="--tar, --iso",
            hint="Name one of the two; export again for the other.",
        )
    if iso:
        return Form(carrier=Carrier.ISO, formats=chosen)
    return Form(carrier=Carrier.TAR if tar else Carrier.FOLDER, formats=chosen)


def export_value(made: Export, *, form: Form) -> dict[str, Any]:
    """Return what a machine is told of an export."""
    return {
        "folder": str(made.folder),
        "origin": made.origin,
        "vkey": made.vkey,
        "size": made.size,
        "root": made.root.hex(),
        "derived": [FILES[each] for each in form.formats],
        "recipient": form.recipient.key_id if form.recipient else None,
    }


def export_lines(made: Export, *, form: Form) -> tuple[str, ...]:
    """Return what a person is told of an export, how to check it at the end."""
    sealed = archive_name(made.folder)
    opening = (
        f"opens it with: python -I open_export.py open {shlex.quote(made.folder.name)} "
        f"--key KEY --out {shlex.quote(sealed)}.tar; "
    )
    before, checked = {
        Carrier.FOLDER: ("", str(made.folder)),
        Carrier.TAR: ("unpacks it with tar -xf, then ", made.folder.stem),
        Carrier.ISO: ("mounts it, then ", "MOUNT"),
        Carrier.SEALED: (f"{opening}unpacks it with tar -xf, then ", sealed),
    }[form.carrier]
    whom = f", for key {form.recipient.key_id} alone" if form.recipient else ""
    return (
        f"wrote {made.size} records to {made.folder}{whom}",
        f"root {made.root.hex()}",
        (
            f"the auditor {before}checks it with: python -I verify.py "
            f"{shlex.quote(checked)} --key {shlex.quote(made.vkey)}"
        ),
    )
