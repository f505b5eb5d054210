"""Commands for signing rooms: sign, attach.

What is signed is shown first, in plain words, and a person says yes to it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from securesystemslib.signer import Signer

from bundleformat.errors import UsageError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.trust import fingerprint, grouped
from bundler.cli.inspect import show_bundle
from bundler.cli.keys import PassphraseFile, PinFile
from bundler.cli.next_steps import transfer_lines
from bundler.cli.output import meter, note, show
from bundler.cli.runtime import JsonFlag, Runtime, runtime_of
from bundler.draft_flow import attach_and_complete
from bundler.pack import check_absent, write_new_file
from bundler.rooms.draft import is_bundle_folder
from bundler.rooms.files import SignatureFile, encode_request, encode_signatures
from bundler.rooms.signatures import sign_subject
from bundler.rooms.subject import (
    Subject,
    check_own_record,
    check_signable,
    open_subject,
)
from bundler.rooms.view import subject_lines, subject_value
from bundler.roots.folder import newest_root_path, read_root_file, read_root_folder
from bundler.roots.standing import standing_value, standings_lines
from bundler.signing.keys import load_signers
from bundler.signing.passphrase import Passphrases
from bundler.signing_flow import (
    Attached,
    read_signature_files,
    read_subject,
    request_of,
    sign_in_place,
)
from bundler.signing_flow import (
    attach as attach_signatures,
)


def sign(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET",
            help="A root folder with a pending root, a draft bundle, or a request "
            "that `--export` wrote from one.",
        ),
    ],
    *,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Write the request for a signing room here; it must not exist.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="Sign with this key (.key); repeatable.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="For a request: the signature file to make; it must not exist.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Your own record of a root of this channel: what is signed must "
            "follow from it.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; you have seen what it is.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    pin_file: PinFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what is to be signed, and sign it: here, or in a room without a network.

    Without --export and --key it only shows. To sign where the key is: write a
    request with --export, carry it there, `sign` it with --key and --out, carry the
    signature file back, and `attach` it.
    """
    is_request = target.is_file()
    _check_options(is_request=is_request, export=export, key=key, out=out)
    for path in (export, out):
        if path is not None:
            check_absent(path)
    runtime = runtime_of(context)
    request = None if is_request else request_of(target)
    subject = open_subject(request) if request else read_subject(target)
    if root is not None:
        check_own_record(subject, read_root_file(newest_root_path(root)))
    if export is not None and request is not None:
        write_new_file(export, encode_request(request), mode=0o644)
    if not key:
        show_subject(subject, export=export, as_json=as_json)
        return
    check_signable(subject, now=runtime.now)
    if not (yes and as_json):
        for line in subject_lines(subject):
            note(line)
    if not yes:
        _confirm(runtime, subject)
    passphrases = Passphrases(file=passphrase_file, ask=runtime.ask, pin_file=pin_file)
    signers = signers_of(key, passphrases)
    if out is None:
        done = sign_in_place(target, subject, signers, now=runtime.now)
        show_attached(done, as_json=as_json)
        return
    file = sign_subject(subject, signers)
    write_new_file(out, encode_signatures(file), mode=0o644)
    _show_signatures(subject, file, out=out, as_json=as_json)


