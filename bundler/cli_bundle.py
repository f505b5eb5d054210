"""Commands about bundles: build, inspect, verify."""

import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bundleformat.errors import RefusalError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.moments import whole_second
from bundleformat.report import bundle_value
from bundleformat.trust import TrustState, fingerprint, initial_state
from bundleformat.verify import VerifiedBundle, verify_chunks, verify_metadata
from bundleformat.volume import Volume
from bundler.arguments import parse_chunk_size, parse_days, parse_source_date
from bundler.build_flow import BuildPlan, build_bundle, check_times
from bundler.cli_keys import PassphraseFile
from bundler.keys import load_signer
from bundler.output import bundle_lines, meter, show
from bundler.pack import check_absent
from bundler.passphrase import Passphrases
from bundler.publish import PublishingKeys
from bundler.root import newest_root_path, read_root_file, read_root_folder
from bundler.runtime import JsonFlag, Runtime, runtime_of
from bundler.spec import read_spec

BUILD_HELP: Final = """Build a signed bundle, and verify it with the host's own code.

SPEC is a TOML file; its paths are relative to it:

\b
    channel = "main"
    version = 1                 # one more with every bundle of a channel
\b
    [[models]]
    name = "llama-3b"           # what API clients ask for
    path = "models/llama-3b.gguf"
    licence = "Llama-3.2-Community"
    origin = "https://example.org/llama-3b, revision 1a2b3c"
    allowed_regions = ["in-blr"]
\b
    [[policies]]                # as many as there are, or none
    name = "site"
    path = "site.cedar"
"""
"""Help of ``build``; a line with ``\\b`` keeps the lines after it as they are."""

BundleFolder = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE", help="Folder of the bundle: the one that holds metadata/."
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


def build(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="What to deliver.")],
    *,
    root: Annotated[Path, typer.Option(help="The folder `root init` made.")],
    release_key: Annotated[Path, typer.Option(help="The release key (.key).")],
    bundler_key: Annotated[Path, typer.Option(help="The bundler key (.key).")],
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")],
    chunk_size: Annotated[
        str, typer.Option(help="Largest file of the bundle: 1KiB to 1GiB.")
    ] = "1GiB",
    source_date: Annotated[
        str | None,
        typer.Option(
            help="Time the bundle carries, such as 2026-11-22T08:00:00Z. The same "
            "time, keys and sources give the same bytes. Default: now.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[str, typer.Option(help="Life of the bundle.")] = "365d",
    passphrase_file: PassphraseFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Build a signed bundle; what ``BUILD_HELP`` says is what the user reads."""
    check_absent(out)
    runtime = runtime_of(context)
    life, chunk_bytes = parse_days(expires), parse_chunk_size(chunk_size)
    created = whole_second(
        parse_source_date(source_date) if source_date else runtime.now
    )
    # The build checks this too; here it is before anybody types a passphrase.
    check_times(created=created, expires=created + life, now=runtime.now)
    passphrases = Passphrases(file=passphrase_file, ask=runtime.ask)
    wanted = read_spec(spec, limits=DEFAULT_LIMITS)
    plan = BuildPlan(
        spec=wanted,
        roots=read_root_folder(root),
        keys=PublishingKeys(
            release=load_signer(release_key, passphrases),
            bundler=load_signer(bundler_key, passphrases),
        ),
        out=out,
        chunk_bytes=chunk_bytes,
        created=created,
        expires=created + life,
    )
    with meter(as_json=as_json) as shown:
        bundle = build_bundle(plan, now=runtime.now, limits=DEFAULT_LIMITS, meter=shown)
    _show_bundle(bundle, out, f"built and verified: {out}", as_json=as_json)


def inspect(
    context: typer.Context,
    bundle: BundleFolder,
    *,
    root: RootFile,
    as_json: JsonFlag = False,
) -> None:
    """Show who signed a bundle and what it delivers, without reading the payload."""
    with Volume(bundle) as volume:
        found = _verified_metadata(volume, root, runtime_of(context))
    _show_bundle(
        found, bundle, "metadata verified; the payload was not read", as_json=as_json
    )


def verify(
    context: typer.Context,
    bundle: BundleFolder,
    *,
    root: RootFile,
    as_json: JsonFlag = False,
) -> None:
    """Verify every signature and every byte of a bundle."""
    with Volume(bundle) as volume, meter(as_json=as_json) as shown:
        found = _verified_metadata(volume, root, runtime_of(context))
        shown.stage(
            "Verifying", sum(item.size_bytes for item in found.manifest.artifacts)
        )
        verify_chunks(volume, found, progress=shown.advance)
    _show_bundle(found, bundle, "verified: every byte is as signed", as_json=as_json)


def _verified_metadata(volume: Volume, root: Path, runtime: Runtime) -> VerifiedBundle:
    state = _state(root, runtime)
    with tempfile.TemporaryDirectory() as scratch:
        return verify_metadata(
            volume,
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


def _show_bundle(
    bundle: VerifiedBundle, folder: Path, verdict: str, *, as_json: bool
) -> None:
    value: dict[str, Any] = {**bundle_value(bundle), "bundle": str(folder)}
    show(value, (*bundle_lines(bundle), verdict), as_json=as_json)
