"""Commands that look at a bundle and change nothing: inspect, verify."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from bundleformat.errors import RefusalError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.media import open_volumes
from bundleformat.medium import Medium
from bundleformat.report import bundle_value
from bundleformat.trust import TrustState, fingerprint, initial_state
from bundleformat.verify import VerifiedBundle, verify_metadata
from bundleformat.verify_volume import VolumeContents, list_volume, verify_volume
from bundleformat.volume_report import volume_lines, volumes_value
from bundleformat.volume_set import VolumeSet
from bundler.cli.output import bundle_lines, meter, show
from bundler.cli.runtime import JsonFlag, Runtime, runtime_of
from bundler.roots.folder import newest_root_path, read_root_file

Volumes = Annotated[
    list[Path],
    typer.Argument(
        metavar="BUNDLE",
        help="The bundle: a folder that holds metadata/, a .mbundle file or an ISO "
        "image. Name several volumes of one bundle, in any order, to have them "
        "looked at together.",
    ),
]
BundleFolder = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE",
        help="The bundle: a folder that holds metadata/, a .mbundle file or an ISO "
        "image.",
    ),
]
RootFile = Annotated[
    Path,
    typer.Option(
        "--root",
        help="The root you trust: 1.root.json from your own records or the folder "
        "it lies in, never the copy on the medium.",
    ),
]


def inspect(
    context: typer.Context,
    bundle: Volumes,
    *,
    root: RootFile,
    as_json: JsonFlag = False,
) -> None:
    """Show who signed a bundle and what it delivers, without reading the payload."""
    with open_volumes(bundle) as volumes:
        found = verified_metadata(volumes, root, runtime_of(context))
        contents = list_volume(volumes, found)
    verdict = "metadata verified; the payload was not read"
    _show_volumes(volumes, found, contents, verdict=verdict, as_json=as_json)


def verify(
    context: typer.Context,
    bundle: Volumes,
    *,
    root: RootFile,
    as_json: JsonFlag = False,
) -> None:
    """Verify every signature and every byte of a bundle, or of volumes of it.

    One volume of several is verified alone; what lies on the others is said.
    """
    with open_volumes(bundle) as volumes, meter(as_json=as_json) as shown:
        found = verified_metadata(volumes, root, runtime_of(context))
        contents = list_volume(volumes, found)
        shown.stage("Verifying", contents.payload_bytes)
        verify_volume(volumes, found, contents=contents, progress=shown.advance)
    verdict = (
        "verified: every byte is as signed"
        if contents.whole
        else "verified: every byte that is here is as signed"
    )
    _show_volumes(volumes, found, contents, verdict=verdict, as_json=as_json)


def verified_metadata(medium: Medium, root: Path, runtime: Runtime) -> VerifiedBundle:
    """Return the bundle on ``medium`` as somebody sees it who trusts ``root``.

    Raises:
        RefusalError: The root cannot be used, or the metadata is refused.
        StorageFaultError: The medium or the scratch folder cannot be used.
    """
    state = _state(root, runtime)
    with tempfile.TemporaryDirectory() as scratch:
        return verify_metadata(
            medium,
            state=state,
            floor=None,
            now=runtime.now,
            scratch=Path(scratch),
            limits=DEFAULT_LIMITS,
        )


def _state(root: Path, runtime: Runtime) -> TrustState:
    path = newest_root_path(root)
    data = read_root_file(path)
    try:
        # The person names a root of their own, so its fingerprint is what it is.
        return initial_state(data, fingerprint=fingerprint(data), now=runtime.now)
    except RefusalError as error:
        raise error.inside(str(path)) from error


def show_bundle(
    bundle: VerifiedBundle,
    folder: Path,
    *verdict: str,
    as_json: bool,
) -> None:
    """Print a verified bundle and ``verdict``, which programs do not read."""
    value: dict[str, Any] = {**bundle_value(bundle), "bundle": str(folder)}
    show(value, (*bundle_lines(bundle), *verdict), as_json=as_json)


def _show_volumes(
    volumes: VolumeSet,
    bundle: VerifiedBundle,
    contents: VolumeContents,
    *,
    verdict: str,
    as_json: bool,
) -> None:
    lines = (
        *bundle_lines(bundle),
        *volume_lines(volumes, contents),
        verdict,
    )
    value = {
        **bundle_value(bundle),
        **volumes_value(volumes, contents),
        "bundle": volumes.label,
    }
    show(value, lines, as_json=as_json)
