"""One bundle, from a medium to the active generation.

1. lock: one import at a time.
2. verify: the metadata, on a scratch copy of the trust state.
3. preflight: names, that this version is no other bundle, and room on the disk,
   from signed sizes. A preview goes on with step 6, reading the policies from the
   medium, and ends there.
4. copy: every artifact that is not in the store, hashed as it is copied.
5. examine: every model, in a confined child process.
6. check-policies: the site policies as they would be in force afterwards.
7. trial-load: an engine process loads each new model once, and is gone.
8. admit: the copies move into the store.
9. activate: generation, trust state, floor and receipt in one transaction.
10. done.

Until the commit of step 9 nobody can see that anything was imported, and after
it everything was. The process may be killed anywhere: running it again
completes. A refusal is itself a record, ``bundle.refused``, and leaves nothing of
the refused bundle in the staging folder; a bundle refused at step 2 never had
anything there, and cannot cost another one its unfinished copy. A fault of the
disk leaves good chunks for the next attempt. Any other fault at steps 5 and 7 says
that a process died of the model: it is recorded and cleared away like a refusal.

A bundle that is active already ends after step 3, unless the store has lost some
of it. Then that is copied and examined again, and step 8 admits it together with
the record ``bundle.repaired``. Steps 6 and 7 concern what is new and are left out,
and so is step 9, unless the medium brings a newer root: then the trust state and
the floor are committed with the record ``trust.updated``.
"""

import contextlib
import os
import tempfile
from functools import partial
from pathlib import Path

from appliance import import_steps as steps
from appliance.import_host import Imported, ImportHost, ImportPlan, Observer, Step
from appliance.intake.lock import hold_import_lock
from appliance.intake.staging import Staging
from appliance.intake.trust_state import ChannelTrust
from appliance.ledger.events import Outcome
from appliance.ledger.fields import JSON
from bundleformat.digest import sha256_of
from bundleformat.errors import Error, FaultError, RefusalError, StorageFaultError
from bundleformat.verify import VerifiedBundle, verify_chunks
from bundleformat.volume import Volume

__all__ = [
    "ImportHost",
    "ImportPlan",
    "Imported",
    "Observer",
    "Step",
    "import_bundle",
    "inspect_bundle",
    "preview_import",
    "verify_bundle",
]


def inspect_bundle(
    host: ImportHost, medium: Path, *, channel: str | None = None
) -> VerifiedBundle:
    """Return the bundle on ``medium``, its metadata verified; changes nothing.

    Raises:
        RefusalError: The metadata is not acceptable.
    """
    trust = steps.load_trust(host, channel)
    with Volume(medium) as volume:
        return steps.verify(host, volume, trust=trust, scratch=_temporary())


def verify_bundle(
    host: ImportHost,
    medium: Path,
    *,
    channel: str | None = None,
    observer: Observer | None = None,
) -> VerifiedBundle:
    """Return the bundle on ``medium``, every byte of it verified; changes nothing.

    Raises:
        RefusalError: The metadata or a chunk is not acceptable.
    """
    watching = observer or Observer()
    watching.on_step(Step.VERIFY)
    trust = steps.load_trust(host, channel)
    with Volume(medium) as volume:
        bundle = steps.verify(host, volume, trust=trust, scratch=_temporary())
        total = sum(artifact.size_bytes for artifact in bundle.manifest.artifacts)
        verify_chunks(volume, bundle, progress=steps.Counter(watching, total).add)
    watching.on_step(Step.DONE)
    return bundle


def preview_import(
    host: ImportHost,
    medium: Path,
    *,
    channel: str | None = None,
    observer: Observer | None = None,
) -> ImportPlan:
    """Return what importing ``medium`` would do; changes nothing, records nothing.

    Raises:
        RefusalError: The import would be refused, as far as metadata and policies
            say; models are examined only by an import.
        StorageFaultError: There is no room for it.
    """
    watching = observer or Observer()
    watching.on_step(Step.LOCK)
    with hold_import_lock(host.staging), Volume(medium) as volume:
        watching.on_step(Step.VERIFY)
        trust = steps.load_trust(host, channel)
        bundle = steps.verify(host, volume, trust=trust, scratch=host.staging)
        watching.on_step(Step.PREFLIGHT)
        plan = steps.preflight(host, bundle, trust=trust)
        if plan.active_generation is None:
            watching.on_step(Step.CHECK_POLICIES)
            read = partial(steps.read_policy, volume)
            host.check_policies(steps.policies_after(host, bundle.manifest, read=read))
        return plan


