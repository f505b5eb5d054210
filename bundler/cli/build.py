"""The command that makes bundles: build."""

from pathlib import Path
from typing import Annotated, Final

import typer

from bundleformat.errors import UsageError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.moments import whole_second
from bundler.build_flow import (
    DEFAULT_CACHE,
    BuildPlan,
    build_bundle,
    build_draft,
    check_times,
)
from bundler.cli.arguments import chunk_bytes_for, parse_days, parse_source_date
from bundler.cli.inspect import show_bundle
from bundler.cli.keys import PassphraseFile, PinFile
from bundler.cli.next_steps import transfer_lines
from bundler.cli.output import meter, note
from bundler.cli.runtime import JsonFlag, runtime_of
from bundler.cli.sign import show_draft, signers_of
from bundler.contents.since import Since, read_manifest_file, read_old_manifest, since
from bundler.contents.spec import BundleSpec, read_spec
from bundler.join_flow import SUFFIX
from bundler.media.volume_plan import parse_volume_size
from bundler.pack import check_absent
from bundler.pack_flow import build_packed
from bundler.roots.folder import read_root_folder
from bundler.signing.passphrase import Passphrases
from bundler.signing.publish import PublishingKeys

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
    intended_use = "summaries"  # optional; so is:
    review_by = "2027-06-30"
\b
    [[policies]]                # as many as there are, or none
    name = "site"
    path = "site.cedar"
\b
    [[wheels]]                  # what is installed on the host, or none
    name = "appliance"
    role = "appliance"          # Sallyport itself; or "team"
    requirements = ["sallyport[appliance]"]
    find = ["."]                # checkouts and wheels of your own, never the index's
    source_only = ["llama-cpp-python==0.3.36"]  # what is compiled here
    python = "3.11"             # of the hosts; also their
    platform = "linux_x86_64"
    glibc = "2.36"              # C library, the oldest, and
    cpu = "x86-64-v3"           # processor, the weakest

Instead of a path, a model may have one of

\b
    hugging_face = { repo = "OWNER/NAME", revision = "COMMIT", file = "X.gguf" }
    ollama = { model = "llama3.2:3b" }

A split model is named by its first file, X-00001-of-0000N.gguf. Without release
or bundler key a draft is made, which others sign.
"""
"""Help of ``build``; a line with ``\\b`` keeps the lines after it as they are."""

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="What to deliver.")]
ChunkSize = Annotated[
    str | None,
    typer.Option(
        help="Largest file of the bundle: 1KiB to 1GiB. Default: 1GiB, or what fits a "
        "volume well.",
        show_default=False,
    ),
]
VolumeSize = Annotated[
    str | None,
    typer.Option(
        help="Write volumes of this size: fat32, cd, dvd, dvd-dl, bd25, bd100, or one "
        "such as 64GiB.",
        show_default=False,
    ),
]
SinceOption = Annotated[
    Path | None,
    typer.Option(
        "--since",
        help="An older bundle that hosts have imported: only chunks that it lacks are "
        "written.",
        show_default=False,
    ),
]
SinceManifest = Annotated[
    Path | None,
    typer.Option(
        help="The same, with only targets/manifest.json of the older bundle at hand.",
        show_default=False,
    ),
]


def build(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    spec: SpecFile,
    *,
    root: Annotated[Path, typer.Option(help="The folder `root init` made.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder to make, or single file if the name ends with .mbundle; it "
            "must not exist."
        ),
    ],
    release_key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="A release key (.key); repeatable. Without one, a draft is made.",
            show_default=False,
        ),
    ] = None,
    bundler_key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="A bundler key (.key); repeatable. Without one, a draft is made.",
            show_default=False,
        ),
    ] = None,
    chunk_size: ChunkSize = None,
    volume_size: VolumeSize = None,
    since_bundle: SinceOption = None,
    since_manifest: SinceManifest = None,
    cache: Annotated[
        Path, typer.Option(help="Folder that keeps downloads and built wheels.")
    ] = DEFAULT_CACHE,
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
    pin_file: PinFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Build a signed bundle; what ``BUILD_HELP`` says is what the user reads."""
    check_absent(out)
    runtime = runtime_of(context)
    volume_bytes = None if volume_size is None else parse_volume_size(volume_size)
    draft = not release_key or not bundler_key
    _check_packing(out, draft=draft, split=volume_bytes is not None)
    life = parse_days(expires)
    created = whole_second(
        parse_source_date(source_date) if source_date else runtime.now
    )
    # The build checks this too; here it is before anybody types a passphrase.
    check_times(created=created, expires=created + life, now=runtime.now)
    chunk_bytes = chunk_bytes_for(chunk_size, volume_bytes=volume_bytes)
    passphrases = Passphrases(file=passphrase_file, ask=runtime.ask, pin_file=pin_file)
    wanted = read_spec(spec, limits=DEFAULT_LIMITS)
    plan = BuildPlan(
        spec=wanted,
        roots=read_root_folder(root),
        keys=PublishingKeys(
            release=signers_of(release_key or (), passphrases),
            bundler=signers_of(bundler_key or (), passphrases),
        ),
        out=out,
        chunk_bytes=chunk_bytes,
        created=created,
        expires=created + life,
        since=read_since(wanted, bundle=since_bundle, manifest=since_manifest),
        cache=cache,
        tell=note,
    )
    with meter(as_json=as_json) as shown:
        if draft:
            build_draft(plan, now=runtime.now, limits=DEFAULT_LIMITS, meter=shown)
        elif volume_bytes is not None or out.suffix == SUFFIX:
            bundle = build_packed(
                plan,
                volume_bytes=volume_bytes,
                now=runtime.now,
                limits=DEFAULT_LIMITS,
                meter=shown,
            )
        else:
            bundle = build_bundle(
                plan, now=runtime.now, limits=DEFAULT_LIMITS, meter=shown
            )
    if draft:
        show_draft(out, as_json=as_json)
        return
    show_bundle(
        bundle,
        out,
        f"built and verified: {out}",
        *transfer_lines(out, root=root, volumes=volume_bytes is not None),
        as_json=as_json,
    )


def read_since(
    spec: BundleSpec, *, bundle: Path | None, manifest: Path | None
) -> Since | None:
    """Return what hosts have already, from the one option that was given.

    Raises:
        UsageError: Both were.
        ConflictError: The older bundle is of another channel, or not older.
        MissingError, SpecError, MalformedError, LimitExceededError,
            StorageFaultError: It cannot be read.
    """
    if bundle is not None and manifest is not None:
        raise UsageError("one older bundle is enough", where="--since-manifest")
    if bundle is not None:
        old = read_old_manifest(bundle, limits=DEFAULT_LIMITS)
    elif manifest is not None:
        old = read_manifest_file(manifest, limits=DEFAULT_LIMITS)
    else:
        return None
    return since(old, channel=spec.channel, version=spec.version)


def _check_packing(out: Path, *, draft: bool, split: bool) -> None:
    if split and out.suffix == SUFFIX:
        raise UsageError(
            "volumes are folders",
            where="--out",
            expected=f"a name that does not end with {SUFFIX}",
            actual=str(out),
        )
    if draft and (split or out.suffix == SUFFIX):
        raise UsageError(
            "a draft is a folder",
            where="--out",
            hint="Have the draft signed first; `split` and `join` put the bundle onto "
            "other media then, without any key.",
        )
