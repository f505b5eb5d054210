"""The steps of ``import_flow``: each asks one component and returns what it said."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path

from sqlalchemy import Connection

from appliance.db.session import database_faults, reader
from appliance.import_host import ImportHost, ImportPlan, Observer, Step
from appliance.import_records import (
    imported_draft,
    refused_draft,
    repaired_draft,
    updated_draft,
)
from appliance.intake import trust_state
from appliance.intake.staging import Staging
from appliance.intake.trust_state import ChannelTrust
from appliance.ledger.events import Outcome
from appliance.ledger.fields import JSON
from appliance.registry import catalogue
from bundleformat.digest import Sha256, check_reader
from bundleformat.errors import ConflictError, MalformedError, StorageFaultError
from bundleformat.gguf import ModelFacts
from bundleformat.layout import chunk_path
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import Artifact, Manifest
from bundleformat.verify import VerifiedBundle, verify_metadata
from bundleformat.volume import Volume

RESERVE_BYTES = 64 * 1024 * 1024
"""Room an import leaves free, for the ledger above all. Unit: bytes."""


class Counter:
    """Adds up bytes and tells an observer."""

    def __init__(self, observer: Observer, total_bytes: int) -> None:
        self._observer = observer
        self._total_bytes = total_bytes
        self._done_bytes = 0

    def add(self, count: int) -> None:
        """Count ``count`` more bytes as dealt with."""
        self._done_bytes += count
        self._observer.on_progress(self._done_bytes, self._total_bytes)


def load_trust(host: ImportHost, channel: str | None) -> ChannelTrust:
    """Return the trust in ``channel``, or in the only channel there is."""
    with database_faults(host.database), reader(host.database).begin() as connection:
        chosen = trust_state.choose_channel(connection, channel)
        return trust_state.load(connection, chosen)


def verify(
    host: ImportHost, volume: Volume, *, trust: ChannelTrust, scratch: Path
) -> VerifiedBundle:
    """Return the bundle on ``volume``, its metadata verified; changes nothing."""
    return verify_metadata(
        volume,
        state=trust.state,
        floor=trust.floor,
        now=host.clock.now(),
        scratch=scratch,
        limits=DEFAULT_LIMITS,
    )


def preflight(
    host: ImportHost, bundle: VerifiedBundle, *, trust: ChannelTrust
) -> ImportPlan:
    """Return what importing ``bundle`` takes, from its signed sizes.

    Of an active bundle every stored byte is read again, because nothing but its
    damage would be copied.

    Raises:
        ConflictError: Another channel already uses one of its names.
        EquivocationError: This version was accepted before with other content.
        StorageFaultError: There is no room for it.
    """
    manifest = bundle.manifest
    with database_faults(host.database), reader(host.database).begin() as connection:
        catalogue.check_names(connection, manifest)
        known = catalogue.known_generation(
            connection, manifest, manifest_bytes=bundle.manifest_bytes
        )
        withdrawn = catalogue.withdrawn_by(connection, manifest)
    active = known.id if known is not None and known.active else None
    held = partial(_intact if active is not None else _admitted, host)
    wanted = distinct(manifest).values()
    missing = {each.sha256: each for each in wanted if not held(each)}
    copy_bytes = sum(each.size_bytes for each in missing.values())
    lost = [each.name for each in manifest.artifacts if each.sha256 in missing]
    plan = ImportPlan(
        bundle=bundle,
        active_generation=active,
        damaged=() if active is None else tuple(lost),
        updates_trust=active is not None
        and (bundle.state, bundle.floor) != (trust.state, trust.floor),
        withdrawn=withdrawn,
        copy_bytes=copy_bytes,
        held_bytes=sum(each.size_bytes for each in wanted) - copy_bytes,
        free_bytes=Staging(host.staging).free_bytes(),
    )
    if active is None or missing:
        _check_room(host, plan, missing.values())
    return plan


def _check_room(
    host: ImportHost, plan: ImportPlan, missing: Collection[Artifact]
) -> None:
    staging = Staging(host.staging)
    staged_bytes = sum(staging.staged_bytes(each) for each in missing)
    needed_bytes = plan.copy_bytes - staged_bytes + RESERVE_BYTES
    if needed_bytes > plan.free_bytes:
        raise StorageFaultError(
            "not enough room for this bundle",
            where=str(host.staging),
            expected=f"{needed_bytes} bytes free",
            actual=str(plan.free_bytes),
            hint="Free space on this file system, then import again.",
        )


def distinct(manifest: Manifest) -> Mapping[Sha256, Artifact]:
    """Return one artifact for each content; two names may share one."""
    return {artifact.sha256: artifact for artifact in manifest.artifacts}


def copy(
    host: ImportHost,
    volume: Volume,
    wanted: Mapping[Sha256, Artifact],
    *,
    observer: Observer,
) -> Mapping[Sha256, Path]:
    """Return where the verified bytes of each artifact lie on this host.

    What the store holds is read again instead of copied; if it has decayed or
    cannot be read, it is copied like the rest and replaced.
    """
    staging = Staging(host.staging)
    counter = Counter(observer, sum(each.size_bytes for each in wanted.values()))
    copies = {}
    for sha256, artifact in wanted.items():
        if _intact(host, artifact):
            counter.add(artifact.size_bytes)
            copies[sha256] = host.store.path_of(sha256)
        else:
            copies[sha256] = staging.copy(volume, artifact, progress=counter.add).path
    return copies


def examine(
    host: ImportHost, manifest: Manifest, copies: Mapping[Sha256, Path]
) -> Mapping[str, ModelFacts]:
    """Return the facts of every model, which are what the manifest says.

    Raises:
        MalformedError: The manifest says something else of a model.
    """
    facts: dict[str, ModelFacts] = {}
    for artifact in manifest.artifacts:
        if artifact.model is None:
            continue
        found = host.examine(copies[artifact.sha256], where=artifact.path)
        _check_terms(artifact, found)
        facts[artifact.name] = found
    return facts


def policies_after(
    host: ImportHost, manifest: Manifest, *, read: Callable[[Artifact], bytes]
) -> tuple[tuple[str, bytes], ...]:
    """Return every site policy that would be in force after this import, by name.

    ``read`` gives the verified bytes of one that the manifest lists.
    """
    with database_faults(host.database), reader(host.database).begin() as connection:
        others = {
            policy.name: host.store.path_of(policy.sha256)
            for policy in catalogue.active_policies(connection)
            if policy.channel != manifest.channel
        }
    own = [each for each in manifest.artifacts if each.kind == "policy"]
    try:
        policies = {name: path.read_bytes() for name, path in others.items()}
        policies.update((artifact.name, read(artifact)) for artifact in own)
        return tuple(sorted(policies.items()))
    except OSError as error:
        raise StorageFaultError(
            "a policy cannot be read", actual=error.strerror or ""
        ) from error


def read_policy(volume: Volume, artifact: Artifact) -> bytes:
    """Return the signed bytes of a policy on ``volume``; nothing is written.

    A policy fits into memory: the manifest's limits say so.

    Raises:
        DigestMismatchError: A chunk, or the whole, is not what was signed.
        MissingError: A chunk is not on the volume.
    """
    data = bytearray()
    for chunk in artifact.chunks:
        where = chunk_path(chunk.sha256)
        with volume.open(where) as file:
            check_reader(
                file,
                sha256=chunk.sha256,
                size_bytes=chunk.size_bytes,
                where=where,
                sink=data.extend,
            )
    check_reader(
        BytesIO(data),
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        where=artifact.path,
    )
    return bytes(data)


def admit(host: ImportHost, copies: Mapping[Sha256, Path]) -> None:
    """Move every copy that is not there yet into the store."""
    for sha256, path in copies.items():
        if not _is_stored(host, sha256, path):
            host.store.admit(path, sha256)


def activate(host: ImportHost, bundle: VerifiedBundle, *, trust: ChannelTrust) -> int:
    """Commit generation, trust state, floor and receipt; return the generation's id.

    Raises:
        ConflictError: The trust state is no longer ``trust``.
    """
    now = host.clock.now()
    with database_faults(host.database), host.database.begin() as connection:
        _replace_trust(connection, bundle, trust=trust)
        generation = catalogue.activate(
            connection,
            manifest=bundle.manifest,
            manifest_bytes=bundle.manifest_bytes,
            now=now,
        )
        receipt = imported_draft(bundle, generation=generation)
        host.append_records(connection, (receipt,))
    return generation


def update_trust(
    host: ImportHost, bundle: VerifiedBundle, *, trust: ChannelTrust
) -> None:
    """Commit the trust state and floor that came with an active bundle, on record.

    Raises:
        ConflictError: The trust state is no longer ``trust``.
    """
    with database_faults(host.database), host.database.begin() as connection:
        _replace_trust(connection, bundle, trust=trust)
        host.append_records(connection, (updated_draft(bundle),))


def _replace_trust(
    connection: Connection, bundle: VerifiedBundle, *, trust: ChannelTrust
) -> None:
    if trust_state.load(connection, trust.channel) != trust:
        raise ConflictError(
            "the trust state changed during the import",
            where=trust.channel,
            hint="Import again.",
        )
    trust_state.save(
        connection, channel=trust.channel, state=bundle.state, floor=bundle.floor
    )


def repair(
    host: ImportHost,
    bundle: VerifiedBundle,
    copies: Mapping[Sha256, Path],
    *,
    generation: int,
) -> tuple[str, ...]:
    """Replace what the store has lost of an active bundle; return its names.

    The files move inside the transaction of their record: a ledger that cannot
    write leaves the store as it was, and a disk that refuses leaves no record.
    """
    replaced = [
        artifact
        for artifact in bundle.manifest.artifacts
        if not _is_stored(host, artifact.sha256, copies[artifact.sha256])
    ]
    record = repaired_draft(bundle, replaced, generation=generation)
    with database_faults(host.database), host.database.begin() as connection:
        host.append_records(connection, (record,))
        admit(host, copies)
    return tuple(artifact.name for artifact in replaced)


def record_refusal(
    host: ImportHost,
    *,
    code: str,
    outcome: Outcome,
    step: Step,
    known: Mapping[str, JSON],
) -> None:
    """Record that a bundle was refused, in a transaction of its own."""
    draft = refused_draft(code=code, outcome=outcome, step=step, known=known)
    with database_faults(host.database), host.database.begin() as connection:
        host.append_records(connection, (draft,))


def _check_terms(artifact: Artifact, facts: ModelFacts) -> None:
    terms = artifact.model
    if terms is None:
        return
    said = (terms.architecture, terms.context_length)
    found = (facts.architecture, facts.context_length)
    if said != found:
        raise MalformedError(
            "the model is not what the manifest says",
            where=artifact.path,
            expected=f"{said[0]} of {said[1]} tokens",
            actual=f"{found[0]} of {found[1]} tokens",
        )


def _admitted(host: ImportHost, artifact: Artifact) -> bool:
    return host.store.has(artifact.sha256)


def _intact(host: ImportHost, artifact: Artifact) -> bool:
    """Return whether the store can give the signed bytes of ``artifact`` now.

    A file that cannot be read is as good as none: a decayed disk often says so
    with an error instead of other bytes.
    """
    try:
        return host.store.holds_intact(artifact.sha256, size_bytes=artifact.size_bytes)
    except StorageFaultError:
        return False


def _is_stored(host: ImportHost, sha256: Sha256, path: Path) -> bool:
    """Return whether ``path`` is the store's own file and not a copy to admit."""
    return path == host.store.path_of(sha256)


def trial_load(
    host: ImportHost, manifest: Manifest, copies: Mapping[Sha256, Path]
) -> None:
    """Have each model loaded once that is not being served already.

    Raises:
        EngineUnavailableError: This host cannot load it, whatever its signature
            says; nothing became visible.
    """
    with database_faults(host.database), reader(host.database).begin() as connection:
        served = {model.sha256 for model in catalogue.active_models(connection)}
    wanted = {each.sha256 for each in manifest.artifacts if each.model is not None}
    for sha256 in sorted(wanted - served):
        host.trial_load(copies[sha256])
