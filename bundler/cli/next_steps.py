"""What a person does with a bundle that is whole: the page, the medium, the host."""

import shlex
from pathlib import Path

from bundler.join_flow import SUFFIX


def transfer_lines(
    bundle: Path, *, root: Path | None, volumes: bool = False
) -> tuple[str, ...]:
    """Return the next commands for ``bundle``; ``volumes``: a folder of volumes.

    Without ``root``, a word stands where the publisher's own record belongs.
    """
    place = shlex.quote(str(bundle))
    media = f"{place}/volume-*" if volumes else place
    trusted = f"--root {shlex.quote(str(root)) if root else 'ROOT'}"
    image = f"sallyport-bundler image {media} {trusted} --out IMAGES"
    if volumes:
        copy = f"copy each folder of {place} onto a medium of its own"
    else:
        copy = f"copy {place} onto the medium, all of it"
    return (
        f"next: sallyport-bundler sheet {media} {trusted}",
        "      makes the page that travels apart from the medium; print and sign it",
        f"then: {copy}",
        *(() if bundle.suffix == SUFFIX else (f"      or write discs: {image}",)),
        "on the host: sallyport bundle verify MEDIUM, sallyport bundle import MEDIUM",
    )
