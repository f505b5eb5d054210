"""Changes a root: edits its next version, and says which signatures that costs.

read -> begin version N+1, or take the pending one -> make the change -> check it
as a holder's room will -> write it beside the roots.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tuf.api.metadata import Root

from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.trust import parse_root
from bundler.in_place import locked
from bundler.rooms.subject import open_subject, request_for
from bundler.roots.change import Change, begin_next, changed
from bundler.roots.pending import (
    RootRecords,
    pending_of,
    read_records,
    remove_pending,
    write_pending,
)
from bundler.roots.standing import Standing
from bundler.roots.words import RootChanges, changes_between


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingRoot:
    """The next version of a root.

    Attributes:
        path: Where it lies.
        root: What it says.
        changes: What it changes against the version in force.
        standings: Who has signed it, and who has still to.
        dropped: Ids of the keys whose signatures the last change dropped.
    """

    path: Path
    root: Root
    changes: RootChanges
    standings: tuple[Standing, ...]
    dropped: tuple[str, ...]


def change_root(place: Path, changes: Sequence[Change]) -> PendingRoot:
    """Make all ``changes`` to the pending root in a folder, or begin one with them.

    Raises:
        MissingError: No root is there, or a key to remove does not hold the role.
        ConflictError: It changes nothing, or another command is at work there.
        RootRuleError: The root would break a rule that every root keeps.
        SignatureError: A root in force does not follow from the one before.
        MalformedError, LimitExceededError: A file there is no root.
        StorageFaultError: It cannot be read or written.
    """
    folder = _folder(place)
    with locked(folder):
        records = read_records(folder)
        before = records.pending or begin_next(records.roots[-1])
        after = before
        for change in changes:
            after = changed(after, change)
        # Also checks that the roots in force follow from one another.
        pending = _pending_root(records, after)
        write_pending(records, after)
    return replace(pending, dropped=_signed_by(before))


def read_pending(place: Path) -> PendingRoot | None:
    """Return the pending root in a folder, or None.

    Raises:
        RefusalError, StorageFaultError: As ``change_root``.
    """
    records = read_records(place)
    if records.pending is None:
        return None
    return _pending_root(records, records.pending)


def cancel_change(place: Path) -> Path:
    """Remove the pending root from a folder; return where it was.

    Raises:
        MissingError: There is none.
        ConflictError: Another command is at work there.
        StorageFaultError: It cannot be removed.
    """
    folder = _folder(place)
    with locked(folder):
        records = read_records(folder)
        pending_of(records)
        remove_pending(records)
    return records.pending_path


def _folder(place: Path) -> Path:
    return place.parent if place.is_file() else place


def _pending_root(records: RootRecords, data: bytes) -> PendingRoot:
    request = request_for("root", data, roots=records.roots, manifest=None)
    subject = open_subject(request)
    root = parse_root(data, where="root", limits=DEFAULT_LIMITS).signed
    return PendingRoot(
        path=records.pending_path,
        root=root,
        changes=changes_between(subject.root, root),
        standings=subject.standings,
        dropped=(),
    )


def _signed_by(root: bytes) -> tuple[str, ...]:
    return tuple(parse_root(root, where="root", limits=DEFAULT_LIMITS).signatures)
