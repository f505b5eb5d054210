"""What an import would take, found out before one byte is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from appliance.db.session import database_faults, reader
from appliance.identity import site
from appliance.import_steps.host import ImportHost, ImportPlan
from appliance.import_steps.media import lacking_error, wanted_volumes
from appliance.import_steps.reuse import find_places
from appliance.intake import preflight as checks
from appliance.intake import trust_state
from appliance.intake.environment_room import room_of
from appliance.intake.preflight import Fit, Need
from appliance.intake.staging import Staging
from appliance.intake.trust_state import ChannelTrust
from appliance.registry import catalogue
from appliance.registry.catalogue import Generation
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import StorageFaultError
from bundleformat.manifest import Artifact, Chunk, Manifest
from bundleformat.verify import VerifiedBundle
from bundleformat.volume_set import VolumeSet


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What the database says that concerns a bundle.

    Attributes:
        accepted: This host accepted this very bundle before.
        active: The generation this very bundle already is, if it is active.
        withdrawn: What it would withdraw.
        needed: Digests of what an active bundle needs in the store.
        region: The region of this host, if a site certificate says so.
    """

    accepted: bool
    active: Generation | None
    withdrawn: tuple[Artifact, ...]
    needed: frozenset[Sha256]
    region: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chunks:
    """Where the chunks of what has to be copied are.

    Attributes:
        reused_bytes: Of those that lie in the store and not on the media.
        wanted: Volumes that would have to be put in.
    """

    reused_bytes: int
    wanted: tuple[int, ...]


def preflight(
    host: ImportHost,
    volumes: VolumeSet,
    bundle: VerifiedBundle,
    *,
    trust: ChannelTrust,
) -> ImportPlan:
    """Return what importing ``bundle`` takes, from its signed sizes; writes nothing.

    Of an active bundle every stored byte is read again, because nothing but its
    damage would be copied.

    Raises:
        ConflictError: Another channel already uses one of its names.
        EquivocationError: This version was accepted before with other content.
        UnsuitableHostError: It is not for this host, or not as it is set up.
        LimitExceededError: The store would grow beyond its quota.
        MissingError: Chunks are nowhere, and no other volume can hold them.
        StorageFaultError: There is no room for it.
        InternalFaultError: It brings environments, which this host cannot install.
    """
    manifest = bundle.manifest
    facts = host.read_facts()
    known = _look_up(host, bundle)
    checks.check_program(manifest, facts)
    checks.check_kinds(manifest, host.settings.kinds)
    fits = checks.fits(manifest, facts)
    checks.check_fits(fits)
    wanted = _wanted(manifest, known)
    missing = _missing(host, wanted, known)
    chunks = _locate(host, volumes, missing, bundle=bundle)
    staging = Staging(host.staging)
    staged_bytes = sum(staging.staged_bytes(each) for each in missing.values())
    unpacked = _room_of_environments(host, manifest, fits, known)
    need = checks.need_of(
        tuple(missing.values()), staged_bytes=staged_bytes, besides=unpacked
    )
    room = staging.room()
    copy_bytes = sum(each.size_bytes for each in missing.values())
    plan = ImportPlan(
        bundle=bundle,
        active_generation=None if known.active is None else known.active.id,
        known=known.accepted,
        damaged=_lost(manifest, missing, known),
        moved=_moved(staging, wanted, missing, known),
        updates_trust=_updates_trust(bundle, trust, known),
        withdrawn=known.withdrawn,
        wanted=wanted,
        copy_bytes=copy_bytes,
        reused_bytes=chunks.reused_bytes,
        held_bytes=sum(each.size_bytes for each in wanted.values()) - copy_bytes,
        unpacked_bytes=unpacked.bytes_,
        needed_bytes=need.bytes_,
        needed_inodes=need.inodes,
        free_bytes=room.free_bytes,
        free_inodes=room.free_inodes,
        store_bytes=_stored_bytes(host),
        volumes=volumes.of,
        volumes_wanted=chunks.wanted,
        fits=fits,
        facts=facts,
        not_allowed_here=checks.not_allowed_here(manifest, known.region),
    )
    if missing or unpacked.inodes:
        checks.check_room(need, room, where=str(host.staging))
    if missing:
        checks.check_quota(
            held_bytes=plan.store_bytes,
            new_bytes=copy_bytes,
            quota_bytes=host.settings.store_bytes,
        )
    return plan


def distinct(manifest: Manifest) -> Mapping[Sha256, Artifact]:
    """Return one artifact for each content; two names may share one."""
    return {artifact.sha256: artifact for artifact in manifest.artifacts}