def attach(
    context: typer.Context,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET", help="The root folder or the draft that was exported."
        ),
    ],
    signatures: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SIGNATURES", help="Files that `sign --out` wrote."),
    ] = None,
    *,
    bundler_key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="For a draft: complete it with this bundler key (.key); repeatable.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="For a draft: the folder `root init` made; the draft must carry the "
            "newest root in it.",
            show_default=False,
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    pin_file: PinFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Check signatures that were made elsewhere, and put them where they belong.

    A root that enough holders have signed is in force at once. A draft is complete
    when a bundler key has signed, too; the whole bundle is verified then.
    """
    if not signatures and not bundler_key:
        raise UsageError("nothing to attach", where="SIGNATURES")
    if bundler_key and not is_bundle_folder(target):
        raise UsageError("only a draft takes a bundler key", where="--bundler-key")
    runtime = runtime_of(context)
    files = read_signature_files(signatures or ())
    if not bundler_key:
        show_attached(
            attach_signatures(target, files, now=runtime.now), as_json=as_json
        )
        return
    passphrases = Passphrases(file=passphrase_file, ask=runtime.ask, pin_file=pin_file)
    signers = signers_of(bundler_key, passphrases)
    with meter(as_json=as_json) as shown:
        bundle = attach_and_complete(
            target,
            files,
            bundler=signers,
            now=runtime.now,
            limits=DEFAULT_LIMITS,
            meter=shown,
            roots=read_root_folder(root) if root is not None else None,
        )
    show_bundle(
        bundle,
        target,
        f"complete and verified: {target}",
        *transfer_lines(target, root=root),
        as_json=as_json,
    )


def signers_of(paths: Sequence[Path], passphrases: Passphrases) -> tuple[Signer, ...]:
    """Return the signers of all these holders.

    Raises:
        KeyFileError, UsageError: As ``load_signers``.
    """
    return tuple(one for path in paths for one in load_signers(path, passphrases))


def show_draft(folder: Path, *, as_json: bool) -> None:
    """Print what a draft delivers, and who has still to sign it."""
    show_subject(open_subject(request_of(folder)), draft=folder, as_json=as_json)


def show_subject(
    subject: Subject,
    *,
    as_json: bool,
    export: Path | None = None,
    draft: Path | None = None,
) -> None:
    """Print what is to be signed, and what comes next."""
    value, lines = subject_value(subject), list(subject_lines(subject))
    if export is not None:
        value["request"] = str(export)
        room = f"sallyport-bundler sign {export.name} --key X.key --out X.signatures"
        lines += (f"request       {export}", f"next, in the room: {room}")
    if draft is not None:
        value["draft"] = str(draft)
        lines += (
            f"draft         {draft}: no host takes it yet",
            f"next: sallyport-bundler sign {draft} --export REQUEST.json, or",
            f"      sallyport-bundler sign {draft} --key release.key",
        )
    show(value, tuple(lines), as_json=as_json)


def show_attached(done: Attached, *, as_json: bool) -> None:
    """Print what came of new signatures on a root or on a draft."""
    value: dict[str, Any] = {
        "role": done.subject.role,
        "version": done.subject.version,
        "added": list(done.added),
        "known": list(done.known),
        "complete": done.complete,
        "standings": [standing_value(one) for one in done.subject.standings],
        "in_force": str(done.in_force) if done.in_force else None,
    }
    lines = [
        *(f"attached   {key_id}" for key_id in done.added),
        *(f"was there  {key_id}" for key_id in done.known),
        *standings_lines(done.subject.standings),
    ]
    if done.in_force is not None:
        print_ = fingerprint(read_root_file(done.in_force))
        value["fingerprint"] = print_
        lines += (
            f"root {done.subject.version} is in force: {done.in_force}",
            f"fingerprint  {grouped(print_)}",
            "Every bundle from now on carries it; `trust-bundle` carries it alone.",
        )
    elif done.complete:
        lines.append("enough release holders have signed; a bundler key completes it:")
        lines.append("  sallyport-bundler attach DRAFT --bundler-key bundler.key")
    show(value, tuple(lines), as_json=as_json)


def _check_options(
    *,
    is_request: bool,
    export: Path | None,
    key: list[Path] | None,
    out: Path | None,
) -> None:
    if export is not None and (is_request or key or out):
        raise UsageError(
            "a request is written from a folder, and by itself",
            where="--export",
            hint="`sign FOLDER --export REQUEST`, then in the room `sign REQUEST "
            "--key K --out SIGNATURES`.",
        )
    if is_request and bool(key) != (out is not None):
        raise UsageError(
            "a request is signed with --key and --out together", where="--out"
        )
    if not is_request and out is not None:
        raise UsageError(
            "a folder is signed in its place",
            where="--out",
            hint="Leave --out away, or name a request that --export wrote.",
        )


def _confirm(runtime: Runtime, subject: Subject) -> None:
    if runtime.answer is None:
        raise UsageError(
            "nobody is there to say yes",
            where="--yes",
            hint="Run this at a terminal, or name --yes once somebody has read what "
            "it shows.",
        )
    question = f"Sign version {subject.version} of {subject.channel}? Type yes: "
    if runtime.answer(question).strip() != "yes":
        raise UsageError("not confirmed; nothing was signed", where=subject.role)


def _show_signatures(
    subject: Subject, file: SignatureFile, *, out: Path, as_json: bool
) -> None:
    key_ids = [one.key_id for one in file.signatures]
    back = f"sallyport-bundler attach TARGET {out.name}"
    show(
        {**subject_value(subject), "signatures": str(out), "signed_by": key_ids},
        (
            *(f"signed by   {key_id}" for key_id in key_ids),
            f"signatures  {out}",
            f"next: carry it back, and there: {back}",
        ),
        as_json=as_json,
    )
