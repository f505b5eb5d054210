"""Signs roots and bundles where the keys are, and brings the signatures back.

One way for both: a *target* (a folder with a pending root, or a draft) becomes a
request; whoever holds a key opens it, sees what it is, and signs; the signatures
are checked one by one and attached. Signing in place is the same with nothing
carried. A root that is fully signed is in force from that moment on.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from securesystemslib.signer import Signer

from bundleformat.errors import (
    ConflictError,
    LimitExceededError,
    MissingError,
    RefusalError,
    StorageFaultError,
)
from bundler.in_place import locked, replace_file
from bundler.rooms.draft import Draft, draft_request, is_bundle_folder, read_draft
from bundler.rooms.files import (
    MAX_REQUEST_BYTES,
    MAX_SIGNATURE_FILE_BYTES,
    SignatureFile,
    SigningRequest,
    parse_request,
    parse_signatures,
)
from bundler.rooms.signatures import Merged, merge_signatures, sign_subject
from bundler.rooms.subject import (
    Subject,
    check_enough,
    check_signable,
    open_subject,
    request_for,
)
from bundler.roots.pending import (
    RootRecords,
    is_root_folder,
    pending_of,
    put_in_force,
    read_records,
    write_pending,
)
from bundler.roots.standing import is_complete

Named = tuple[str, SignatureFile]
"""A signature file, and the name that errors call it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attached:
    """What attaching signatures came to.

    Attributes:
        subject: What was signed, with every signature it has now.
        added: Ids of the keys whose signatures are new.
        known: Ids of those that were there already.
        in_force: The root file, if that is a fully signed root now; or None.
    """

    subject: Subject
    added: tuple[str, ...]
    known: tuple[str, ...]
    in_force: Path | None

    @property
    def complete(self) -> bool:
        """Whether enough holders have signed."""
        return is_complete(self.subject.standings)


def request_of(target: Path) -> SigningRequest:
    """Return the request to sign what lies in a root folder or a draft.

    Raises:
        MissingError: It is neither, or no change of the root is pending.
        ConflictError: The bundle is complete.
        MalformedError, LimitExceededError, StorageFaultError: It cannot be read.
    """
    _check_is_target(target)
    if is_bundle_folder(target):
        draft = read_draft(target)
        if draft.finished:
            raise ConflictError(
                "this bundle is complete",
                where=str(target),
                hint="A signature added now would make it void.",
            )
        return draft_request(draft)
    return _pending_request(read_records(target))


def read_subject(request_file: Path) -> Subject:
    """Return what the request in a file asks to sign, checked.

    Raises:
        MissingError, StorageFaultError: It cannot be read.
        RefusalError: As ``parse_request`` and ``open_subject``.
    """
    data = read_capped(request_file, max_bytes=MAX_REQUEST_BYTES)
    try:
        return open_subject(parse_request(data))
    except RefusalError as error:
        raise error.inside(str(request_file)) from error


def read_signature_files(paths: Sequence[Path]) -> tuple[Named, ...]:
    """Return what rooms have answered.

    Raises:
        MissingError, StorageFaultError: A file cannot be read.
        MalformedError, LimitExceededError: One is no signature file.
    """
    files = []
    for path in paths:
        data = read_capped(path, max_bytes=MAX_SIGNATURE_FILE_BYTES)
        try:
            files.append((str(path), parse_signatures(data)))
        except RefusalError as error:
            raise error.inside(str(path)) from error
    return tuple(files)


def sign_in_place(
    target: Path, subject: Subject, signers: Sequence[Signer], *, now: dt.datetime
) -> Attached:
    """Sign what lies in a root folder or a draft, where it lies.

    ``subject`` is what was shown to the holder. Should the folder say something
    else by now, the signatures do not fit it, and are refused like any others.

    Raises:
        KeyFileError: The key may not sign this.
        RefusalError: As ``attach``.
    """
    file = sign_subject(subject, signers)
    return attach(target, [("signature", file)], now=now)


