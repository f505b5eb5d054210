"""Checks the store, and takes out of it what no kept generation needs.

Both hold the import lock: while an import admits files, nobody can say which of
them are needed. A collection is recorded before the first file goes, together with
the mark on every generation that cannot be activated any more. Interrupted, it
leaves files that nobody needs, and running it again removes them. A process that
has a file open goes on reading it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection

from appliance.account import account_fields
from appliance.db.session import database_faults, reader
from appliance.import_steps.host import ImportHost
from appliance.intake.lock import hold_import_lock
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.records.fields import MAX_ITEMS
from appliance.registry import catalogue, generations
from appliance.registry.collect import Surplus, find_surplus, remove_environment
from appliance.registry.fsck import (
    Finding,
    Needed,
    Problem,
    StoreReport,
    check_store,
    leftovers,
)
from bundleformat.digest import Sha256

KEEP = 1
"""Generations of each channel that a collection keeps besides the active one."""

_UNNEEDED = "No kept generation needs it; sallyport store gc removes it."
_FOREIGN = "Sallyport did not put it there: find out who did, then move it away."
_HINTS = {
    Problem.DAMAGED: _UNNEEDED,
    Problem.UNREADABLE: _UNNEEDED,
    Problem.UNNEEDED: _UNNEEDED,
    Problem.MISSING: _UNNEEDED,
    Problem.MISNAMED: _FOREIGN,
    Problem.NOT_A_FILE: _FOREIGN,
    Problem.MODE: "Find out who changed it, then: chmod {expected} PATH",
    Problem.OWNER: "Find out who changed it, then give it back to {expected}.",
    Problem.LEFTOVER: (
        "Import the same bundle again to go on from it; importing another one removes "
        "it."
    ),
}

Progress = Callable[[int, int], object]
"""Told the bytes read so far and in total."""


def fsck(
    host: ImportHost, *, progress: Progress = lambda _done, _total: None
) -> StoreReport:
    """Return what reading every byte of the store found; changes nothing.

    Raises:
        HostNotReadyError: An import or a collection is running.
        StorageFaultError: The store or the database cannot be read.
    """
    with hold_import_lock(host.staging):
        with (
            database_faults(host.database),
            reader(host.database).begin() as connection,
        ):
            needed = _needed(connection)
        report = check_store(host.store, needed=needed, progress=progress)
        return replace(report, findings=(*report.findings, *leftovers(host.staging)))


def preview_collection(
    host: ImportHost, *, environments: Path, keep: int = KEEP
) -> Surplus:
    """Return what a collection would remove; changes nothing.

    Raises:
        HostNotReadyError: An import or another collection is running.
    """
    with (
        hold_import_lock(host.staging),
        database_faults(host.database),
        reader(host.database).begin() as connection,
    ):
        return find_surplus(
            connection, store=host.store, environments=environments, keep=keep
        )


def collect(host: ImportHost, *, environments: Path, keep: int = KEEP) -> Surplus:
    """Remove what no kept generation needs, and return what that was.

    Where there is nothing to remove, nothing is recorded.

    Args:
        host: The host.
        environments: The folder with one folder of environments for each
            generation, named by the digest of its manifest.
        keep: Generations of each channel kept besides the active one.

    Raises:
        HostNotReadyError: An import or another collection is running.
        StorageFaultError: The disk refused; running it again goes on.
    """
    with hold_import_lock(host.staging):
        with database_faults(host.database), host.database.begin() as connection:
            surplus = find_surplus(
                connection, store=host.store, environments=environments, keep=keep
            )
            if not surplus:
                return surplus
            generations.mark_collected(
                connection, surplus.generations, now=host.clock.now()
            )
            host.append_records(connection, (_collected_draft(surplus, keep=keep),))
        for file in surplus.files:
            host.store.remove(file.sha256)
        for folder in surplus.environments:
            remove_environment(folder)
    return surplus


def _needed(connection: Connection) -> dict[Sha256, Needed]:
    """Return every file that a generation still counts on, and which these are."""
    removed = catalogue.removed_digests(connection)
    needed: dict[Sha256, Needed] = {}
    for generation in generations.list_generations(connection):
        if generation.collected_ts is not None:
            continue
        names = {
            each.sha256: f"{each.kind} {each.name}"
            for each in generation.manifest.artifacts
        }
        for sha256, file in catalogue.files_of(generation, removed=removed).items():
            before = needed.get(sha256, Needed(file=file, names=(), generations=()))
            needed[sha256] = Needed(
                file=file,
                names=tuple(dict.fromkeys((*before.names, names[sha256]))),
                generations=(*before.generations, generation.id),
            )
    return needed


def _collected_draft(surplus: Surplus, *, keep: int) -> Draft:
    lost = surplus.generations
    return Draft(
        event=Event.STORE_COLLECTED,
        outcome=Outcome.OK,
        fields={
            "files": len(surplus.files),
            "size_bytes": surplus.size_bytes,
            "keep": keep,
            "environments": len(surplus.environments),
            "generations": lost if len(lost) <= MAX_ITEMS else None,
            **account_fields(),
        },
    )


def repair_hint(finding: Finding) -> str:
    """Return what a person can do about a finding."""
    lost = {
        Problem.DAMAGED,
        Problem.MISSING,
        Problem.UNREADABLE,
        Problem.NOT_A_FILE,
    }
    if finding.problem in lost and finding.needed is not None:
        ids = ", ".join(map(str, finding.needed.generations))
        return (
            "Run: sallyport store repair MEDIUM, with any medium of a bundle that "
            f"delivers it (generation {ids})."
        )
    return _HINTS[finding.problem].format(expected=finding.expected)
