"""Verifies a bundle on a volume; the steps are those of FORMAT.md, by number.

``verify_metadata`` (steps 1 to 10) reads only small files and touches no
payload. ``verify_chunks`` (steps 11 and 12) hashes the payload where it lies; an
import does the same to the bytes it copies, and uses only the copy. No function
here changes a trust state: it returns the new one, and the caller commits it
when everything else it wants to know was answered, too.
"""

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Root

from bundleformat.digest import check_digest, check_reader
from bundleformat.draft_check import check_no_draft
from bundleformat.errors import (
    DigestMismatchError,
    LimitExceededError,
    MalformedError,
    StorageFaultError,
)
from bundleformat.layout import chunk_path
from bundleformat.limits import Limits
from bundleformat.manifest import Artifact, Manifest, parse_manifest
from bundleformat.medium import COPY_AGAIN, Medium
from bundleformat.trust import TrustFloor, TrustState, channel_of
from bundleformat.tufclient import Refreshed, refresh
from bundleformat.verify_checks import (
    check_claimed_channel,
    check_floor,
    check_manifest,
    check_one_version,
    check_root_chain,
    check_same_metadata,
    check_state_floor,
    check_targets,
    read_manifest,
)
from bundleformat.verify_profile import check_digests, check_profile


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedBundle:
    """A bundle whose metadata passed every step; only ``verify_metadata`` makes it.

    Attributes:
        manifest: The signed list of artifacts.
        manifest_bytes: The bytes it was parsed from.
        state: The trust state after this bundle. The caller MUST commit it in
            one transaction with ``floor`` and with what it activates, and only
            when every artifact was verified.
        floor: The floor after this bundle.
        root_version: Version of the root that vouches for it.
        bundle_version: Version of the bundle; all metadata carries it.
        expires: The earliest expiry of its timestamp, snapshot, targets and root.
        signed_by: Ids of the keys that signed: release keys first, then those
            of snapshot and timestamp.
        fresh: True if the given state had not seen this version.
        expired: True if it is past its expiry and was accepted all the same.
    """

    manifest: Manifest
    manifest_bytes: bytes
    state: TrustState
    floor: TrustFloor
    root_version: int
    bundle_version: int
    expires: dt.datetime
    signed_by: tuple[str, ...]
    fresh: bool
    expired: bool = False


def verify_metadata(
    volume: Medium,
    *,
    state: TrustState,
    floor: TrustFloor | None,
    now: dt.datetime,
    scratch: Path,
    limits: Limits,
) -> VerifiedBundle:
    """Return the bundle on ``volume``, whose metadata is signed, current and whole.

    Nothing is left in ``scratch``, which must exist; no payload is read.

    Raises:
        SignatureError: Not signed by enough of the keys that ``state`` trusts.
        ConflictError: The volume says it is of another channel.
        RollbackError: Older than ``state`` or ``floor``.
        EquivocationError: A version seen before, with other content.
        ExpiredError: Past its expiry at ``now`` or at the floor's time.
        DigestMismatchError: A file differs from what was signed.
        MissingError: A metadata file is not on the volume.
        MalformedError, LimitExceededError: A file breaks its format or limit.
        StorageFaultError: The volume or the scratch folder cannot be used.
    """
    return _verify(
        volume,
        state=state,
        floor=floor,
        now=now,
        scratch=scratch,
        limits=limits,
        accepted_age=dt.timedelta(0),
    )


def verify_metadata_accepting_expired(
    volume: Medium,
    *,
    state: TrustState,
    floor: TrustFloor | None,
    now: dt.datetime,
    scratch: Path,
    limits: Limits,
    grace: dt.timedelta | None,
) -> VerifiedBundle:
    """Return what ``verify_metadata`` does, of a bundle that may have expired.

    Nothing protects against a bundle that was held back: whoever calls this MUST
    have a person's reason or the site's settings for it, and MUST record it when
    the answer is ``expired``. Every other step holds.

    Raises:
        ExpiredError: Expired for at least ``grace``; None accepts any age.
        RefusalError, StorageFaultError: As ``verify_metadata``.
    """
    return _verify(
        volume,
        state=state,
        floor=floor,
        now=now,
        scratch=scratch,
        limits=limits,
        accepted_age=grace,
    )


def _verify(
    volume: Medium,
    *,
    state: TrustState,
    floor: TrustFloor | None,
    now: dt.datetime,
    scratch: Path,
    limits: Limits,
    accepted_age: dt.timedelta | None,
) -> VerifiedBundle:
    try:
        return _verify_steps(
            volume,
            state=state,
            floor=floor,
            now=now,
            scratch=scratch,
            limits=limits,
            accepted_age=accepted_age,
        )
    except (MalformedError, LimitExceededError, DigestMismatchError) as error:
        raise error.advised(COPY_AGAIN) from error


