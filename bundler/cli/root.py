"""Commands about the trust root itself: root init, root show."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from securesystemslib.signer import Signer, SSlibKey

from bundleformat.errors import RefusalError, UsageError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.moments import format_moment, whole_second
from bundleformat.paths import parse_name
from bundleformat.profile import Profile, parse_profile, tuf_threshold
from bundleformat.trust import (
    CHANNEL_FIELD,
    check_root,
    fingerprint,
    grouped,
    parse_root,
)
from bundler.cli.arguments import parse_days
from bundler.cli.keys import PassphraseFile, PinFile
from bundler.cli.output import show
from bundler.cli.runtime import JsonFlag, runtime_of
from bundler.pack import check_absent, new_folder, write_file
from bundler.roots.first import (
    RootPlan,
    default_threshold,
    first_root,
    unsigned_first_root,
)
from bundler.roots.folder import newest_root_path, read_root_file
from bundler.roots.rules import HOLDER_HAS, holders_of, keys_of
from bundler.roots.words import role_lines, roles_value
from bundler.signing.keys import is_private, load_public_keys, load_signers
from bundler.signing.passphrase import Passphrases

root_app: Final = typer.Typer(
    no_args_is_help=True,
    help="Make, change and show the trust root: the file a host's trust begins with.",
)


@root_app.command("init")
def root_init(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    *,
    channel: Annotated[str, typer.Option(help="Name of the channel, such as main.")],
    root_key: Annotated[
        list[Path],
        typer.Option(
            metavar="<path>",
            help="A root key; repeat it for several. A .key file signs now, a .pub "
            "file names a holder who does not.",
        ),
    ],
    release_key: Annotated[
        list[Path],
        typer.Option(
            metavar="<path>",
            help="Key that signs what is delivered (.pub); repeatable.",
        ),
    ],
    bundler_key: Annotated[
        list[Path],
        typer.Option(
            metavar="<path>",
            help="Key that signs which version is newest (.pub); repeatable.",
        ),
    ],
    compliance_key: Annotated[
        list[Path],
        typer.Option(
            metavar="<path>",
            help="Key that signs site certificates (.pub); repeatable. A host serves "
            "nothing without a certificate, and believes only those of these keys.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")],
    profile: Annotated[
        Profile,
        typer.Option(
            help="Which keys sign: standard (any kind), hybrid (every holder with an "
            "Ed25519 and an ML-DSA-87 key; recommended), or cnsa (ML-DSA-87 only). "
            "It stays what it is for the life of the channel."
        ),
    ] = "standard",
    threshold: Annotated[
        int | None,
        typer.Option(
            min=1, help="Root holders who must sign a root. Default: a majority."
        ),
    ] = None,
    release_threshold: Annotated[
        int,
        typer.Option(min=1, help="Release holders who must sign what is delivered."),
    ] = 1,
    expires: Annotated[str, typer.Option(help="Life of this root.")] = "1095d",
    pending: Annotated[
        bool,
        typer.Option(
            "--pending",
            help="Make 1.root.pending.json, which the holders sign one after another "
            "with `root sign` or in their own rooms.",
        ),
    ] = False,
    passphrase_file: PassphraseFile = None,
    pin_file: PinFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Make version 1 of a channel's trust root, and print its fingerprint.

    Carry the fingerprint to the isolated host by another way than the bundle: on
    paper, or by reading it aloud. There, `sallyport trust init` compares it.
    """
    check_absent(out)
    runtime = runtime_of(context)
    passphrases = Passphrases(file=passphrase_file, ask=runtime.ask, pin_file=pin_file)

    def keys(paths: Sequence[Path]) -> tuple[SSlibKey, ...]:
        return _public_keys(paths, passphrases, profile=profile)

    signing = {path: is_private(path) for path in root_key}
    plan = RootPlan(
        channel=parse_name(channel, where="--channel"),
        expires=whole_second(runtime.now) + parse_days(expires),
        threshold=threshold or default_threshold(len(root_key)),
        signers=_signers([p for p in root_key if signing[p]], passphrases, profile),
        absent=keys([path for path in root_key if not signing[path]]),
        release_keys=keys(release_key),
        bundler_keys=keys(bundler_key),
        compliance_keys=keys(compliance_key),
        profile=profile,
        release_threshold=release_threshold,
    )
    if pending:
        _begin(unsigned_first_root(plan), out=out, as_json=as_json)
        return
    root = first_root(plan)
    check_root(root, now=runtime.now)
    with new_folder(out) as folder:
        write_file(folder / "1.root.json", root)
    show_root(root, path=out / "1.root.json", as_json=as_json)


