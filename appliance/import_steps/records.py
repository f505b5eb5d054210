"""What the ledger says of one import; pure. Names, numbers and digests only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.records.fields import JSON, MAX_ITEMS
from bundleformat.digest import sha256_of
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import Artifact
from bundleformat.moments import format_moment
from bundleformat.profile import PROFILE_FIELD
from bundleformat.trust import parse_root
from bundleformat.verify import VerifiedBundle

CHECKS = (
    "signatures",
    "rollback",
    "expiry",
    "room",
    "digests",
    "models",
    "policies",
    "trial-load",
)
"""What every receipt of a generation stands for, in the order it was done."""

ALSO_EXAMINED = ("wheel", "provenance")
"""Kinds of artifact that have an examiner of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What a receipt says besides the bundle itself.

    Attributes:
        operator_uid: Who ran the import.
        media: How many media it was read from in the last run.
        copied_bytes: Read from media in that run.
        reused_bytes: Read from other stored files in that run.
        environments: Names of the environments that were installed.
        not_allowed_here: Models that this host may not serve.
        accept_expired: Why an expired bundle was accepted, if a person said so.
    """

    operator_uid: int
    media: int
    copied_bytes: int = 0
    reused_bytes: int = 0
    environments: tuple[str, ...] = ()
    not_allowed_here: tuple[str, ...] = ()
    accept_expired: str | None = None


def verified_draft(bundle: VerifiedBundle, *, media: int, copy_bytes: int) -> Draft:
    """Return the record of metadata that was verified, and fits this host."""
    fields: dict[str, JSON] = {"media": media, "copy_bytes": copy_bytes}
    return _passed(Event.BUNDLE_VERIFIED, bundle, {**_signed(bundle), **fields})


def copied_draft(
    bundle: VerifiedBundle, *, files: int, copied_bytes: int, reused_bytes: int
) -> Draft:
    """Return the record of artifacts that are on this host, every byte as signed."""
    return _passed(
        Event.BUNDLE_COPIED,
        bundle,
        {"files": files, "copied_bytes": copied_bytes, "reused_bytes": reused_bytes},
    )


def examined_draft(bundle: VerifiedBundle) -> Draft:
    """Return the record of artifacts that their examiners found nothing against."""
    kinds = [artifact.kind for artifact in bundle.manifest.artifacts]
    return _passed(
        Event.BUNDLE_EXAMINED,
        bundle,
        {
            "models": kinds.count("model"),
            "wheels": kinds.count("wheel"),
            "provenance": kinds.count("provenance"),
        },
    )


def policies_draft(bundle: VerifiedBundle, *, policies: int) -> Draft:
    """Return the record of site policies that compile as they would be in force."""
    return _passed(Event.BUNDLE_POLICIES_CHECKED, bundle, {"policies": policies})


def installed_draft(bundle: VerifiedBundle, names: Sequence[str]) -> Draft:
    """Return the record of environments that were installed."""
    return _passed(
        Event.BUNDLE_ENVIRONMENTS_INSTALLED, bundle, {"environments": _names(names)}
    )


def loaded_draft(bundle: VerifiedBundle, models: Sequence[Artifact]) -> Draft:
    """Return the record of models that an engine could load."""
    return _passed(
        Event.BUNDLE_LOADED, bundle, {"loaded": _names([each.name for each in models])}
    )


def admitted_draft(bundle: VerifiedBundle, *, files: int) -> Draft:
    """Return the record of files that the store took."""
    return _passed(Event.BUNDLE_ADMITTED, bundle, {"files": files})


def imported_draft(
    bundle: VerifiedBundle, receipt: Receipt, *, generation: int
) -> Draft:
    """Return the receipt of a bundle that became a generation."""
    artifacts = bundle.manifest.artifacts
    kinds = {artifact.kind for artifact in artifacts}
    fields: dict[str, JSON] = {
        "generation": generation,
        "artifacts": _listed(artifacts),
        "size_bytes": sum(each.size_bytes for each in artifacts),
        "checks": [*CHECKS, *(each for each in ALSO_EXAMINED if each in kinds)],
        "operator_uid": receipt.operator_uid,
        "media": receipt.media,
        "copied_bytes": receipt.copied_bytes,
        "reused_bytes": receipt.reused_bytes,
        "environments": _names(receipt.environments) or None,
        "not_allowed_here": _names(receipt.not_allowed_here) or None,
    }
    return _passed(Event.BUNDLE_IMPORTED, bundle, {**_signed(bundle), **fields})


def repaired_draft(
    bundle: VerifiedBundle,
    replaced: Sequence[Artifact],
    *,
    generation: int,
    operator_uid: int,
) -> Draft:
    """Return the record of stored files that were replaced by what was signed."""
    return _passed(
        Event.BUNDLE_REPAIRED,
        bundle,
        {
            "generation": generation,
            "artifacts": _listed(replaced),
            "operator_uid": operator_uid,
        },
    )


def store_repaired_draft(
    replaced: Sequence[Artifact],
    *,
    generations: Sequence[int],
    lacking: int,
    operator_uid: int,
    media: int,
    copied_bytes: int,
    reused_bytes: int,
) -> Draft:
    """Return the record of lost files that are in the store again, of any bundle.

    ``lacking`` is how many are still lost.
    """
    return Draft(
        event=Event.STORE_REPAIRED,
        outcome=Outcome.OK,
        fields={
            "files": len(replaced),
            "size_bytes": sum(each.size_bytes for each in replaced),
            "artifacts": _listed(replaced),
            "generations": list(generations) if len(generations) <= MAX_ITEMS else None,
            "lacking": lacking,
            "operator_uid": operator_uid,
            "media": media,
            "copied_bytes": copied_bytes,
            "reused_bytes": reused_bytes,
        },
    )


def expiry_draft(
    bundle: VerifiedBundle, receipt: Receipt, *, grace_days: int | None
) -> Draft:
    """Return the record of an expired bundle that was accepted all the same.

    Either a person said why, or the site's settings give ``grace_days``.
    """
    return _passed(
        Event.BUNDLE_EXPIRY_ACCEPTED,
        bundle,
        {
            "expired": format_moment(bundle.expires),
            "operator_uid": receipt.operator_uid,
            "reason": receipt.accept_expired,
            "grace_days": grace_days,
        },
    )


def updated_draft(bundle: VerifiedBundle, *, operator_uid: int) -> Draft:
    """Return the record of news of whom to trust that made no generation."""
    return Draft(
        event=Event.TRUST_UPDATED,
        outcome=Outcome.OK,
        fields={
            "channel": bundle.manifest.channel,
            "root_version": bundle.root_version,
            "operator_uid": operator_uid,
        },
    )


def refused_draft(
    *,
    code: str,
    outcome: Outcome,
    step: str,
    known: Mapping[str, JSON],
    operator_uid: int,
) -> Draft:
    """Return the record of a bundle refused at ``step``, of which so much is known.

    ``outcome`` is an error if it was no judgement: what looked at it died.
    """
    return Draft(
        event=Event.BUNDLE_REFUSED,
        outcome=outcome,
        fields={"code": code, "step": step, "operator_uid": operator_uid, **known},
    )


def identity(bundle: VerifiedBundle) -> dict[str, JSON]:
    """Return what every record of a verified bundle calls it."""
    return {
        "channel": bundle.manifest.channel,
        "version": bundle.manifest.version,
        "manifest_sha256": sha256_of(bundle.manifest_bytes),
    }


def _passed(event: Event, bundle: VerifiedBundle, fields: Mapping[str, JSON]) -> Draft:
    return Draft(event=event, outcome=Outcome.OK, fields={**identity(bundle), **fields})


def _signed(bundle: VerifiedBundle) -> dict[str, JSON]:
    root = parse_root(
        bundle.state.newest_root(), where="root", limits=DEFAULT_LIMITS
    ).signed
    profile = root.unrecognized_fields.get(PROFILE_FIELD)
    return {
        "root_version": bundle.root_version,
        "signed_by": _names(bundle.signed_by),
        "thresholds": {
            "root": root.roles[Root.type].threshold,
            "targets": root.roles[Targets.type].threshold,
            "snapshot": root.roles[Snapshot.type].threshold,
            "timestamp": root.roles[Timestamp.type].threshold,
        },
        "profile": profile if isinstance(profile, str) else None,
        "digest": bundle.manifest.digest,
    }


def _names(names: Sequence[str]) -> JSON:
    """Return names as a record holds them, or nothing of a long list."""
    return list(names) if len(names) <= MAX_ITEMS else None


def _listed(artifacts: Sequence[Artifact]) -> JSON:
    """Return the artifacts as a record holds them, or nothing of a long list.

    A record holds short lists; the manifest's digest covers long ones.
    """
    if len(artifacts) > MAX_ITEMS:
        return None
    return [
        {
            "kind": artifact.kind,
            "name": artifact.name,
            "sha256": artifact.sha256,
            "size_bytes": artifact.size_bytes,
        }
        for artifact in artifacts
    ]
