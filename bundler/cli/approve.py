"""``sallyport-bundler site approve``: a second person allows one act on one host."""

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from bundleformat.approval import Approval, Ask, issue, parse_ask
from bundleformat.errors import ExpiredError, MissingError, UsageError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.moments import format_moment, whole_second
from bundler.cli.keys import PassphraseFile, PinFile
from bundler.cli.output import note, show
from bundler.cli.runtime import JsonFlag, Runtime, runtime_of
from bundler.pack import check_absent, write_new_file
from bundler.signing.keys import load_signers
from bundler.signing.passphrase import Passphrases


def site_approve(
    context: typer.Context,
    ask: Annotated[
        Path, typer.Argument(metavar="ASK", help="What the host asks leave for.")
    ],
    *,
    key: Annotated[Path, typer.Option(help="The compliance key (.key).")],
    out: Annotated[Path, typer.Option(help="File to make; it must not exist.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; you have read what it says.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    pin_file: PinFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Approve what a host asks leave for: to read or erase texts, or end a hold.

    Shows the act, with what, why and who asked, and signs exactly that. It can be
    done once, until the ask expires, by the account that asked.
    """
    check_absent(out)
    runtime = runtime_of(context)
    asked = _read(ask)
    if runtime.now >= asked.expires:
        raise ExpiredError(
            "nobody can use an approval of this ask any more",
            where=str(ask),
            expected=f"a time before {format_moment(asked.expires)}",
            actual=format_moment(whole_second(runtime.now)),
            hint="Have it asked again on the host, with --ask.",
        )
    if not yes:
        _check_confirmed(runtime, asked)
    elif not as_json:
        _tell(asked)
    passphrases = Passphrases(file=passphrase_file, ask=runtime.ask, pin_file=pin_file)
    signers = load_signers(key, passphrases)
    approval = Approval(ask=asked, issued=whole_second(runtime.now))
    write_new_file(out, issue(approval, *signers), mode=0o644)
    show(
        {
            "out": str(out),
            "log": asked.log,
            "act": str(asked.act),
            "values": dict(asked.values),
            "reason": asked.reason,
            "asked_by": asked.asked_by,
            "expires": format_moment(asked.expires),
            "key_ids": [signer.public_key.keyid for signer in signers],
        },
        (
            f"approval  {out}",
            f"for {asked.act}, once, until {format_moment(asked.expires)}",
            "on the host: the same command with --approval FILE instead of --ask",
        ),
        as_json=as_json,
    )


def _read(path: Path) -> Ask:
    try:
        with path.open("rb") as file:
            data = file.read(DEFAULT_LIMITS.site_certificate_bytes + 1)
    except OSError as error:
        raise MissingError(
            "the file cannot be read", where=str(path), actual=error.strerror or ""
        ) from error
    return parse_ask(data, limits=DEFAULT_LIMITS)


def _lines(asked: Ask) -> tuple[str, ...]:
    rows = [
        ("act", str(asked.act)),
        *((name.replace("_", " "), text) for name, text in asked.values.items()),
        *((name.replace("_", " "), text) for name, text in asked.facts.items()),
        ("reason", asked.reason),
        ("asked by", asked.asked_by),
        ("asked", format_moment(asked.asked)),
        ("expires", format_moment(asked.expires)),
        ("ledger", asked.log),
        ("records", asked.size),
        ("root", asked.root),
    ]
    return tuple(line for name, text in rows for line in _wrapped(name, text))


def _wrapped(name: str, text: str) -> list[str]:
    parts = textwrap.wrap(text, width=72, break_on_hyphens=False) or [""]
    heads = [name.ljust(16), *[" " * 16] * (len(parts) - 1)]
    return [head + part for head, part in zip(heads, parts, strict=True)]


def _tell(asked: Ask) -> None:
    for line in _lines(asked):
        note(line)


def _check_confirmed(runtime: Runtime, asked: Ask) -> None:
    if runtime.answer is None:
        raise UsageError(
            "nobody is there to say yes",
            where="--yes",
            hint="Run this at a terminal, or name --yes once somebody has read what "
            "it shows.",
        )
    _tell(asked)
    question = f"Approve {asked.act} on this host, for this reason? Type yes: "
    if runtime.answer(question).strip() != "yes":
        raise UsageError("not confirmed; nothing was signed", where=str(asked.act))
