"""Commands about keys: keygen, root init, root show, site issue."""

from pathlib import Path
from typing import Annotated, Final

import typer

from bundleformat.errors import RefusalError
from bundleformat.moments import format_moment, whole_second
from bundleformat.paths import parse_name
from bundleformat.site_certificate import SiteCertificate, issue
from bundleformat.trust import RootFacts, check_root, fingerprint, grouped
from bundler.arguments import (
    parse_days,
    parse_jurisdiction,
    parse_key_name,
    parse_token,
)
from bundler.keys import create_key, is_private, load_public_key, load_signer
from bundler.output import show
from bundler.pack import check_absent, new_folder, write_file, write_new_file
from bundler.passphrase import Passphrases
from bundler.root import (
    RootPlan,
    default_threshold,
    first_root,
    newest_root_path,
    read_root_file,
)
from bundler.runtime import JsonFlag, runtime_of

root_app: Final = typer.Typer(
    no_args_is_help=True,
    help="Make and show the trust root: the file a host's trust begins with.",
)
site_app: Final = typer.Typer(
    no_args_is_help=True,
    help="Certify where an isolated host stands.",
)

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the passphrase in its one line, readable only by you "
        "(mode 0600). Without it, you are asked at the terminal.",
        show_default=False,
    ),
]
"""Where a passphrase comes from; never an argument or a variable."""


def keygen(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Where to put the key, without an ending: keys/release gives "
            "keys/release.key (private, encrypted) and keys/release.pub.",
        ),
    ],
    *,
    passphrase_file: PassphraseFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key pair.

    You need one for each role: root (offline), release, bundler, and compliance
    for site certificates.
    """
    passphrases = Passphrases(file=passphrase_file, ask=runtime_of(context).ask)
    pair = create_key(parse_key_name(name), passphrases)
    show(
        {
            "key_id": pair.key_id,
            "private": str(pair.private_path),
            "public": str(pair.public_path),
        },
        (
            f"private key  {pair.private_path}  (keep it here)",
            f"public key   {pair.public_path}",
            f"key id       {pair.key_id}",
        ),
        as_json=as_json,
    )


@root_app.command("init")
def root_init(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    *,
    channel: Annotated[str, typer.Option(help="Name of the channel, such as main.")],
    root_key: Annotated[
        list[Path],
        typer.Option(
            help="A root key; repeat it for several. A .key file signs now, a .pub "
            "file names a holder who does not."
        ),
    ],
    release_key: Annotated[
        list[Path],
        typer.Option(help="Key that signs what is delivered (.pub); repeatable."),
    ],
    bundler_key: Annotated[
        list[Path],
        typer.Option(help="Key that signs which version is newest (.pub); repeatable."),
    ],
    compliance_key: Annotated[
        list[Path],
        typer.Option(
            help="Key that signs site certificates (.pub); repeatable. A host serves "
            "nothing without a certificate, and believes only those of these keys."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")],
    threshold: Annotated[
        int | None,
        typer.Option(
            min=1, help="Root keys that must sign a root. Default: a majority."
        ),
    ] = None,
    expires: Annotated[str, typer.Option(help="Life of this root.")] = "1095d",
    passphrase_file: PassphraseFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Make version 1 of a channel's trust root, and print its fingerprint.

    Carry the fingerprint to the isolated host by another way than the bundle: on
    paper, or by reading it aloud. There, `sallyport trust init` compares it.
    """
    check_absent(out)
    runtime = runtime_of(context)
    passphrases = Passphrases(file=passphrase_file, ask=runtime.ask)
    signing = {path: is_private(path) for path in root_key}
    plan = RootPlan(
        channel=parse_name(channel, where="--channel"),
        expires=whole_second(runtime.now) + parse_days(expires),
        threshold=threshold or default_threshold(len(root_key)),
        signers=tuple(load_signer(p, passphrases) for p in root_key if signing[p]),
        absent=tuple(
            load_public_key(p, passphrases) for p in root_key if not signing[p]
        ),
        release_keys=tuple(load_public_key(p, passphrases) for p in release_key),
        bundler_keys=tuple(load_public_key(p, passphrases) for p in bundler_key),
        compliance_keys=tuple(load_public_key(p, passphrases) for p in compliance_key),
    )
    root = first_root(plan)
    facts = check_root(root, now=runtime.now)
    with new_folder(out) as folder:
        write_file(folder / "1.root.json", root)
    _show_root(root, facts, path=out / "1.root.json", as_json=as_json)


@root_app.command("show")
def root_show(
    context: typer.Context,
    root: Annotated[
        Path, typer.Argument(metavar="ROOT", help="A root file, or a folder of them.")
    ],
    *,
    as_json: JsonFlag = False,
) -> None:
    """Check a root file and print its fingerprint again."""
    path = newest_root_path(root)
    data = read_root_file(path)
    try:
        facts = check_root(data, now=runtime_of(context).now)
    except RefusalError as error:
        raise error.inside(str(path)) from error
    _show_root(data, facts, path=path, as_json=as_json)


@site_app.command("issue")
def site_issue(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    *,
    key: Annotated[Path, typer.Option(help="The compliance key (.key).")],
    site: Annotated[str, typer.Option(help="Name of the site, such as blr-07.")],
    region: Annotated[str, typer.Option(help="Its region, such as in-blr.")],
    jurisdiction: Annotated[
        list[str],
        typer.Option(help="Whose law applies there, such as IN; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="File to make; it must not exist.")],
    expires: Annotated[str, typer.Option(help="Life of the certificate.")] = "365d",
    passphrase_file: PassphraseFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Sign a statement of where a host stands, for `sallyport site install`.

    The host's policies allow a model only in the regions its publisher named.
    """
    check_absent(out)
    runtime = runtime_of(context)
    now = whole_second(runtime.now)
    certificate = SiteCertificate(
        site=parse_token(site, option="--site"),
        region=parse_token(region, option="--region"),
        jurisdictions=tuple(sorted({parse_jurisdiction(one) for one in jurisdiction})),
        not_before=now,
        not_after=now + parse_days(expires),
    )
    signer = load_signer(key, Passphrases(file=passphrase_file, ask=runtime.ask))
    write_new_file(out, issue(certificate, signer), mode=0o644)
    show(
        {
            "out": str(out),
            "site": site,
            "region": region,
            "jurisdictions": list(certificate.jurisdictions),
            "not_after": format_moment(certificate.not_after),
            "key_id": signer.public_key.keyid,
        },
        (
            f"site certificate  {out}",
            f"site {site} in region {region}",
            f"under the law of {', '.join(certificate.jurisdictions)}",
            f"valid until {format_moment(certificate.not_after)}",
        ),
        as_json=as_json,
    )


def _show_root(data: bytes, facts: RootFacts, *, path: Path, as_json: bool) -> None:
    print_ = fingerprint(data)
    show(
        {
            "root": str(path),
            "channel": facts.channel,
            "version": facts.version,
            "threshold": facts.threshold,
            "root_keys": list(facts.root_keys),
            "compliance_keys": list(facts.compliance_keys),
            "expires": format_moment(facts.expires),
            "fingerprint": print_,
        },
        (
            f"root         {path}",
            f"channel      {facts.channel}, version {facts.version}",
            f"threshold    {facts.threshold} of {len(facts.root_keys)} root keys",
            f"expires      {format_moment(facts.expires)}",
            f"fingerprint  {grouped(print_)}",
        ),
        as_json=as_json,
    )