def intact(host: ImportHost, artifact: Artifact) -> bool:
    """Return whether the store can give the signed bytes of ``artifact`` now.

    A file that cannot be read is as good as none: a decayed disk often says so
    with an error instead of other bytes.
    """
    try:
        return host.store.holds_intact(artifact.sha256, size_bytes=artifact.size_bytes)
    except StorageFaultError:
        return False


def _look_up(host: ImportHost, bundle: VerifiedBundle) -> _Known:
    manifest = bundle.manifest
    with database_faults(host.database), reader(host.database).begin() as connection:
        catalogue.check_names(connection, manifest)
        known = catalogue.known_generation(
            connection, manifest, manifest_bytes=bundle.manifest_bytes
        )
        active = known if known is not None and known.active else None
        removed = catalogue.removed_digests(connection)
        return _Known(
            accepted=known is not None,
            active=active,
            withdrawn=()
            if manifest.purpose == "trust"
            else catalogue.withdrawn_by(connection, manifest),
            needed=frozenset()
            if active is None
            else frozenset(catalogue.files_of(active, removed=removed)),
            region=_region(connection, host),
        )


def _region(connection: Connection, host: ImportHost) -> str | None:
    trusted = trust_state.all_compliance_keys(connection)
    found = site.current(connection, keys=trusted, now=host.clock.now())
    return None if found is None else found.region


def _wanted(manifest: Manifest, known: _Known) -> Mapping[Sha256, Artifact]:
    """Return what has to be here afterwards.

    What was removed by hand stays away when the active bundle is imported again.
    """
    every = distinct(manifest)
    if known.active is None:
        return every
    return {each: every[each] for each in every if each in known.needed}


def _missing(
    host: ImportHost, wanted: Mapping[Sha256, Artifact], known: _Known
) -> Mapping[Sha256, Artifact]:
    if known.active is not None:
        return {sha: each for sha, each in wanted.items() if not intact(host, each)}
    return {sha: each for sha, each in wanted.items() if not host.store.has(sha)}


def _room_of_environments(
    host: ImportHost, manifest: Manifest, fits: Sequence[Fit], known: _Known
) -> Need:
    """Return what the environments take that would be installed."""
    if known.active is not None or not fits:
        return checks.NOTHING
    unsuitable = frozenset(fit.name for fit in fits if fit.misfits)
    lacking = host.environments.lacking(manifest, unsuitable=unsuitable)
    return room_of(lacking, manifest)


def _lost(
    manifest: Manifest, missing: Mapping[Sha256, Artifact], known: _Known
) -> tuple[str, ...]:
    if known.active is None:
        return ()
    return tuple(each.name for each in manifest.artifacts if each.sha256 in missing)


def _moved(
    staging: Staging,
    wanted: Mapping[Sha256, Artifact],
    missing: Mapping[Sha256, Artifact],
    known: _Known,
) -> frozenset[Sha256]:
    if known.active is None:
        return frozenset()
    held = wanted.keys() - missing.keys()
    return frozenset(sha256 for sha256 in held if staging.was_admitted(sha256))


def _updates_trust(bundle: VerifiedBundle, trust: ChannelTrust, known: _Known) -> bool:
    if bundle.manifest.purpose == "content" and known.active is None:
        return False
    return (bundle.state, bundle.floor) != (trust.state, trust.floor)


def _locate(
    host: ImportHost,
    volumes: VolumeSet,
    missing: Mapping[Sha256, Artifact],
    *,
    bundle: VerifiedBundle,
) -> _Chunks:
    """Return where the chunks of ``missing`` are; they must be somewhere."""
    staging = Staging(host.staging)
    absent: dict[Sha256, Chunk] = {}
    for artifact in missing.values():
        staged = staging.claimed_chunks(artifact)
        for chunk in artifact.chunks:
            if chunk.sha256 not in staged and not volumes.present(chunk):
                absent[chunk.sha256] = chunk
    places = find_places(host, absent.keys())
    lacking = absent.keys() - places.keys()
    finished = staging.finished_volumes(sha256_of(bundle.manifest_bytes))
    if lacking and not volumes.wanted():
        raise lacking_error(
            volumes, lacking, finished=finished, manifest=bundle.manifest
        )
    return _Chunks(
        reused_bytes=sum(absent[each].size_bytes for each in absent if each in places),
        wanted=wanted_volumes(volumes, finished) if lacking else (),
    )


def _stored_bytes(host: ImportHost) -> int:
    try:
        return sum(path.lstat().st_size for path in host.store.folder.iterdir())
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageFaultError(
            "cannot be read",
            where=str(host.store.folder),
            actual=error.strerror or "",
        ) from error
