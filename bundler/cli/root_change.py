"""Commands that change a trust root: add-key, remove-key, set-threshold, and more.

They edit the pending version beside the roots; ``root sign`` puts it in force.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bundleformat.errors import UsageError
from bundleformat.moments import format_moment, whole_second
from bundleformat.trust import fingerprint, grouped
from bundler.cli.arguments import parse_days
from bundler.cli.keys import PassphraseFile, PinFile
from bundler.cli.output import note, show
from bundler.cli.root import root_app
from bundler.cli.runtime import JsonFlag, runtime_of
from bundler.cli.sign import show_attached, signers_of
from bundler.rooms.subject import check_signable, open_subject, request_for
from bundler.rooms.view import subject_lines
from bundler.root_change_flow import (
    PendingRoot,
    cancel_change,
    change_root,
    read_pending,
)
from bundler.roots.change import AddKeys, Change, RemoveKeys, Renew, SetThreshold
from bundler.roots.pending import read_records
from bundler.roots.rules import HolderRole
from bundler.roots.standing import standing_value, standings_lines
from bundler.roots.words import change_lines, changes_value
from bundler.signing.keys import load_public_keys
from bundler.signing.passphrase import Passphrases
from bundler.signing_flow import request_of, sign_in_place

__all__ = ["root_app"]

RootFolder = Annotated[
    Path,
    typer.Argument(metavar="ROOT_FOLDER", help="The folder that `root init` made."),
]
RoleOption = Annotated[
    HolderRole, typer.Option(help="Whose: root, release, bundler or compliance.")
]


@root_app.command("add-key")
def root_add_key(
    context: typer.Context,
    root_folder: RootFolder,
    *,
    role: RoleOption,
    key: Annotated[
        list[Path],
        typer.Option(metavar="<path>", help="The new holder's key (.pub); repeatable."),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Give a role to one more holder, in the next version of the root.

    To replace a key, add the new one first and then remove the old one.
    """
    passphrases = Passphrases(file=None, ask=runtime_of(context).ask)
    changes = [
        AddKeys(role=role, keys=load_public_keys(path, passphrases)) for path in key
    ]
    _change(root_folder, changes, as_json=as_json)


@root_app.command("remove-key")
def root_remove_key(
    context: typer.Context,
    root_folder: RootFolder,
    *,
    role: RoleOption,
    key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="The holder's key (.pub); repeatable.",
            show_default=False,
        ),
    ] = None,
    key_id: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<str>",
            help="The id of a key whose file is lost, as `root show` prints it; "
            "repeatable. In a hybrid channel a holder has two.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take a role from a holder: hosts with the next root refuse their signatures.

    For a stolen key, carry the new root to every host in a trust-only bundle.
    """
    passphrases = Passphrases(file=None, ask=runtime_of(context).ask)
    ids = list(key_id or ())
    for path in key or ():
        ids += [one.keyid for one in load_public_keys(path, passphrases)]
    if not ids:
        raise UsageError("no key is named", where="--key")
    change = RemoveKeys(role=role, key_ids=tuple(ids))
    _change(root_folder, [change], as_json=as_json)


@root_app.command("set-threshold")
def root_set_threshold(
    root_folder: RootFolder,
    *,
    role: RoleOption,
    holders: Annotated[
        int, typer.Option(min=1, help="How many people of this role must sign.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Set how many holders of a role must sign, in the next version of the root."""
    change = SetThreshold(role=role, holders=holders)
    _change(root_folder, [change], as_json=as_json)


@root_app.command("renew")
def root_renew(
    context: typer.Context,
    root_folder: RootFolder,
    *,
    expires: Annotated[
        str, typer.Option(help="Life of the next root, from now on.")
    ] = "1095d",
    as_json: JsonFlag = False,
) -> None:
    """Let the next version of the root live longer; nothing else changes."""
    now = whole_second(runtime_of(context).now)
    _change(root_folder, [Renew(expires=now + parse_days(expires))], as_json=as_json)


@root_app.command("sign")
def root_sign(
    context: typer.Context,
    root_folder: RootFolder,
    *,
    key: Annotated[
        list[Path],
        typer.Option(metavar="<path>", help="A root key (.key); repeatable."),
    ],
    passphrase_file: PassphraseFile = None,
    pin_file: PinFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what the pending root changes, and sign it where it lies.

    Once enough holders have signed, it is in force and bundles carry it. Holders
    in another room use `sign --export`, `sign` and `attach` instead.
    """
    runtime = runtime_of(context)
    subject = open_subject(request_of(root_folder))
    check_signable(subject, now=runtime.now)
    if not as_json:
        for line in subject_lines(subject):
            note(line)
    passphrases = Passphrases(file=passphrase_file, ask=runtime.ask, pin_file=pin_file)
    signers = signers_of(key, passphrases)
    done = sign_in_place(root_folder, subject, signers, now=runtime.now)
    show_attached(done, as_json=as_json)


@root_app.command("status")
def root_status(root_folder: RootFolder, *, as_json: JsonFlag = False) -> None:
    """Say who has signed the pending root and who has still to, and the newest's."""
    records = read_records(root_folder)
    value: dict[str, Any] = {"root_folder": str(records.folder), "current": None}
    lines: list[str] = []
    if records.roots:
        newest = records.roots[-1]
        request = request_for("root", newest, roots=records.roots[:-1], manifest=None)
        subject = open_subject(request)
        expires = format_moment(subject.metadata.signed.expires)
        value["current"] = {
            "version": subject.version,
            "fingerprint": fingerprint(newest),
            "expires": expires,
            "standings": [standing_value(one) for one in subject.standings],
        }
        lines += (
            f"in force: root {subject.version} of channel {subject.channel}",
            f"expires      {expires}",
            f"fingerprint  {grouped(fingerprint(newest))}",
            *standings_lines(subject.standings),
        )
    pending = read_pending(root_folder)
    value["pending"] = _pending_value(pending) if pending else None
    lines += _pending_lines(pending) if pending else ("no change is pending",)
    show(value, tuple(lines), as_json=as_json)


@root_app.command("cancel")
def root_cancel(root_folder: RootFolder, *, as_json: JsonFlag = False) -> None:
    """Give up the pending change, and the signatures it has collected."""
    path = cancel_change(root_folder)
    show({"removed": str(path)}, (f"removed  {path}",), as_json=as_json)


def _change(root_folder: Path, changes: Sequence[Change], *, as_json: bool) -> None:
    pending = change_root(root_folder, changes)
    show(_pending_value(pending), tuple(_pending_lines(pending)), as_json=as_json)


def _pending_value(pending: PendingRoot) -> dict[str, Any]:
    return {
        "pending": str(pending.path),
        "version": pending.root.version,
        "expires": format_moment(pending.root.expires),
        "changes": changes_value(pending.changes),
        "dropped": list(pending.dropped),
        "standings": [standing_value(one) for one in pending.standings],
    }


def _pending_lines(pending: PendingRoot) -> Iterator[str]:
    yield f"pending: root {pending.root.version}, {pending.path}"
    yield from (f"  {line}" for line in change_lines(pending.changes))
    if pending.dropped:
        yield "This change drops the signatures collected so far, by"
        yield from (f"  {key_id}" for key_id in pending.dropped)
    yield from standings_lines(pending.standings)
    yield f"next: sallyport-bundler root sign {pending.path.parent} --key X.key"