def _verify_steps(
    volume: Medium,
    *,
    state: TrustState,
    floor: TrustFloor | None,
    now: dt.datetime,
    scratch: Path,
    limits: Limits,
    accepted_age: dt.timedelta | None,
) -> VerifiedBundle:
    # Step 1: Read metadata only as regular files, under caps, as strict JSON.
    # The volume and the fetcher of `refresh` do this for every file.

    # Step 2: The volume claims this channel; its roots have no gap and rewrite nothing.
    check_no_draft(volume, limits=limits)
    check_claimed_channel(volume, channel=channel_of(state), limits=limits)
    check_root_chain(volume, state=state, limits=limits)

    # Step 3: The state is not below its floor; the later of clock and floor counts.
    check_state_floor(state, floor)
    reference_time = now if floor is None else max(now, floor.time_floor)

    # Step 4: Root, timestamp, snapshot and targets pass the TUF workflow and profile.
    found = refresh(
        volume,
        state=state,
        reference_time=_earlier(reference_time, accepted_age),
        now=now,
        scratch=scratch,
        limits=limits,
    )
    check_profile(found, limits=limits)

    # Step 5: Neither the root nor the bundle is below the floor.
    check_floor(found, floor)

    # Step 6: The metadata on the volume is the metadata that was verified.
    check_same_metadata(volume, found, limits=limits)

    # Step 7: One version throughout, one channel, no delegations.
    check_one_version(found, channel=channel_of(state))

    # Step 8: The manifest is the signed one, in its one encoding.
    manifest_bytes = read_manifest(volume, found, limits=limits)
    manifest = parse_manifest(manifest_bytes, limits=limits)

    # Step 9: The manifest names this channel and version, and a credible time.
    check_manifest(manifest, found)
    check_digests(manifest, found)

    # Step 10: The signed targets are the manifest and its chunks, and no others.
    check_targets(manifest, found.targets.signed)

    bundle = _verified(manifest, manifest_bytes, found, before=state, floor=floor)
    return replace(bundle, expired=found.expires <= reference_time)


def _earlier(moment: dt.datetime, age: dt.timedelta | None) -> dt.datetime:
    """Return ``moment`` less ``age``, or a time before every expiry."""
    earliest = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
    if age is None or moment - earliest < age:
        return earliest
    return moment - age


def verify_chunks(
    volume: Medium,
    bundle: VerifiedBundle,
    *,
    progress: Callable[[int], object],
) -> None:
    """Hash every chunk and every artifact of ``bundle`` on ``volume``.

    ``progress`` is given the bytes of each block. Nothing is kept, so what was
    verified here MUST NOT be read again and used: the medium may have changed.

    Raises:
        DigestMismatchError: A chunk or an artifact differs from what was signed.
        MissingError: A chunk is not on this volume.
        MalformedError: A link or special file lies in the place of a chunk.
        StorageFaultError: The medium cannot be read.
    """
    for artifact in bundle.manifest.artifacts:
        _verify_artifact(volume, artifact, progress=progress)


def _verify_artifact(
    volume: Medium, artifact: Artifact, *, progress: Callable[[int], object]
) -> None:
    whole = hashlib.sha256()
    longer = None if artifact.sha384 is None else hashlib.sha384()

    def take(block: bytes) -> None:
        whole.update(block)
        if longer is not None:
            longer.update(block)
        progress(len(block))

    # Step 11: Every chunk has its signed length and digest.
    for chunk in artifact.chunks:
        path = chunk_path(chunk.sha256)
        try:
            with volume.open(path) as file:
                check_reader(
                    file,
                    sha256=chunk.sha256,
                    size_bytes=chunk.size_bytes,
                    where=path,
                    sha384=chunk.sha384,
                    sink=take,
                )
        except OSError as error:
            raise StorageFaultError(
                "cannot be read", where=path, actual=error.strerror or str(error)
            ) from error

    # Step 12: The chunks, in their order, are the artifact.
    check_digest(artifact.sha256, whole.hexdigest(), where=artifact.path, name="sha256")
    if longer is not None:
        check_digest(
            artifact.sha384, longer.hexdigest(), where=artifact.path, name="sha384"
        )


def _verified(
    manifest: Manifest,
    manifest_bytes: bytes,
    found: Refreshed,
    *,
    before: TrustState,
    floor: TrustFloor | None,
) -> VerifiedBundle:
    version, root_version = manifest.version, found.root.signed.version
    created = manifest.created
    return VerifiedBundle(
        manifest=manifest,
        manifest_bytes=manifest_bytes,
        state=found.state,
        floor=TrustFloor(
            root_version=root_version,
            bundle_version=version,
            time_floor=created if floor is None else max(created, floor.time_floor),
        ),
        root_version=root_version,
        bundle_version=version,
        expires=found.expires,
        signed_by=_signers(found),
        fresh=before.file("timestamp.json") != found.state.file("timestamp.json"),
    )


def _signers(found: Refreshed) -> tuple[str, ...]:
    root: Root = found.root.signed
    keyids: dict[str, None] = {}
    metadata: Metadata[Any]
    for metadata in (found.targets, found.snapshot, found.timestamp):
        result = root.get_verification_result(
            metadata.signed.type, metadata.signed_bytes, metadata.signatures
        )
        keyids.update(dict.fromkeys(sorted(result.signed)))
    return tuple(keyids)
