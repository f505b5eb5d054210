"""Completes a draft: the bundler signs which version is newest.

read -> check that enough release holders have signed -> sign snapshot and
timestamp -> verify the whole with the host's code -> write them.

The timestamp is written last, by one rename; until then the folder is a draft,
whatever happens to the machine.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from securesystemslib.signer import Signer

from bundleformat.errors import ConflictError
from bundleformat.limits import Limits
from bundleformat.paths import ArchivePath
from bundleformat.verify import VerifiedBundle
from bundleformat.volume import Volume
from bundler.in_place import locked, replace_file
from bundler.own_output import verify_own_output
from bundler.progress import Meter
from bundler.rooms.draft import Draft, draft_request, read_draft
from bundler.rooms.overlay import Overlay
from bundler.rooms.subject import (
    Subject,
    check_enough,
    check_signable,
    open_subject,
)
from bundler.roots.folder import check_may_sign
from bundler.signing.publish import snapshot_and_timestamp
from bundler.signing_flow import Named, attach


def attach_and_complete(
    folder: Path,
    files: Sequence[Named],
    *,
    bundler: Sequence[Signer],
    now: dt.datetime,
    limits: Limits,
    meter: Meter,
    roots: tuple[bytes, ...] | None = None,
) -> VerifiedBundle:
    """Attach the last signatures to a draft and complete it; return the bundle.

    A bundle that is complete already is verified once more. ``roots`` are those in
    force now, if they are at hand: a root may have changed since the draft was
    built, and hosts that know the new one could refuse what the old one allows.

    Raises:
        ConflictError: The draft does not carry ``roots``.
        RefusalError: As ``attach`` and ``complete_draft``; nothing was attached
            unless a host would refuse the bundle for another reason.
        StorageFaultError: It cannot be written; it still is a draft.
    """
    draft = read_draft(folder, limits=limits)
    _check_newest(draft, roots or draft.roots)
    check_may_sign(draft.roots, release=(), bundler=bundler, now=now)
    attach(folder, files, now=now, must_suffice=True)
    if draft.finished:
        with Volume(folder) as volume:
            return verify_own_output(
                volume, roots=draft.roots, now=now, limits=limits, meter=meter
            )
    return complete_draft(folder, bundler=bundler, now=now, limits=limits, meter=meter)


def complete_draft(
    folder: Path,
    *,
    bundler: Sequence[Signer],
    now: dt.datetime,
    limits: Limits,
    meter: Meter,
) -> VerifiedBundle:
    """Write snapshot and timestamp of the draft in ``folder``; return the bundle.

    Raises:
        ConflictError: It is complete already.
        SignatureError: Too few release holders have signed.
        KeyFileError: A key is no bundler key.
        UsageError: More bundler holders must sign.
        ExpiredError: The root or the bundle has expired at ``now``.
        RefusalError: A host would refuse the bundle; it still is a draft.
        StorageFaultError: It cannot be written; it still is a draft.
    """
    with locked(folder):
        draft = read_draft(folder, limits=limits)
        if draft.finished:
            raise ConflictError(
                "this bundle is complete", where=str(folder), hint="Nothing to do."
            )
        subject = open_subject(draft_request(draft))
        check_signable(subject, now=now)
        check_enough(subject)
        check_may_sign(draft.roots, release=(), bundler=bundler, now=now)
        files = _last_files(draft, subject, bundler=bundler)
        with Volume(folder) as volume:
            bundle = verify_own_output(
                Overlay(volume, dict(files)),
                roots=draft.roots,
                now=now,
                limits=limits,
                meter=meter,
            )
        for path, data in files:
            replace_file(folder / path, data)
        return bundle


def _check_newest(draft: Draft, roots: tuple[bytes, ...]) -> None:
    if draft.roots != roots:
        raise ConflictError(
            "the root has changed since this draft was built",
            where=str(draft.folder),
            expected=f"roots 1 to {len(roots)}",
            actual=f"roots 1 to {len(draft.roots)}",
            hint="Build the draft again; it will carry the new root.",
        )


def _last_files(
    draft: Draft, subject: Subject, *, bundler: Sequence[Signer]
) -> tuple[tuple[ArchivePath, bytes], ...]:
    if subject.manifest is None:
        raise RuntimeError("a draft was opened without its manifest")
    return snapshot_and_timestamp(
        draft.targets,
        version=draft.version,
        expires=subject.metadata.signed.expires,
        digest=subject.manifest.digest,
        signers=bundler,
    )