@root_app.command("show")
def root_show(
    context: typer.Context,
    root: Annotated[
        Path, typer.Argument(metavar="ROOT", help="A root file, or a folder of them.")
    ],
    *,
    as_json: JsonFlag = False,
) -> None:
    """Check a root file; print its fingerprint again, and who holds which role."""
    path = newest_root_path(root)
    data = read_root_file(path)
    try:
        check_root(data, now=runtime_of(context).now)
    except RefusalError as error:
        raise error.inside(str(path)) from error
    show_root(data, path=path, as_json=as_json)


def show_root(data: bytes, *, path: Path, as_json: bool) -> None:
    """Print what a checked root says, and its fingerprint."""
    root = parse_root(data, where=str(path), limits=DEFAULT_LIMITS).signed
    channel, profile = str(root.unrecognized_fields[CHANNEL_FIELD]), parse_profile(root)
    print_, needed = fingerprint(data), holders_of(root, "root")
    holders = len(keys_of(root, "root")) // tuf_threshold(profile, holders=1)
    value: dict[str, Any] = {
        "root": str(path),
        "channel": channel,
        "profile": profile,
        "version": root.version,
        "threshold": needed,
        "root_keys": list(keys_of(root, "root")),
        "compliance_keys": list(keys_of(root, "compliance")),
        "roles": roles_value(root),
        "expires": format_moment(root.expires),
        "fingerprint": print_,
    }
    lines = (
        f"root         {path}",
        f"channel      {channel}, version {root.version}",
        f"profile      {profile}",
        f"threshold    {needed} of {holders} root holders",
        f"expires      {format_moment(root.expires)}",
        *role_lines(root),
        f"fingerprint  {grouped(print_)}",
    )
    show(value, lines, as_json=as_json)


def _begin(root: bytes, *, out: Path, as_json: bool) -> None:
    with new_folder(out) as folder:
        write_file(folder / "1.root.pending.json", root)
    show(
        {"pending": str(out / "1.root.pending.json"), "version": 1},
        (
            f"pending      {out / '1.root.pending.json'}",
            f"next: sallyport-bundler root sign {out} --key X.key, by each holder;",
            f"      sallyport-bundler root status {out} says who is still to sign",
        ),
        as_json=as_json,
    )


def _signers(
    paths: Sequence[Path], passphrases: Passphrases, profile: Profile
) -> tuple[Signer, ...]:
    found: list[Signer] = []
    for path in paths:
        signers = load_signers(path, passphrases)
        _check_holder(path, len(signers), profile=profile)
        found += signers
    return tuple(found)


def _public_keys(
    paths: Sequence[Path], passphrases: Passphrases, *, profile: Profile
) -> tuple[SSlibKey, ...]:
    found: list[SSlibKey] = []
    for path in paths:
        keys = load_public_keys(path, passphrases)
        _check_holder(path, len(keys), profile=profile)
        found += keys
    return tuple(found)


def _check_holder(path: Path, keys: int, *, profile: Profile) -> None:
    if keys == tuf_threshold(profile, holders=1):
        return
    raise UsageError(
        f"not the keys of a holder in a {profile} channel",
        where=str(path),
        expected=HOLDER_HAS[profile],
        hint="`keygen --kind` and `root init --profile` go together: ed25519 with "
        "standard, hybrid with hybrid, ml-dsa-87 with cnsa.",
    )
