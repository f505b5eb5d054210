"""Brings back what the store lost, from any medium at all.

1. lock: nothing is imported or collected meanwhile.
2. look: every stored byte that kept generations need is read again.
3. gather: what is missing or has decayed, chunk by chunk, from other files of the
   store and from the media.
4. admit: what is whole again moves into the store, together with its record. What
   moved in a run that was interrupted then is on record now, once more at worst.
5. environments: those that are gone are installed again, from stored wheels.
6. say what could not be found.

The medium need not be trusted, and nothing of it is believed: no metadata is read,
no signature checked, no name taken from it. This host knows the digest and size of
every chunk from manifests it accepted and kept, and a chunk is what its digest says,
whoever brings it. So a medium will do whose bundle is older than the newest that
this host accepted, has expired, or is signed by keys that are no longer trusted.
Nothing else changes: no generation, no trust state, no floor.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from appliance.db.session import database_faults, reader
from appliance.environments.place import environment_folder, is_installed
from appliance.import_steps.host import ImportHost, Observer, Step
from appliance.import_steps.records import store_repaired_draft
from appliance.import_steps.recovery import Gathered, gather, opened_media
from appliance.intake import preflight as checks
from appliance.intake.environment_room import room_of
from appliance.intake.lock import hold_import_lock
from appliance.intake.staging import Staging
from appliance.ledger.exports.receipt import import_of
from appliance.registry import catalogue, generations
from appliance.registry.catalogue import Generation, StoredFile
from bundleformat.digest import Sha256
from bundleformat.errors import MissingError
from bundleformat.manifest import Artifact, Manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to be whole afterwards.

    Attributes:
        media: Where to look for it.
        generation: The one generation that is looked at, also if its files were
            collected; without it, every generation that was not.
        removed: Also the files of models that were removed by hand.
    """

    media: tuple[Path, ...]
    generation: int | None = None
    removed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaired:
    """What a repair did.

    Attributes:
        artifacts: What was missing or had decayed and is whole again.
        environments: Names of environments that were installed again.
        medium_bytes: Read from media.
        reused_bytes: Read from other files of the store.
    """

    artifacts: tuple[Artifact, ...] = ()
    environments: tuple[str, ...] = ()
    medium_bytes: int = 0
    reused_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Needed:
    """A file that ought to be there.

    Attributes:
        ways: Each way in which a publisher cut it into chunks.
        generations: Ids of the generations that need it.
    """

    ways: tuple[Artifact, ...]
    generations: tuple[int, ...]

    @property
    def file(self) -> StoredFile:
        artifact = self.ways[0]
        return StoredFile(sha256=artifact.sha256, size_bytes=artifact.size_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What was looked at and needs something done.

    Attributes:
        lost: Digests of what is missing or has decayed.
        moved: Digests of what an interrupted run brought back, maybe off the record.
    """

    lost: frozenset[Sha256]
    moved: frozenset[Sha256]


def repair(
    host: ImportHost,
    wanted: Wanted,
    *,
    environments: Path,
    observer: Observer | None = None,
) -> Repaired:
    """Bring back what the store lost; afterwards it is on record.

    Where nothing is lost, nothing is recorded. Running it again, also with another
    medium, goes on from where it stopped.

    Raises:
        MissingError: Something could not be found, or there is no such generation.
            What could be found is repaired and on record all the same.
        MalformedError: What was given is no medium; nothing changed.
        HostNotReadyError: An import or a collection is running.
        StorageFaultError: The disk refused; good chunks stay for a later run.
    """
    watching = observer or Observer()
    watching.on_step(Step.LOCK)
    with hold_import_lock(host.staging), opened_media(wanted.media) as media:
        chosen, needed = _look_up(host, wanted)
        seen = _find_lost(host, needed, observer=watching)
        done = Repaired()
        if seen.lost or seen.moved:
            watching.on_step(Step.COPY)
            ways = {sha256: needed[sha256].ways for sha256 in seen.lost}
            found = gather(host, ways, media, observer=watching)
            watching.on_step(Step.ADMIT)
            done = _admit(host, needed, found, moved=seen.moved, media=len(media))
            _check_all_found(needed, found)
        watching.on_step(Step.INSTALL_ENVIRONMENTS)
        again = _install(host, chosen, environments=environments)
        watching.on_step(Step.DONE)
    return Repaired(
        artifacts=done.artifacts,
        environments=again,
        medium_bytes=done.medium_bytes,
        reused_bytes=done.reused_bytes,
    )


def _look_up(
    host: ImportHost, wanted: Wanted
) -> tuple[tuple[Generation, ...], Mapping[Sha256, _Needed]]:
    """Return the generations that are looked at, and every file they need."""
    with database_faults(host.database), reader(host.database).begin() as connection:
        chosen = _chosen(connection, wanted)
        known = generations.list_generations(connection)
        removed = catalogue.removed_digests(connection)
    away: frozenset[Sha256] = frozenset() if wanted.removed else removed
    users: dict[Sha256, list[int]] = defaultdict(list)
    for generation in chosen:
        for sha256 in catalogue.files_of(generation, removed=away):
            users[sha256].append(generation.id)
    ways: dict[Sha256, list[Artifact]] = defaultdict(list)
    for generation in known:
        for artifact in generation.manifest.artifacts:
            if artifact.sha256 in users and not _known_way(artifact, ways):
                ways[artifact.sha256].append(artifact)
    return chosen, {
        sha256: _Needed(ways=tuple(ways[sha256]), generations=tuple(ids))
        for sha256, ids in users.items()
    }


def _chosen(connection: Connection, wanted: Wanted) -> tuple[Generation, ...]:
    if wanted.generation is not None:
        return (generations.get_generation(connection, wanted.generation),)
    return tuple(
        each
        for each in generations.list_generations(connection)
        if each.collected_ts is None
    )


def _known_way(artifact: Artifact, ways: Mapping[Sha256, Sequence[Artifact]]) -> bool:
    return any(each.chunks == artifact.chunks for each in ways.get(artifact.sha256, ()))


def _find_lost(
    host: ImportHost, needed: Mapping[Sha256, _Needed], *, observer: Observer
) -> _Seen:
    staging = Staging(host.staging)
    total, done = sum(each.file.size_bytes for each in needed.values()), 0

    def count(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        observer.on_progress(done, total)

    lost, moved = set(), set()
    for sha256, each in needed.items():
        if host.store.lost(each.file, progress=count):
            lost.add(sha256)
        elif staging.was_admitted(sha256):
            moved.add(sha256)
        else:
            # An interrupted repair may have left what nobody needs any more.
            staging.forget(sha256)
    return _Seen(lost=frozenset(lost), moved=frozenset(moved))


def _admit(
    host: ImportHost,
    needed: Mapping[Sha256, _Needed],
    found: Gathered,
    *,
    moved: Collection[Sha256],
    media: int,
) -> Repaired:
    """Move what is whole into the store, inside the transaction of its record."""
    whole = (*moved, *found.copies)
    done = Repaired(
        artifacts=tuple(needed[sha256].ways[0] for sha256 in whole),
        medium_bytes=found.medium_bytes,
        reused_bytes=found.reused_bytes,
    )
    if not done.artifacts:
        return done
    draft = store_repaired_draft(
        done.artifacts,
        generations=_users(needed, whole),
        lacking=len(found.lacking),
        operator_uid=host.operator_uid,
        media=media,
        copied_bytes=found.medium_bytes,
        reused_bytes=found.reused_bytes,
    )
    staging = Staging(host.staging)
    with database_faults(host.database), host.database.begin() as connection:
        host.append_records(connection, (draft,))
        for sha256, path in found.copies.items():
            host.store.admit(path, sha256)
    for sha256 in whole:
        staging.forget(sha256)
    return done


def _check_all_found(needed: Mapping[Sha256, _Needed], found: Gathered) -> None:
    if not found.lacking:
        return
    names = sorted(
        f"{artifact.kind} {artifact.name}"
        for artifact in (needed[sha256].ways[0] for sha256 in found.lacking)
    )
    ids = ", ".join(map(str, _users(needed, found.lacking)))
    raise MissingError(
        "not all that the store lost is here",
        where=f"generation {ids}",
        expected=", ".join(names),
        actual=f"not what its name says: {', '.join(found.bad)}" if found.bad else "",
        hint="What was found is kept. Run this again with another medium that holds "
        "one of these generations.",
    )


def _users(
    needed: Mapping[Sha256, _Needed], files: Collection[Sha256]
) -> tuple[int, ...]:
    """Return the ids of the generations that need some of ``files``, ascending."""
    return tuple(sorted({each for sha in files for each in needed[sha].generations}))


def _install(
    host: ImportHost, chosen: Sequence[Generation], *, environments: Path
) -> tuple[str, ...]:
    """Install what an import had installed and is gone; return the names."""
    names: list[str] = []
    for generation in chosen:
        gone = _gone(host, generation, environments=environments)
        if gone:
            manifest = generation.manifest
            locks = [each for each in manifest.artifacts if each.environment]
            _check_room(host, manifest, [each for each in locks if each.name in gone])
            installed = host.environments.install(
                manifest,
                {a.sha256: host.store.path_of(a.sha256) for a in manifest.artifacts},
                unsuitable=frozenset(each.name for each in locks) - gone,
            )
            names += [each.name for each in installed]
    return tuple(names)


def _check_room(host: ImportHost, manifest: Manifest, locks: list[Artifact]) -> None:
    """Check that there is room for the environments of ``locks``."""
    need = checks.need_of((), staged_bytes=0, besides=room_of(locks, manifest))
    room = Staging(host.staging).room()
    checks.check_room(need, room, where=str(host.staging))


def _gone(
    host: ImportHost, generation: Generation, *, environments: Path
) -> frozenset[str]:
    with database_faults(host.database), reader(host.database).begin() as connection:
        imported = import_of(connection, generation.manifest_sha256)
    return frozenset(
        name
        for name in (imported.texts("environments") if imported else ())
        if not is_installed(
            environment_folder(environments, generation.manifest_sha256, name)
        )
    )
