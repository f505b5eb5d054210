"""What the ledger says of one import; pure. Names, numbers and digests only."""

from collections.abc import Mapping, Sequence

from appliance.ledger.events import Draft, Event, Outcome
from appliance.ledger.fields import JSON, MAX_ITEMS
from bundleformat.digest import sha256_of
from bundleformat.manifest import Artifact
from bundleformat.verify import VerifiedBundle


def imported_draft(bundle: VerifiedBundle, *, generation: int) -> Draft:
    """Return the receipt of a bundle that became a generation."""
    artifacts = bundle.manifest.artifacts
    return Draft(
        event=Event.BUNDLE_IMPORTED,
        outcome=Outcome.OK,
        fields={
            **_identity(bundle),
            "generation": generation,
            "root_version": bundle.root_version,
            "signed_by": bundle.signed_by,
            "artifacts": _listed(artifacts),
            "size_bytes": sum(each.size_bytes for each in artifacts),
        },
    )


def repaired_draft(
    bundle: VerifiedBundle, replaced: Sequence[Artifact], *, generation: int
) -> Draft:
    """Return the record of stored files that were replaced by what was signed."""
    return Draft(
        event=Event.BUNDLE_REPAIRED,
        outcome=Outcome.OK,
        fields={
            **_identity(bundle),
            "generation": generation,
            "artifacts": _listed(replaced),
        },
    )


def updated_draft(bundle: VerifiedBundle) -> Draft:
    """Return the record of a newer root that came with what is active already."""
    return Draft(
        event=Event.TRUST_UPDATED,
        outcome=Outcome.OK,
        fields={
            "channel": bundle.manifest.channel,
            "root_version": bundle.root_version,
        },
    )


def refused_draft(
    *, code: str, outcome: Outcome, step: str, known: Mapping[str, JSON]
) -> Draft:
    """Return the record of a bundle refused at ``step``, of which so much is known.

    ``outcome`` is an error if it was no judgement: what looked at it died.
    """
    return Draft(
        event=Event.BUNDLE_REFUSED,
        outcome=outcome,
        fields={"code": code, "step": step, **known},
    )


def _identity(bundle: VerifiedBundle) -> dict[str, JSON]:
    return {
        "channel": bundle.manifest.channel,
        "version": bundle.manifest.version,
        "manifest_sha256": sha256_of(bundle.manifest_bytes),
    }


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