def attach(
    target: Path,
    files: Sequence[Named],
    *,
    now: dt.datetime,
    must_suffice: bool = False,
) -> Attached:
    """Put signatures that were made elsewhere where they belong.

    All of them are checked before anything is written. What is there already
    changes nothing, also where it came to be complete in the meantime. With
    ``must_suffice`` nothing is written unless enough holders have signed then.

    Raises:
        ConflictError: A file was made over something else, or another command is
            changing the folder.
        SignatureError: A key that may not sign, a signature that is not its, or too
            few of them.
        ExpiredError: What is signed has expired at ``now``.
        MissingError: There is nothing to sign.
        StorageFaultError: It cannot be written; nothing changed.
    """
    _check_is_target(target)
    with locked(target):
        if is_bundle_folder(target):
            return _attach_to_draft(
                read_draft(target), files, now=now, must_suffice=must_suffice
            )
        return _attach_to_root(read_records(target), files, now=now)


def read_capped(path: Path, *, max_bytes: int) -> bytes:
    """Return the bytes of a file that was carried here.

    Raises:
        MissingError: There is no such file.
        LimitExceededError: Longer than ``max_bytes``; no more than that was read.
        StorageFaultError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise MissingError("no such file", where=str(path)) from error
    except OSError as error:
        raise StorageFaultError(
            "cannot be read", where=str(path), actual=error.strerror or str(error)
        ) from error
    if len(data) > max_bytes:
        raise LimitExceededError(
            "too long", where=str(path), expected=f"at most {max_bytes} bytes"
        )
    return data


def _pending_request(records: RootRecords) -> SigningRequest:
    return request_for("root", pending_of(records), roots=records.roots, manifest=None)


def _attach_to_draft(
    draft: Draft, files: Sequence[Named], *, now: dt.datetime, must_suffice: bool
) -> Attached:
    request = draft_request(draft)
    subject = open_subject(request)
    merged = merge_signatures(subject, files)
    if draft.finished:
        # The snapshot names the targets byte for byte.
        _check_nothing_new(merged, where=str(draft.folder))
        return _attached(request, merged)
    check_signable(subject, now=now)
    done = _attached(request, merged)
    if must_suffice:
        check_enough(done.subject)
    if merged.added:
        replace_file(draft.targets_file, merged.metadata)
    return done


def _attach_to_root(
    records: RootRecords, files: Sequence[Named], *, now: dt.datetime
) -> Attached:
    if records.pending is None:
        return _attach_to_newest(records, files)
    request = _pending_request(records)
    subject = open_subject(request)
    check_signable(subject, now=now)
    merged = merge_signatures(subject, files)
    done = _attached(request, merged)
    if done.complete:
        return replace(done, in_force=put_in_force(records, merged.metadata))
    if merged.added:
        write_pending(records, merged.metadata)
    return done


def _attach_to_newest(records: RootRecords, files: Sequence[Named]) -> Attached:
    newest, before = records.roots[-1], records.roots[:-1]
    request = request_for("root", newest, roots=before, manifest=None)
    if any(file.payload_sha256 != request.payload_sha256 for _, file in files):
        pending_of(records)
    merged = merge_signatures(open_subject(request), files)
    path = records.folder / f"{len(records.roots)}.root.json"
    # Its fingerprint is that of its file, and may have been told to hosts.
    _check_nothing_new(merged, where=str(path))
    return replace(_attached(request, merged), in_force=path)


def _check_nothing_new(merged: Merged, *, where: str) -> None:
    if merged.added:
        raise ConflictError(
            "complete without this signature",
            where=where,
            actual=", ".join(merged.added),
            hint="Nothing is left to do; a signature added now would change its bytes.",
        )


def _attached(request: SigningRequest, merged: Merged) -> Attached:
    return Attached(
        subject=open_subject(replace(request, metadata=merged.metadata)),
        added=merged.added,
        known=merged.known,
        in_force=None,
    )


def _check_is_target(target: Path) -> None:
    if not is_bundle_folder(target) and not is_root_folder(target):
        raise MissingError(
            "neither a root folder nor a bundle",
            where=str(target),
            hint="Name the folder that `root init` made, or the draft that `build` "
            "made.",
        )