def import_bundle(
    host: ImportHost,
    medium: Path,
    *,
    channel: str | None = None,
    observer: Observer | None = None,
) -> Imported:
    """Import the bundle on ``medium``; afterwards it is active and on record.

    Importing what is already active repairs what the store has lost of it, or
    changes nothing, and says so. A path where there is nothing leaves no record.

    Raises:
        RefusalError: Nothing changed but the ledger, which says what was refused.
        FaultError: The host failed; nothing is visible, and running this again
            goes on from there.
    """
    attempt = _Attempt(host, observer or Observer())
    # 1. Lock: what lies in the staging folder is this process's from here on.
    attempt.begin(Step.LOCK)
    with hold_import_lock(host.staging):
        try:
            return attempt.run(medium, channel=channel)
        except RefusalError as error:
            # A mistyped path is no medium; one that is pulled out later is.
            if attempt.step is not Step.LOCK or os.path.lexists(medium):
                attempt.refuse(error, outcome=Outcome.REFUSED)
            raise
        except StorageFaultError:
            # The disk's fault says nothing of the bundle; good chunks stay.
            raise
        except FaultError as error:
            if attempt.step in {Step.EXAMINE, Step.TRIAL_LOAD}:
                attempt.refuse(error, outcome=Outcome.ERROR)
            raise


class _Attempt:
    """One run of the flow, and how far it came."""

    def __init__(self, host: ImportHost, observer: Observer) -> None:
        self._host = host
        self._observer = observer
        self._staging = Staging(host.staging)
        self.step = Step.LOCK
        # What is known of the bundle so far, for the record of a refusal.
        self._known: dict[str, JSON] = {}

    def begin(self, step: Step) -> None:
        self.step = step
        self._observer.on_step(step)

    def run(self, medium: Path, *, channel: str | None) -> Imported:
        host = self._host
        with Volume(medium) as volume:
            # 2. Verify the metadata on a scratch copy of the trust state.
            self.begin(Step.VERIFY)
            trust = steps.load_trust(host, channel)
            self._known["channel"] = trust.channel
            bundle = steps.verify(host, volume, trust=trust, scratch=host.staging)
            self._known["version"] = bundle.bundle_version
            self._known["manifest_sha256"] = sha256_of(bundle.manifest_bytes)

            # 3. Preflight, and forget copies that are of no use to this bundle.
            self.begin(Step.PREFLIGHT)
            plan = steps.preflight(host, bundle, trust=trust)
            if plan.active_generation is not None and not plan.damaged:
                return self._leave_active(plan, plan.active_generation, trust=trust)
            wanted = steps.distinct(bundle.manifest)
            self._staging.purge(keep=wanted)

            # 4. Copy what the store does not hold, hashing it on the way.
            self.begin(Step.COPY)
            copies = steps.copy(host, volume, wanted, observer=self._observer)

        # 5. Examine the models; from here on only the copies are read.
        self.begin(Step.EXAMINE)
        facts = steps.examine(host, bundle.manifest, copies)
        if plan.active_generation is not None:
            self.begin(Step.ADMIT)
            active = plan.active_generation
            repaired = steps.repair(host, bundle, copies, generation=active)
            return self._leave_active(plan, active, trust=trust, repaired=repaired)

        # 6. Check the site's policies as they would be in force afterwards.
        self.begin(Step.CHECK_POLICIES)
        host.check_policies(
            steps.policies_after(
                host,
                bundle.manifest,
                read=lambda each: copies[each.sha256].read_bytes(),
            )
        )

        # 7. Load each model once where it can do no harm, with this host's limits.
        self.begin(Step.TRIAL_LOAD)
        steps.trial_load(host, bundle.manifest, copies)

        # 8. Admit: for a moment the store holds more than anybody can see.
        self.begin(Step.ADMIT)
        steps.admit(host, copies)
        self._staging.purge()

        # 9. Activate: one transaction makes all of it visible.
        self.begin(Step.ACTIVATE)
        generation = steps.activate(host, bundle, trust=trust)

        # 10. Done.
        self.begin(Step.DONE)
        return Imported(
            bundle=bundle,
            generation=generation,
            already_active=False,
            withdrawn=plan.withdrawn,
            facts=facts,
        )

    def refuse(self, error: Error, *, outcome: Outcome) -> None:
        """Record the refusal; then forget the copies of a bundle that was verified."""
        try:
            steps.record_refusal(
                self._host,
                code=error.code,
                outcome=outcome,
                step=self.step,
                known=self._known,
            )
        finally:
            if self.step not in {Step.LOCK, Step.VERIFY}:
                # What cannot be removed now is removed by the next import; the
                # answer to this one stays the refusal.
                with contextlib.suppress(StorageFaultError):
                    self._staging.purge()

    def _leave_active(
        self,
        plan: ImportPlan,
        generation: int,
        *,
        trust: ChannelTrust,
        repaired: tuple[str, ...] = (),
    ) -> Imported:
        """End the import of what is active; a newer root it brought is kept."""
        self._staging.purge()
        if plan.updates_trust:
            self.begin(Step.ACTIVATE)
            steps.update_trust(self._host, plan.bundle, trust=trust)
        self.begin(Step.DONE)
        return Imported(
            bundle=plan.bundle,
            generation=generation,
            already_active=True,
            repaired=repaired,
            trust_updated=plan.updates_trust,
        )


def _temporary() -> Path:
    """Return where a look that holds no lock may put its small scratch folder."""
    return Path(tempfile.gettempdir())
