"""Commands that put a bundle onto other media: split, join, image."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.media import open_volumes
from bundler.cli.inspect import RootFile, Volumes, verified_metadata
from bundler.cli.output import meter, show
from bundler.cli.runtime import JsonFlag, runtime_of
from bundler.join_flow import join_bundle
from bundler.media.iso_image import write_images
from bundler.media.volume_plan import parse_volume_size
from bundler.pack import check_absent
from bundler.progress import size
from bundler.split_flow import split_bundle, volume_name


def split(
    context: typer.Context,
    bundle: Volumes,
    *,
    volume_size: Annotated[
        str,
        typer.Option(
            help="What each volume may take: fat32, cd, dvd, dvd-dl, bd25, bd100, or "
            "a size such as 700MiB or 64GiB."
        ),
    ],
    root: RootFile,
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")],
    as_json: JsonFlag = False,
) -> None:
    """Split a bundle onto volumes, each of which can be verified alone.

    Nothing is signed again: every volume repeats all metadata and holds some of the
    chunks, which are verified while they are copied.
    """
    check_absent(out)
    volume_bytes = parse_volume_size(volume_size)
    with open_volumes(bundle) as volumes, meter(as_json=as_json) as shown:
        hints = split_bundle(
            volumes,
            verified_metadata(volumes, root, runtime_of(context)),
            volume_bytes=volume_bytes,
            out=out,
            limits=DEFAULT_LIMITS,
            meter=shown,
        )
    names = [volume_name(hint) for hint in hints]
    show(
        {"out": str(out), "of": len(names), "volumes": names},
        (*(str(out / name) for name in names), f"volumes written: {len(names)}"),
        as_json=as_json,
    )


def join(
    context: typer.Context,
    volume: Volumes,
    *,
    root: RootFile,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder to make, or single file if the name ends with .mbundle; it "
            "must not exist."
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Join volumes into one folder, or one file that ends with .mbundle.

    Volumes may be folders, .mbundle files and ISO images, in any order. One volume
    of one is copied, which turns a folder into a single file or back.
    """
    check_absent(out)
    with open_volumes(volume) as volumes, meter(as_json=as_json) as shown:
        doubled = volumes.duplicates()
        join_bundle(
            volumes,
            verified_metadata(volumes, root, runtime_of(context)),
            out=out,
            limits=DEFAULT_LIMITS,
            meter=shown,
        )
    show(
        {"out": str(out), "doubled": list(doubled)},
        (*(f"not needed, given twice: {label}" for label in doubled), str(out)),
        as_json=as_json,
    )


def image(
    context: typer.Context,
    volume: Annotated[
        list[Path],
        typer.Argument(metavar="VOLUME", help="Folders of volumes or bundles."),
    ],
    *,
    root: RootFile,
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")],
    as_json: JsonFlag = False,
) -> None:
    """Write an ISO 9660 image of every volume, and read each back.

    Needs xorriso. The same volume gives the same image, byte for byte.
    """
    runtime = runtime_of(context)
    with meter(as_json=as_json) as shown:
        images = write_images(
            volume,
            out=out,
            verify=partial(verified_metadata, root=root, runtime=runtime),
            limits=DEFAULT_LIMITS,
            meter=shown,
        )
    show(
        {
            "out": str(out),
            "images": [
                {
                    "name": item.name,
                    "volume": item.volume,
                    "of": item.of,
                    "size_bytes": item.size_bytes,
                }
                for item in images
            ],
        },
        tuple(f"{out / item.name}  {size(item.size_bytes)}" for item in images),
        as_json=as_json,
    )
