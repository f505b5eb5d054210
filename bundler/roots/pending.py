"""Keeps the next version of a root beside the roots while it collects signatures.

``N.root.pending.json`` becomes ``N.root.json`` by one rename, in the moment in
which enough holders have signed; until then nothing else reads it. Whoever
changes the folder MUST have locked it, so that two holders who sign at once both
count. A pending file whose version is in force already is what a power cut left
behind: it is passed over, and removed by the next change.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bundleformat.errors import (
    MalformedError,
    MissingError,
)
from bundleformat.layout import parse_root_version
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.trust import parse_root
from bundler.in_place import replace_file
from bundler.pack import check_absent, fault
from bundler.roots.folder import read_root_file, read_root_folder

_ENDING = ".root.pending.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class RootRecords:
    """A channel's roots, and the one that waits for signatures.

    Attributes:
        folder: Where they lie.
        roots: Every root in force, from version 1 up; none before the first is signed.
        pending: The next version, or None.
    """

    folder: Path
    roots: tuple[bytes, ...]
    pending: bytes | None

    @property
    def next_version(self) -> int:
        """The version of the pending root, if there is one."""
        return len(self.roots) + 1

    @property
    def pending_path(self) -> Path:
        """Where the pending root lies, or would."""
        return self.folder / f"{self.next_version}{_ENDING}"

    @property
    def final_path(self) -> Path:
        """Where the pending root will lie once it is signed."""
        return self.folder / f"{self.next_version}.root.json"


def read_records(place: Path) -> RootRecords:
    """Return the roots in a folder; ``place`` may also be a file in it.

    Raises:
        MissingError: No root folder, or a version in between is not there.
        MalformedError, LimitExceededError: A pending file is not the root that its
            name says.
        StorageFaultError: It cannot be read.
    """
    folder = place.parent if place.is_file() else place
    first = folder / f"1{_ENDING}"
    only_pending = first.is_file() and not (folder / "1.root.json").exists()
    roots = () if only_pending else read_root_folder(folder)
    records = RootRecords(folder=folder, roots=roots, pending=None)
    if not records.pending_path.is_file():
        return records
    pending = read_root_file(records.pending_path)
    where = str(records.pending_path)
    version = parse_root(pending, where=where, limits=DEFAULT_LIMITS).signed.version
    if version != records.next_version:
        raise MalformedError(
            "the file holds another version than its name says",
            where=where,
            expected=str(records.next_version),
            actual=str(version),
        )
    return RootRecords(folder=folder, roots=roots, pending=pending)


def is_root_folder(place: Path) -> bool:
    """Return whether a trust root lies in this folder, in force or pending."""
    try:
        names = [path.name for path in place.iterdir()]
    except OSError:
        return False
    return any(parse_root_version(name) or name.endswith(_ENDING) for name in names)


def pending_of(records: RootRecords) -> bytes:
    """Return the pending root.

    Raises:
        MissingError: There is none.
    """
    if records.pending is None:
        raise MissingError(
            "no pending root is in this folder",
            where=str(records.folder),
            expected=records.pending_path.name,
            hint="Begin a change with `root add-key`, `root remove-key`, "
            "`root set-threshold` or `root renew`.",
        )
    return records.pending


def write_pending(records: RootRecords, data: bytes) -> Path:
    """Put ``data`` in the place of the pending root; return where.

    Raises:
        StorageFaultError: It cannot be written; the old one is as it was.
    """
    _remove_leftovers(records)
    replace_file(records.pending_path, data)
    return records.pending_path


def put_in_force(records: RootRecords, data: bytes) -> Path:
    """Make ``data``, which is fully signed, the newest root; return where.

    Raises:
        ConflictError: A root of this version is there already.
        StorageFaultError: It cannot be written; the folder is as it was.
    """
    check_absent(records.final_path)
    replace_file(records.final_path, data)
    records.pending_path.unlink(missing_ok=True)
    _remove_leftovers(records)
    return records.final_path


def remove_pending(records: RootRecords) -> None:
    """Remove the pending root.

    Raises:
        StorageFaultError: It cannot be removed.
    """
    try:
        records.pending_path.unlink(missing_ok=True)
    except OSError as error:
        raise fault(error, where=records.pending_path) from error
    _remove_leftovers(records)


def _remove_leftovers(records: RootRecords) -> None:
    with suppress(OSError):
        for version in range(1, records.next_version):
            (records.folder / f"{version}{_ENDING}").unlink(missing_ok=True)
