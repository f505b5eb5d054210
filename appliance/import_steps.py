"""The steps of ``import_flow``: each asks one component and returns what it said."""

from collections.abc import Mapping
from pathlib import Path

from appliance.db.session import database_faults, reader
from appliance.import_host import ImportHost, ImportPlan, Observer, Step
from appliance.intake import trust_state
from appliance.intake.staging import Staging
from appliance.intake.trust_state import ChannelTrust
from appliance.ledger.events import Draft, Event, Outcome
from appliance.ledger.fields import JSON, MAX_ITEMS
from appliance.registry import catalogue
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import ConflictError, MalformedError, StorageFaultError
from bundleformat.gguf import ModelFacts
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


def preflight(host: ImportHost, bundle: VerifiedBundle) -> ImportPlan:
    """Return what importing ``bundle`` takes, from its signed sizes.

    Raises:
        ConflictError: Another channel already uses one of its names.
        StorageFaultError: There is no room for it.
    """
    manifest = bundle.manifest
    with database_faults(host.database), reader(host.database).begin() as connection:
        catalogue.check_names(connection, manifest)
        known = catalogue.find_generation(
            connection, channel=manifest.channel, version=manifest.version
        )
    staging = Staging(host.staging)
    wanted = distinct(manifest).values()
    missing = [each for each in wanted if not host.store.has(each.sha256)]
    copy_bytes = sum(each.size_bytes for each in missing)
    plan = ImportPlan(
        bundle=bundle,
        active_generation=known.id if known is not None and known.active else None,
        copy_bytes=copy_bytes,
        held_bytes=sum(each.size_bytes for each in wanted) - copy_bytes,
        free_bytes=staging.free_bytes(),
    )
    staged_bytes = sum(staging.staged_bytes(each) for each in missing)
    needed_bytes = copy_bytes - staged_bytes + RESERVE_BYTES
    if plan.active_generation is None and needed_bytes > plan.free_bytes:
        raise StorageFaultError(
            "not enough room for this bundle",
            where=str(host.staging),
            expected=f"{needed_bytes} bytes free",
            actual=str(plan.free_bytes),
            hint="Free space on this file system, then import again.",
        )
    return plan


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

    What the store holds is read again instead of copied; if it has decayed, it
    is copied like the rest and replaced.
    """
    staging = Staging(host.staging)
    counter = Counter(observer, sum(each.size_bytes for each in wanted.values()))
    copies = {}
    for sha256, artifact in wanted.items():
        if host.store.holds_intact(sha256, size_bytes=artifact.size_bytes):
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
    host: ImportHost, manifest: Manifest, copies: Mapping[Sha256, Path]
) -> tuple[tuple[str, bytes], ...]:
    """Return every site policy that would be in force after this import, by name."""
    with database_faults(host.database), reader(host.database).begin() as connection:
        places = {
            policy.name: host.store.path_of(policy.sha256)
            for policy in catalogue.active_policies(connection)
            if policy.channel != manifest.channel
        }
    for artifact in manifest.artifacts:
        if artifact.kind == "policy":
            places[artifact.name] = copies[artifact.sha256]
    try:
        return tuple((name, places[name].read_bytes()) for name in sorted(places))
    except OSError as error:
        raise StorageFaultError(
            "a policy cannot be read", actual=error.strerror or ""
        ) from error


def admit(host: ImportHost, copies: Mapping[Sha256, Path]) -> None:
    """Move every copy that is not there yet into the store."""
    for sha256, path in copies.items():
        if path != host.store.path_of(sha256):
            host.store.admit(path, sha256)


def activate(host: ImportHost, bundle: VerifiedBundle, *, trust: ChannelTrust) -> int:
    """Commit generation, trust state, floor and receipt; return the generation's id.

    Raises:
        ConflictError: The trust state is no longer ``trust``.
    """
    now = host.clock.now()
    with database_faults(host.database), host.database.begin() as connection:
        if trust_state.load(connection, trust.channel) != trust:
            raise ConflictError(
                "the trust state changed during the import",
                where=trust.channel,
                hint="Import again.",
            )
        trust_state.save(
            connection, channel=trust.channel, state=bundle.state, floor=bundle.floor
        )
        generation = catalogue.activate(
            connection,
            manifest=bundle.manifest,
            manifest_bytes=bundle.manifest_bytes,
            now=now,
        )
        receipt = _receipt(bundle, generation=generation)
        host.append_records(connection, (receipt,))
    return generation


def record_refusal(
    host: ImportHost, *, code: str, step: Step, known: Mapping[str, JSON]
) -> None:
    """Record that a bundle was refused, in a transaction of its own."""
    draft = Draft(
        event=Event.BUNDLE_REFUSED,
        outcome=Outcome.REFUSED,
        fields={"code": code, "step": step.value, **known},
    )
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


def _receipt(bundle: VerifiedBundle, *, generation: int) -> Draft:
    artifacts: list[JSON] = [
        {
            "kind": artifact.kind,
            "name": artifact.name,
            "sha256": artifact.sha256,
            "size_bytes": artifact.size_bytes,
        }
        for artifact in bundle.manifest.artifacts
    ]
    return Draft(
        event=Event.BUNDLE_IMPORTED,
        outcome=Outcome.OK,
        fields={
            "channel": bundle.manifest.channel,
            "version": bundle.manifest.version,
            "manifest_sha256": sha256_of(bundle.manifest_bytes),
            "generation": generation,
            "root_version": bundle.root_version,
            "signed_by": bundle.signed_by,
            # A record holds short lists; the manifest's digest covers long ones.
            "artifacts": artifacts if len(artifacts) <= MAX_ITEMS else None,
            "size_bytes": sum(each.size_bytes for each in bundle.manifest.artifacts),
        },
    )


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
