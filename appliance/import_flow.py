"""One bundle, from its media to the active generation.

1. lock: one import at a time.
2. verify: the metadata, on a scratch copy of the trust state.
3. preflight: names, that this version is no other bundle, that it is for this
   host, and room on the disk, from signed sizes. A preview goes on with step 6,
   reading the policies from the media, and ends there.
4. copy: every artifact that is not in the store, hashed as it is copied.
5. examine: every artifact that has an examiner, in a confined child process.
6. check-policies: the site policies as they would be in force afterwards.
7. install-environments: what brings wheels, where nobody uses it yet.
8. trial-load: an engine process loads each new model once, and is gone.
9. admit: the copies move into the store.
10. activate: generation, trust state, floor and receipt in one transaction.
11. done.

Until the commit of step 10 nobody can see that anything was imported, and after
it everything was. The process may be killed anywhere: running it again completes.
Each of steps 3 to 9 is on record as soon as it passed. A refusal is itself one
record, ``bundle.refused``, and leaves nothing of the refused bundle in the staging
folder; a bundle refused at step 2 never had anything there, and cannot cost another
one its unfinished copy. A fault of the disk leaves good chunks for the next
attempt. Any other fault at steps 5 and 8 says that a process died of the model: it
is recorded and cleared away like a refusal.

A bundle may lie on several volumes, which are given together or one after the
other. While one is lacking, step 4 ends without a refusal: what was copied is
kept, nothing is trusted yet, and the next run goes on with another volume. Chunks
that this host has inside other stored files are taken from there.

A bundle that is active already ends after step 3, unless the store has lost some
of it. Then that is copied and examined again, and step 9 admits it together with
the record ``bundle.repaired``; one that is killed between the two leaves the record
to the next run. Steps 6 to 8 concern what is new and are left out,
and so is step 10, unless the medium brings news of whom to trust: then the trust
state and the floor are committed with the record ``trust.updated``. A bundle that
delivers nothing but such news goes from step 3 to step 10.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from appliance.errors import AuditUnavailableError
from appliance.import_steps import activation, examination, policies, records, trusting
from appliance.import_steps.copying import Copying
from appliance.import_steps.host import (
    Asked,
    Copied,
    Copies,
    Imported,
    ImportHost,
    ImportPlan,
    Observer,
    Step,
)
from appliance.import_steps.media import opened
from appliance.import_steps.preflight import preflight
from appliance.import_steps.records import Receipt
from appliance.intake.lock import hold_import_lock
from appliance.intake.staging import Staging
from appliance.intake.trust_state import ChannelTrust
from appliance.ledger.records.events import Draft, Outcome
from appliance.ledger.records.fields import JSON
from bundleformat.digest import sha256_of
from bundleformat.errors import (
    ConflictError,
    Error,
    FaultError,
    RefusalError,
    StorageFaultError,
    VolumesMissingError,
)
from bundleformat.verify import VerifiedBundle
from bundleformat.volume_set import VolumeSet


def import_bundle(
    host: ImportHost, asked: Asked, *, observer: Observer | None = None
) -> Imported:
    """Import a bundle; afterwards it is active and on record.

    Importing what is already active repairs what the store has lost of it, or
    changes nothing, and says so. A path where there is nothing leaves no record.

    Raises:
        VolumesMissingError: What was given is copied, and another volume is wanted;
            running this again with it goes on from there.
        RefusalError: Nothing changed but the ledger, which says what was refused.
        FaultError: The host failed; nothing is visible, and running this again
            goes on from there.
    """
    attempt = _Attempt(host, asked, observer or Observer())
    # 1. Lock: what lies in the staging folder is this process's from here on.
    attempt.begin(Step.LOCK)
    with hold_import_lock(host.staging):
        try:
            return attempt.run()
        except VolumesMissingError:
            # No refusal: good so far, and kept for the next run.
            raise
        except RefusalError as error:
            # A mistyped path is no medium; one that is pulled out later is.
            if attempt.step is not Step.LOCK or _all_there(asked.media):
                attempt.refuse(error, outcome=Outcome.REFUSED)
            raise
        except (StorageFaultError, AuditUnavailableError):
            # A fault of this host says nothing of the bundle; good chunks stay.
            raise
        except FaultError as error:
            if attempt.step in {Step.EXAMINE, Step.TRIAL_LOAD}:
                attempt.refuse(error, outcome=Outcome.ERROR)
            raise


class _Attempt:
    """One run of the flow, and how far it came."""

    def __init__(self, host: ImportHost, asked: Asked, observer: Observer) -> None:
        self._host = host
        self._asked = asked
        self._observer = observer
        self._staging = Staging(host.staging)
        self._media = len(asked.media)
        self.step = Step.LOCK
        self._undo: Callable[[], object] = _nothing
        # What is known of the bundle so far, for the record of a refusal.
        self._known: dict[str, JSON] = {}

    def begin(self, step: Step) -> None:
        self.step = step
        self._observer.on_step(step)

    def run(self) -> Imported:
        with contextlib.ExitStack() as stack:
            # Closed before another volume is asked for: a drive may be in use.
            volumes = stack.enter_context(opened(self._asked.media))

            # 2. Verify the metadata on a scratch copy of the trust state.
            self.begin(Step.VERIFY)
            trust = trusting.load_trust(self._host, self._asked.channel)
            self._known["channel"] = trust.channel
            bundle = self._verify(volumes, trust)
            self._known |= records.identity(bundle)

            # 3. Preflight, and forget copies that are of no use to this bundle.
            self.begin(Step.PREFLIGHT)
            plan = preflight(self._host, volumes, bundle, trust=trust)
            if self._nothing_to_copy(plan):
                return self._leave_active(plan, trust=trust)
            self._staging.purge(
                keep=plan.wanted, bundle=sha256_of(bundle.manifest_bytes)
            )
            self._record(
                records.verified_draft(
                    bundle, media=self._media, copy_bytes=plan.copy_bytes
                )
            )

            # 4. Copy what the store does not hold, hashing it on the way.
            self.begin(Step.COPY)
            copied = self._copy(plan, volumes, trust, first=stack)

        # 5. Examine; from here on only the copies are read.
        self.begin(Step.EXAMINE)
        if plan.active_generation is not None:
            return self._repair(plan, copied, trust=trust)
        return self._activate(plan, copied, trust=trust)

    def refuse(self, error: Error, *, outcome: Outcome) -> None:
        """Record the refusal; then forget the copies of a bundle that was verified."""
        try:
            activation.record_refusal(
                self._host, error, outcome=outcome, step=self.step, known=self._known
            )
        finally:
            if self.step not in {Step.LOCK, Step.VERIFY}:
                # What cannot be removed now is removed by the next import; the
                # answer to this one stays the refusal.
                with contextlib.suppress(StorageFaultError):
                    self._undo()
                    self._staging.purge()

    def _verify(self, volumes: VolumeSet, trust: ChannelTrust) -> VerifiedBundle:
        return trusting.verify(
            self._host,
            volumes,
            trust=trust,
            scratch=self._host.staging,
            any_age=self._asked.accept_expired is not None,
        )

    def _nothing_to_copy(self, plan: ImportPlan) -> bool:
        if plan.bundle.manifest.purpose == "trust":
            return True
        return plan.active_generation is not None and not (plan.damaged or plan.moved)

    def _copy(
        self,
        plan: ImportPlan,
        volumes: VolumeSet,
        trust: ChannelTrust,
        *,
        first: contextlib.ExitStack,
    ) -> Copied:
        """Copy from volume after volume until all is there, or nobody brings one."""
        with Copying(self._host, plan, observer=self._observer) as copying:
            problem = copying.take(volumes)
            first.close()
            while problem is not None:
                if not isinstance(problem, VolumesMissingError):
                    raise problem
                if not self._observer.next_volume(problem):
                    raise problem
                problem = self._take_next(copying, plan, trust)
            copied = copying.result()
        self._record(
            records.copied_draft(
                plan.bundle,
                files=len(copied.copies),
                copied_bytes=copied.medium_bytes,
                reused_bytes=copied.reused_bytes,
            )
        )
        return copied

    def _take_next(
        self, copying: Copying, plan: ImportPlan, trust: ChannelTrust
    ) -> RefusalError | None:
        """Copy from what was put in instead, which must be of the same bundle."""
        self.begin(Step.VERIFY)
        with opened(self._asked.media) as volumes:
            bundle = self._verify(volumes, trust)
            if bundle.manifest_bytes != plan.bundle.manifest_bytes:
                raise ConflictError(
                    "a volume of another bundle",
                    where=volumes.label,
                    expected=f"version {plan.bundle.bundle_version}",
                    actual=f"version {bundle.bundle_version}",
                    hint="Import again, with the volume that was asked for.",
                )
            self._media += len(self._asked.media)
            self.begin(Step.COPY)
            return copying.take(volumes)

    def _repair(
        self, plan: ImportPlan, copied: Copied, *, trust: ChannelTrust
    ) -> Imported:
        bundle, active = plan.bundle, plan.active_generation
        examination.examine(self._host, bundle.manifest, copied.copies)
        self._record(records.examined_draft(bundle))
        self.begin(Step.ADMIT)
        repaired = activation.repair(
            self._host,
            bundle,
            copied.copies,
            generation=active or 0,
            moved=plan.moved,
            receipt=self._receipt(plan, copied),
        )
        return self._leave_active(plan, trust=trust, repaired=repaired)

    def _activate(
        self, plan: ImportPlan, copied: Copied, *, trust: ChannelTrust
    ) -> Imported:
        host, bundle, copies = self._host, plan.bundle, copied.copies
        manifest = bundle.manifest
        facts = examination.examine(host, manifest, copies)
        self._record(records.examined_draft(bundle))

        # 6. Check the site's policies as they would be in force afterwards.
        self.begin(Step.CHECK_POLICIES)
        after = policies.policies_after(
            host, manifest, read=lambda each: copies[each.sha256].read_bytes()
        )
        host.check_policies(after)
        self._record(records.policies_draft(bundle, policies=len(after)))

        # 7. Install what brings wheels, where nobody uses it yet.
        self.begin(Step.INSTALL_ENVIRONMENTS)
        environments = self._install(plan, copies)
        if environments:
            self._record(records.installed_draft(bundle, environments))

        # 8. Load each model once where it can do no harm, with this host's limits.
        self.begin(Step.TRIAL_LOAD)
        loaded = examination.trial_load(host, manifest, copies)
        self._record(records.loaded_draft(bundle, loaded))

        # 9. Admit: for a moment the store holds more than anybody can see.
        self.begin(Step.ADMIT)
        moved = activation.admit(host, copies)
        self._staging.purge()
        self._record(records.admitted_draft(bundle, files=moved))

        # 10. Activate: one transaction makes all of it visible.
        self.begin(Step.ACTIVATE)
        receipt = self._receipt(plan, copied, environments=environments)
        generation = activation.activate(host, bundle, trust=trust, receipt=receipt)

        # 11. Done.
        self.begin(Step.DONE)
        return Imported(
            bundle=bundle,
            generation=generation,
            already_active=False,
            withdrawn=plan.withdrawn,
            not_allowed_here=plan.not_allowed_here,
            environments=environments,
            facts=facts,
        )

    def _install(self, plan: ImportPlan, copies: Copies) -> tuple[str, ...]:
        unsuitable = frozenset(fit.name for fit in plan.fits if fit.misfits)
        manifest = plan.bundle.manifest
        # A kept generation may need its own again, whatever becomes of this run.
        if not plan.known:
            self._undo = partial(self._host.environments.discard, manifest)
        installed = self._host.environments.install(
            manifest, copies, unsuitable=unsuitable
        )
        return tuple(each.name for each in installed)

    def _receipt(
        self,
        plan: ImportPlan,
        copied: Copied | None = None,
        *,
        environments: tuple[str, ...] = (),
    ) -> Receipt:
        return Receipt(
            operator_uid=self._host.operator_uid,
            media=self._media,
            copied_bytes=copied.medium_bytes if copied else 0,
            reused_bytes=copied.reused_bytes if copied else 0,
            environments=environments,
            not_allowed_here=plan.not_allowed_here,
            accept_expired=self._asked.accept_expired,
        )

    def _record(self, draft: Draft) -> None:
        activation.record(self._host, draft)

    def _leave_active(
        self,
        plan: ImportPlan,
        *,
        trust: ChannelTrust,
        repaired: tuple[str, ...] | None = None,
    ) -> Imported:
        """End what makes no generation; news of whom to trust is kept."""
        self._staging.purge()
        if plan.updates_trust:
            self.begin(Step.ACTIVATE)
            # The record of a repair says already that expiry was accepted.
            receipt = self._receipt(plan) if repaired is None else None
            activation.update_trust(
                self._host, plan.bundle, trust=trust, receipt=receipt
            )
        self.begin(Step.DONE)
        return Imported(
            bundle=plan.bundle,
            generation=plan.active_generation,
            already_active=plan.active_generation is not None,
            repaired=repaired or (),
            trust_updated=plan.updates_trust,
        )


def _nothing() -> None:
    """Undo nothing."""


def _all_there(media: Sequence[Path]) -> bool:
    """Return whether something lies at every path that was given."""
    return all(os.path.lexists(path) for path in media)
