"""The command that makes the page a person carries apart from the medium: sheet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from bundleformat.media import open_volumes
from bundleformat.verify import VerifiedBundle
from bundleformat.volume_set import VolumeSet
from bundler.cli.inspect import RootFile, Volumes, verified_metadata
from bundler.cli.output import show
from bundler.cli.runtime import JsonFlag, runtime_of
from bundler.pack import check_absent, write_new_file
from bundler.sheet.html import sheet_html
from bundler.sheet.text import sheet_text
from bundler.sheet.transfer_sheet import SheetVolume, make_sheet
from bundler.split_flow import volume_name

SHEET_NAME: Final = "transfer-sheet"
"""How the files begin; channel and version follow."""


def sheet(
    context: typer.Context,
    bundle: Volumes,
    *,
    root: RootFile,
    out: Annotated[
        Path,
        typer.Option(help="Folder for the page; one that is not the medium."),
    ] = Path(),
    as_json: JsonFlag = False,
) -> None:
    """Make the transfer sheet: one page to print, carry apart, compare and sign.

    It holds what trust on a new host begins with: digests of the installer and of the
    manifest, and the root's fingerprint. Text and HTML say the same.
    """
    with open_volumes(bundle) as volumes:
        found = verified_metadata(volumes, root, runtime_of(context))
        paths = write_sheet(found, out, volumes=seen_volumes(volumes), of=volumes.of)
    show(
        {"files": [str(path) for path in paths]},
        tuple(str(path) for path in paths),
        as_json=as_json,
    )


def write_sheet(
    bundle: VerifiedBundle, out: Path, *, volumes: Sequence[SheetVolume], of: int
) -> tuple[Path, Path]:
    """Write both forms of the page into ``out`` and return where they are.

    Raises:
        ConflictError: One of them is there already; nothing was written.
        StorageFaultError: The disk refused.
    """
    page = make_sheet(bundle, volumes=volumes, of=of)
    stem = f"{SHEET_NAME}-{bundle.manifest.channel}-{bundle.manifest.version}"
    text, html = out / f"{stem}.txt", out / f"{stem}.html"
    for path in (text, html):
        check_absent(path)
    write_new_file(text, sheet_text(page).encode(), mode=0o644)
    write_new_file(html, sheet_html(page).encode(), mode=0o644)
    return text, html


def seen_volumes(volumes: VolumeSet) -> tuple[SheetVolume, ...]:
    """Return the volumes at hand, as the page lists them."""
    return tuple(
        SheetVolume(
            number=hint.volume, label=volume_name(hint), chunks=len(hint.chunks)
        )
        for hint in volumes.hints
        if hint is not None
    )
