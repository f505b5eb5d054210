"""Looks at a bundle without importing it: nothing changes, nothing is recorded."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from appliance.import_steps import policies, trusting
from appliance.import_steps.coverage import verify_present
from appliance.import_steps.host import (
    Asked,
    ImportHost,
    ImportPlan,
    Observer,
    Step,
    Verified,
)
from appliance.import_steps.media import opened
from appliance.import_steps.preflight import preflight
from appliance.intake.lock import hold_import_lock
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.payload import read_artifact
from bundleformat.verify import VerifiedBundle
from bundleformat.volume_set import VolumeSet


def inspect_bundle(
    host: ImportHost, media: Sequence[Path], *, channel: str | None = None
) -> VerifiedBundle:
    """Return the bundle on ``media``, its metadata verified; changes nothing.

    Raises:
        RefusalError: The metadata is not acceptable.
    """
    trust = trusting.load_trust(host, channel)
    with opened(media) as volumes:
        return trusting.verify(host, volumes, trust=trust, scratch=_temporary())


def verify_bundle(
    host: ImportHost,
    media: Sequence[Path],
    *,
    channel: str | None = None,
    observer: Observer | None = None,
) -> Verified:
    """Return what ``media`` hold, every byte of it verified; changes nothing.

    One volume of several can be verified alone: the answer says what it covers.

    Raises:
        RefusalError: The metadata or a chunk is not acceptable.
    """
    watching = observer or Observer()
    watching.on_step(Step.VERIFY)
    trust = trusting.load_trust(host, channel)
    with opened(media) as volumes:
        bundle = trusting.verify(host, volumes, trust=trust, scratch=_temporary())
        found = verify_present(volumes, bundle, observer=watching)
    watching.on_step(Step.DONE)
    return found


def preview_import(
    host: ImportHost, asked: Asked, *, observer: Observer | None = None
) -> ImportPlan:
    """Return what an import would do; changes nothing, records nothing.

    Raises:
        RefusalError: The import would be refused, as far as metadata and policies
            say; models are examined only by an import.
        StorageFaultError: There is no room for it.
    """
    watching = observer or Observer()
    watching.on_step(Step.LOCK)
    with hold_import_lock(host.staging), opened(asked.media) as volumes:
        watching.on_step(Step.VERIFY)
        trust = trusting.load_trust(host, asked.channel)
        bundle = trusting.verify(
            host,
            volumes,
            trust=trust,
            scratch=host.staging,
            any_age=asked.accept_expired is not None,
        )
        watching.on_step(Step.PREFLIGHT)
        plan = preflight(host, volumes, bundle, trust=trust)
        if plan.active_generation is None:
            watching.on_step(Step.CHECK_POLICIES)
            _preview_policies(host, volumes, bundle)
        return plan


def _preview_policies(
    host: ImportHost, volumes: VolumeSet, bundle: VerifiedBundle
) -> None:
    """Check the policies that would be in force, if they are all at hand."""
    own = [each for each in bundle.manifest.artifacts if each.kind == "policy"]
    if all(volumes.present(chunk) for each in own for chunk in each.chunks):
        most = DEFAULT_LIMITS.policy_bytes
        read = partial(read_artifact, volumes, max_bytes=most)
        host.check_policies(policies.policies_after(host, bundle.manifest, read=read))


def _temporary() -> Path:
    """Return where a look that holds no lock may put its small scratch folder."""
    return Path(tempfile.gettempdir())
