"""The command that carries nothing but trust: trust-bundle."""

from pathlib import Path
from typing import Annotated

import typer

from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import MAX_VERSION
from bundleformat.moments import whole_second
from bundler.cli.arguments import parse_days, parse_source_date
from bundler.cli.inspect import show_bundle
from bundler.cli.keys import PassphraseFile, PinFile
from bundler.cli.next_steps import transfer_lines
from bundler.cli.runtime import JsonFlag, runtime_of
from bundler.cli.sign import show_draft, signers_of
from bundler.pack import check_absent
from bundler.roots.folder import read_root_folder
from bundler.signing.passphrase import Passphrases
from bundler.signing.publish import PublishingKeys
from bundler.trust_bundle_flow import (
    TrustPlan,
    build_trust_bundle,
    build_trust_draft,
)


def trust_bundle(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    *,
    root: Annotated[Path, typer.Option(help="The folder `root init` made.")],
    version: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_VERSION,
            help="One more than the newest bundle of the channel.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")],
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
    source_date: Annotated[
        str | None,
        typer.Option(
            help="Time the bundle carries, such as 2026-11-22T08:00:00Z. Default: now.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[str, typer.Option(help="Life of the bundle.")] = "365d",
    passphrase_file: PassphraseFile = None,
    pin_file: PinFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Carry new roots to hosts at once: rotated keys, and revoked ones.

    The bundle delivers nothing. A host that imports it refuses from then on what
    revoked keys sign.
    """
    check_absent(out)
    runtime = runtime_of(context)
    created = whole_second(
        parse_source_date(source_date) if source_date else runtime.now
    )
    passphrases = Passphrases(file=passphrase_file, ask=runtime.ask, pin_file=pin_file)
    life, roots = parse_days(expires), read_root_folder(root)
    release = signers_of(release_key or (), passphrases)
    bundler = signers_of(bundler_key or (), passphrases)
    plan = TrustPlan(
        roots=roots,
        version=version,
        keys=PublishingKeys(release=release, bundler=bundler),
        out=out,
        created=created,
        expires=created + life,
    )
    if not release or not bundler:
        build_trust_draft(plan, now=runtime.now)
        show_draft(out, as_json=as_json)
        return
    bundle = build_trust_bundle(plan, now=runtime.now, limits=DEFAULT_LIMITS)
    show_bundle(
        bundle,
        out,
        f"built and verified: {out}",
        *transfer_lines(out, root=root),
        as_json=as_json,
    )
