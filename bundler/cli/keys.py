"""Commands about keys: keygen, site issue."""

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from bundleformat.errors import UsageError
from bundleformat.moments import format_moment, whole_second
from bundleformat.retention import Kept, period
from bundleformat.site_certificate import SiteCertificate, issue
from bundler.cli.arguments import (
    parse_days,
    parse_jurisdiction,
    parse_key_name,
    parse_token,
)
from bundler.cli.output import show
from bundler.cli.retention import (
    BodiesDays,
    Presets,
    RecordsDays,
    parse_retention,
    retention_line,
)
from bundler.cli.runtime import JsonFlag, runtime_of
from bundler.pack import check_absent, write_new_file
from bundler.signing.holder import check_holder
from bundler.signing.hsm import DEFAULT_MODULE, find_token_key
from bundler.signing.keys import (
    KeyPair,
    create_key,
    load_signers,
    refer_to_token,
)
from bundler.signing.passphrase import Passphrases

site_app: Final = typer.Typer(
    no_args_is_help=True,
    help="Certify where an isolated host stands, let a halted one go on, and approve "
    "what its operators ask leave for.",
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

PinFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the PIN of a token in its one line, readable only by you. "
        "Without it, you are asked at the terminal.",
        show_default=False,
    ),
]
"""Where the PIN of a token comes from; never an argument or a variable."""

KeyKind = Literal["ed25519", "ml-dsa-87", "hybrid", "pkcs11"]
"""What keygen makes."""


def keygen(  # noqa: PLR0913 - one parameter per option
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
    kind: Annotated[
        KeyKind,
        typer.Option(
            help="ed25519; ml-dsa-87, which no quantum computer is known to break; "
            "hybrid, one of each, where both must sign; pkcs11, a P-256 or P-384 key "
            "that lies in a token already."
        ),
    ] = "ed25519",
    token: Annotated[
        str | None, typer.Option(help="With pkcs11: label of the token.")
    ] = None,
    object_label: Annotated[
        str | None, typer.Option("--object", help="With pkcs11: label of the key.")
    ] = None,
    module: Annotated[
        Path,
        typer.Option(help="With pkcs11: the library that came with the token."),
    ] = DEFAULT_MODULE,
    holder: Annotated[
        str,
        typer.Option(
            help="Whose key it is, such as 'Anna Berg'. The name goes with the key "
            "into every root, which is public; `root status` shows it.",
            show_default=False,
        ),
    ] = "",
    passphrase_file: PassphraseFile = None,
    pin_file: PinFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key pair, or refer to one in a token.

    Every holder of a role needs one: root (offline), release, bundler, and
    compliance for site certificates.
    """
    passphrases = Passphrases(
        file=passphrase_file, ask=runtime_of(context).ask, pin_file=pin_file
    )
    stem = parse_key_name(name)
    if holder:
        check_holder(holder, where="--holder")
    _check_options(kind, token=token, object_label=object_label)
    if kind == "pkcs11":
        pair = refer_to_token(
            stem,
            find_token_key(
                module=module,
                token=token or "",
                label=object_label or "",
                passphrases=passphrases,
            ),
            holder=holder,
        )
    else:
        pair = create_key(stem, passphrases, kind=kind, holder=holder)
    _show_pair(pair, kind, holder=holder, as_json=as_json)


def _check_options(
    kind: KeyKind, *, token: str | None, object_label: str | None
) -> None:
    """Check that a token is named exactly where one is used.

    Raises:
        UsageError: It is not.
    """
    for option, value in (("--token", token), ("--object", object_label)):
        if (kind == "pkcs11") != bool(value):
            raise UsageError(
                "missing" if kind == "pkcs11" else "only for keys in a token",
                where=option,
                hint="`keygen NAME --kind pkcs11 --token LABEL --object LABEL` refers "
                "to a key that was made in a token.",
            )


def _show_pair(pair: KeyPair, kind: KeyKind, *, holder: str, as_json: bool) -> None:
    kept = "(says where the key lies)" if kind == "pkcs11" else "(keep it here)"
    show(
        {
            "kind": kind,
            "holder": holder,
            "key_ids": list(pair.key_ids),
            "private": str(pair.private_path),
            "public": str(pair.public_path),
        },
        (
            f"private key  {pair.private_path}  {kept}",
            f"public key   {pair.public_path}",
            *(f"key id       {key_id}" for key_id in pair.key_ids),
            *((f"holder       {holder}",) if holder else ()),
        ),
        as_json=as_json,
    )


@site_app.command("issue")
def site_issue(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    *,
    key: Annotated[Path, typer.Option(help="The compliance key (.key).")],
    site: Annotated[str, typer.Option(help="Name of the site, such as blr-07.")],
    region: Annotated[str, typer.Option(help="Its region, such as in-blr.")],
    jurisdiction: Annotated[
        list[str],
        typer.Option(
            metavar="<str>", help="Whose law applies there, such as IN; repeatable."
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to make; it must not exist.")],
    expires: Annotated[str, typer.Option(help="Life of the certificate.")] = "365d",
    retention: Presets = None,
    records_days: RecordsDays = 0,
    bodies_days: BodiesDays = 0,
    passphrase_file: PassphraseFile = None,
    pin_file: PinFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Sign a statement of where a host stands, for `sallyport site install`.

    The host's policies allow a model only in the regions its publisher named. With
    --retention the host may prune what is older than all of the presets ask for.
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
        retention=parse_retention(
            retention or (), records_days=records_days, bodies_days=bodies_days
        ),
    )
    passphrases = Passphrases(file=passphrase_file, ask=runtime.ask, pin_file=pin_file)
    signers = load_signers(key, passphrases)
    write_new_file(out, issue(certificate, *signers), mode=0o644)
    show(
        {
            "out": str(out),
            "site": site,
            "region": region,
            "jurisdictions": list(certificate.jurisdictions),
            "not_after": format_moment(certificate.not_after),
            "retention": {
                str(kept): period(certificate.retention, kept).days for kept in Kept
            },
            "key_ids": [signer.public_key.keyid for signer in signers],
        },
        (
            f"site certificate  {out}",
            f"site {site} in region {region}",
            f"under the law of {', '.join(certificate.jurisdictions)}",
            f"valid until {format_moment(certificate.not_after)}",
            *(
                retention_line(certificate.retention, kept)
                for kept in Kept
                if certificate.retention is not None
            ),
        ),
        as_json=as_json,
    )
