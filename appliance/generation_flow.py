"""Makes a kept generation the active one again, by hand.

1. lock: nothing is imported or collected meanwhile.
2. look: the generation is kept, another is active, and no other channel uses its
   names.
3. signers: enough of the keys that had signed it are still release keys of the root
   that this host trusts now, as far as the ledger says who they were.
4. files: every stored byte it needs is read again; its environments are there.
5. policies: compiled with those of the other channels, as an import would.
6. activate: the generation and its record, in one transaction.

Only the generation moves. The trust state and its floor stay where the newest
bundle put them, so an older bundle is still refused by the import, and a key that
was revoked stays revoked. What a generation was examined for at its import is not
examined again: the bytes are the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection
from tuf.api.metadata import Targets

from appliance.account import account_fields
from appliance.db.session import database_faults, reader
from appliance.environments.place import environment_folder, is_installed
from appliance.import_steps.host import ImportHost
from appliance.import_steps.policies import policies_after
from appliance.intake import trust_state
from appliance.intake.lock import hold_import_lock
from appliance.ledger.exports.receipt import import_of
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.registry import catalogue, generations
from appliance.registry.catalogue import Generation, Reason
from bundleformat.errors import MissingError, SignatureError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import Artifact
from bundleformat.profile import check_both_kinds, parse_profile
from bundleformat.trust import parse_root
from bundleformat.verify_checks import check_state_floor

Progress = Callable[[int, int], object]
"""Told the bytes read so far and in total."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One generation taking the place of another of its channel.

    Attributes:
        before: What is active, or None if nothing of the channel is.
        after: What would be, or is now.
        withdrawn: What only ``before`` offers.
    """

    before: Generation | None
    after: Generation
    withdrawn: tuple[Artifact, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it would change anything."""
        return not self.after.active


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A generation, and how many of the files it needs the store does not have."""

    generation: Generation
    missing_files: int


def list_generations(host: ImportHost) -> tuple[Listed, ...]:
    """Return every generation; whether its files are there is asked of the disk now."""
    with database_faults(host.database), reader(host.database).begin() as connection:
        removed = catalogue.removed_digests(connection)
        known = generations.list_generations(connection)
    return tuple(
        Listed(
            generation=each,
            missing_files=sum(
                not host.store.has(sha256)
                for sha256 in catalogue.files_of(each, removed=removed)
            ),
        )
        for each in known
    )


def find_change(host: ImportHost, identity: int) -> Change:
    """Return what activating the generation of that id would change.

    Raises:
        MissingError: There is none.
    """
    with database_faults(host.database), reader(host.database).begin() as connection:
        return _change(connection, identity)


def find_rollback(host: ImportHost, *, channel: str | None) -> Change:
    """Return what going back to the generation that was active before would change.

    Raises:
        MissingError: Nothing is active, or nothing was before.
        UsageError: Several channels have an active generation and none was named.
    """
    with database_faults(host.database), reader(host.database).begin() as connection:
        chosen = generations.choose_channel(connection, channel)
        before = generations.before_active(connection, chosen)
        return _change(connection, before.id)


def activate(
    host: ImportHost,
    identity: int,
    *,
    reason: Reason,
    environments: Path,
    progress: Progress = lambda _done, _total: None,
) -> Change:
    """Make the generation of that id the active one; afterwards it is on record.

    One that is active already stays so, and nothing is recorded. A running server
    follows within seconds.

    Raises:
        MissingError: There is none, or files of it are gone or damaged.
        ConflictError: Another channel uses one of its names.
        SignatureError: Its signers are no longer trusted, or not enough of each kind.
        RollbackError: The trust state was put back to an older one.
        RefusalError: Its policies do not compile with those of this host.
        HostNotReadyError: An import or a collection is running.
        StorageFaultError: The disk refused; nothing changed.
    """
    with hold_import_lock(host.staging):
        change = find_change(host, identity)
        if not change.changes:
            return change
        _check_allowed(host, change.after)
        _check_files(host, change.after, progress=progress)
        _check_environments(host, change.after, environments)
        policies = policies_after(
            host,
            change.after.manifest,
            read=lambda each: host.store.path_of(each.sha256).read_bytes(),
        )
        host.check_policies(policies)
        _commit(host, change, reason=reason)
    return change


def _change(connection: Connection, identity: int) -> Change:
    after = generations.get_generation(connection, identity)
    active = catalogue.active_generations(connection)
    before = next((each for each in active if each.channel == after.channel), None)
    withdrawn = catalogue.withdrawn_by(connection, after.manifest)
    return Change(before=before, after=after, withdrawn=withdrawn)


def _check_allowed(host: ImportHost, generation: Generation) -> None:
    with database_faults(host.database), reader(host.database).begin() as connection:
        catalogue.check_names(connection, generation.manifest)
        imported = import_of(connection, generation.manifest_sha256)
        trust = trust_state.load(connection, generation.channel)
    state = trust.state
    check_state_floor(state, trust.floor)
    root = parse_root(state.newest_root(), where="root", limits=DEFAULT_LIMITS).signed
    role = root.roles[Targets.type]
    signers = imported.texts("signed_by") if imported else ()
    trusted = set(signers) & set(role.keyids)
    if signers and len(trusted) < role.threshold:
        raise SignatureError(
            "this generation was signed by keys that are no longer trusted",
            where=f"{generation.channel} {generation.version}",
            expected=f"{role.threshold} release keys of root {root.version}",
            actual=str(len(trusted)),
            hint="Ask the publisher to sign what it delivered again, as a new version.",
        )
    if signers:
        check_both_kinds(
            parse_profile(root),
            [root.keys[keyid] for keyid in sorted(trusted)],
            threshold=role.threshold,
            where=f"{generation.channel} {generation.version}",
        )


def _check_files(
    host: ImportHost, generation: Generation, *, progress: Progress
) -> None:
    with database_faults(host.database), reader(host.database).begin() as connection:
        removed = catalogue.removed_digests(connection)
    files = catalogue.files_of(generation, removed=removed)
    total, done = sum(file.size_bytes for file in files.values()), 0

    def count(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        progress(done, total)

    lost = {sha for sha, f in files.items() if host.store.lost(f, progress=count)}
    if not lost:
        return
    names = [each.name for each in generation.manifest.artifacts if each.sha256 in lost]
    raise MissingError(
        "files of this generation are missing or damaged",
        where=f"{generation.channel} {generation.version}",
        actual=", ".join(names),
        hint=_repair_hint(generation),
    )


def _check_environments(
    host: ImportHost, generation: Generation, environments: Path
) -> None:
    """Check that every environment is there that the import had installed."""
    with database_faults(host.database), reader(host.database).begin() as connection:
        imported = import_of(connection, generation.manifest_sha256)
    gone = [
        name
        for name in (imported.texts("environments") if imported else ())
        if not is_installed(
            environment_folder(environments, generation.manifest_sha256, name)
        )
    ]
    if gone:
        raise MissingError(
            "environments of this generation are not installed any more",
            where=f"{generation.channel} {generation.version}",
            actual=", ".join(gone),
            hint=_repair_hint(generation),
        )


def _repair_hint(generation: Generation) -> str:
    return generations.repair_hint(
        generation.id, channel=generation.channel, version=generation.version
    )


def _commit(host: ImportHost, change: Change, *, reason: Reason) -> None:
    after, before = change.after, change.before
    activated = Draft(
        event=Event.GENERATION_ACTIVATED,
        outcome=Outcome.OK,
        fields={
            "channel": after.channel,
            "version": after.version,
            "manifest_sha256": after.manifest_sha256,
            "generation": after.id,
            "previous_generation": None if before is None else before.id,
            "previous_version": None if before is None else before.version,
            "reason": str(reason),
            **account_fields(),
        },
    )
    with database_faults(host.database), host.database.begin() as connection:
        catalogue.make_active(
            connection,
            channel=after.channel,
            generation=after.id,
            reason=reason,
            now=host.clock.now(),
        )
        host.append_records(connection, (activated,))
