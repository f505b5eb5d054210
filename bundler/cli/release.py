"""``sallyport-bundler site release``: the security officer lets a halted host go on."""

from pathlib import Path
from typing import Annotated

import typer

from bundleformat.errors import MalformedError, UsageError
from bundleformat.ledger_release import Cause, LedgerRelease, issue
from bundleformat.moments import format_moment, whole_second
from bundler.cli.keys import PassphraseFile, PinFile
from bundler.cli.output import show
from bundler.cli.runtime import JsonFlag, runtime_of
from bundler.pack import check_absent, write_new_file
from bundler.signing.keys import load_signers
from bundler.signing.passphrase import Passphrases


def site_release(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    *,
    key: Annotated[Path, typer.Option(help="The compliance key (.key).")],
    log: Annotated[
        str, typer.Option(help="Origin of the ledger, as the host shows it.")
    ],
    halt: Annotated[int, typer.Option(min=1, help="Number of the halt.")],
    cause: Annotated[Cause, typer.Option(help="Its cause.")],
    halted: Annotated[
        str, typer.Option(help="When it began, as the host shows it, to the digit.")
    ],
    reason: Annotated[
        str, typer.Option(help="Why the host may go on; it will be on record there.")
    ],
    out: Annotated[Path, typer.Option(help="File to make; it must not exist.")],
    passphrase_file: PassphraseFile = None,
    pin_file: PinFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Sign that a halted ledger may go on, for `sallyport audit release`.

    `sallyport audit status` on the host shows the halt, and this command with its
    values. Find out what happened before you sign: for the causes rolled-back,
    not-continuing and clock-back your signature accepts what the host cannot undo.
    """
    check_absent(out)
    runtime = runtime_of(context)
    release = LedgerRelease(
        log=log,
        halt=halt,
        cause=cause,
        halted=halted,
        reason=reason,
        issued=whole_second(runtime.now),
    )
    passphrases = Passphrases(file=passphrase_file, ask=runtime.ask, pin_file=pin_file)
    signers = load_signers(key, passphrases)
    try:
        envelope = issue(release, *signers)
    except MalformedError as error:
        raise UsageError(
            "not what a release can say",
            where=f"--{error.where.rpartition('.')[2]}",
            expected=error.expected,
            hint="Copy the values from `sallyport audit status` on the host.",
        ) from error
    write_new_file(out, envelope, mode=0o644)
    show(
        {
            "out": str(out),
            "log": log,
            "halt": halt,
            "cause": str(cause),
            "reason": reason,
            "issued": format_moment(release.issued),
            "key_ids": [signer.public_key.keyid for signer in signers],
        },
        (
            f"ledger release  {out}",
            f"ends halt {halt} ({cause}) of {log}",
            "on the host: sallyport audit release FILE",
        ),
        as_json=as_json,
    )
