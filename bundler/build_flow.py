"""Builds a signed bundle: the steps, in their order.

spec -> open source -> inspect -> copy into chunks while hashing -> manifest ->
sign -> write -> verify own output with the host's code -> give it its name.

Whatever fails or is interrupted, nothing is left under the name asked for or
beside it.
"""

import datetime as dt
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundleformat.errors import ConflictError, ExpiredError, UsageError
from bundleformat.layout import NOTE_PATH, root_path
from bundleformat.limits import Limits
from bundleformat.manifest import (
    FOLDERS,
    FORMAT,
    Artifact,
    Kind,
    Manifest,
    ModelTerms,
)
from bundleformat.moments import format_moment, whole_second
from bundleformat.paths import Name, parse_path
from bundleformat.trust import BOOTSTRAP_FILE, TrustState
from bundleformat.verify import VerifiedBundle, verify_chunks, verify_metadata
from bundleformat.volume import Volume
from bundler.inspection import check_policy, model_terms
from bundler.pack import check_absent, new_folder, write_file
from bundler.progress import Meter
from bundler.publish import PublishingKeys, publish
from bundler.root import check_may_sign
from bundler.sources import Source, Stored, store_in_chunks
from bundler.spec import BundleSpec, ModelSpec, PolicySpec

SUFFIXES: Final[dict[Kind, str]] = {"model": "gguf", "policy": "cedar"}
"""How the path of an artifact ends, by kind."""

MAX_AHEAD: Final = dt.timedelta(days=1)
"""How far the time a bundle carries may lie after the publisher's clock.

Hosts never go back behind the newest ``created`` they accepted. One far in the
future would have them refuse every later bundle as expired, for good.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlan:
    """Everything a build needs.

    Attributes:
        spec: What to deliver.
        roots: Every root of the channel, from version 1 up.
        keys: Who signs.
        out: The folder to make; it must not exist.
        chunk_bytes: Largest chunk.
        created: The time the bundle carries; the same time, keys and sources
            give the same bytes.
        expires: When hosts will refuse the bundle.
    """

    spec: BundleSpec
    roots: tuple[bytes, ...]
    keys: PublishingKeys
    out: Path
    chunk_bytes: int
    created: dt.datetime
    expires: dt.datetime


def build_bundle(
    plan: BuildPlan, *, now: dt.datetime, limits: Limits, meter: Meter
) -> VerifiedBundle:
    """Write the bundle to ``plan.out`` and return it as a host would see it.

    Raises:
        ConflictError: ``plan.out`` exists, a source changed, or the root is of
            another channel.
        SpecError, MissingError, MalformedError, LimitExceededError: A source
            cannot be delivered.
        KeyFileError: A key does not hold the role it is used for.
        UsageError: The bundle's time is more than a day after ``now``.
        ExpiredError: Root or bundle would be expired at ``now``.
        StorageFaultError: The disk is full or cannot be written.
    """
    check_absent(plan.out)
    check_times(created=plan.created, expires=plan.expires, now=now)
    _check_roles(plan, now=now)
    with new_folder(plan.out) as folder:
        artifacts = _store_all(plan, folder, limits=limits, meter=meter)
        manifest = Manifest(
            format=FORMAT,
            channel=plan.spec.channel,
            version=plan.spec.version,
            created=plan.created,
            artifacts=tuple(sorted(artifacts, key=lambda item: item.path)),
        )
        _write_signed(plan, manifest, folder)
        return verify_own_output(
            folder, roots=plan.roots, now=now, limits=limits, meter=meter
        )


def check_times(
    *, created: dt.datetime, expires: dt.datetime, now: dt.datetime
) -> None:
    """Check that hosts could use a bundle of these times, and the next ones, too.

    Raises:
        UsageError: ``created`` is more than a day after ``now``.
        ExpiredError: ``now`` is at or past ``expires``.
    """
    latest = whole_second(now) + MAX_AHEAD
    if created > latest:
        raise UsageError(
            "this time lies in the future",
            where="--source-date",
            expected=f"at most {format_moment(latest)}",
            actual=format_moment(created),
            hint="A host that accepted such a bundle would refuse every later one "
            "as expired. Correct the date, or this machine's clock.",
        )
    if now >= expires:
        raise ExpiredError(
            "the bundle would have expired before it was built",
            where="--source-date",
            expected=f"an expiry after {format_moment(whole_second(now))}",
            actual=format_moment(expires),
            hint="Give it a later --source-date or a longer life with --expires; if "
            "neither is wrong, this machine's clock is.",
        )


def verify_own_output(
    folder: Path,
    *,
    roots: tuple[bytes, ...],
    now: dt.datetime,
    limits: Limits,
    meter: Meter,
) -> VerifiedBundle:
    """Return the bundle in ``folder`` as a host sees it that began with root 1.

    Raises:
        RefusalError: A host would refuse it.
        StorageFaultError: It cannot be read.
    """
    # The roots are the publisher's own, so no fingerprint is compared here. An
    # old first root may have expired; what counts is where its chain leads.
    state = TrustState(
        files=((BOOTSTRAP_FILE, roots[0]), ("root_history/1.root.json", roots[0]))
    )
    with tempfile.TemporaryDirectory() as scratch, Volume(folder) as volume:
        bundle = verify_metadata(
            volume,
            state=state,
            floor=None,
            now=now,
            scratch=Path(scratch),
            limits=limits,
        )
        artifacts = bundle.manifest.artifacts
        meter.stage("Verifying", sum(item.size_bytes for item in artifacts))
        verify_chunks(volume, bundle, progress=meter.advance)
    return bundle


def _check_roles(plan: BuildPlan, *, now: dt.datetime) -> None:
    channel = check_may_sign(
        plan.roots,
        release_key_id=plan.keys.release.public_key.keyid,
        bundler_key_id=plan.keys.bundler.public_key.keyid,
        now=now,
    )
    if channel != plan.spec.channel:
        raise ConflictError(
            "the root is of another channel",
            where="channel",
            expected=channel,
            actual=plan.spec.channel,
            hint="Build with the root of this channel, or correct the spec.",
        )


def _store_all(
    plan: BuildPlan, folder: Path, *, limits: Limits, meter: Meter
) -> list[Artifact]:
    for spec in plan.spec.models:
        # Early: a refusal after copying gigabytes would waste an hour.
        with Source(spec.path, max_bytes=limits.artifact_bytes) as source:
            model_terms(source, spec)
    return [
        *(
            _store_model(spec, folder, plan=plan, limits=limits, meter=meter)
            for spec in plan.spec.models
        ),
        *(
            _store_policy(spec, folder, plan=plan, limits=limits, meter=meter)
            for spec in plan.spec.policies
        ),
    ]


def _store_model(
    spec: ModelSpec, folder: Path, *, plan: BuildPlan, limits: Limits, meter: Meter
) -> Artifact:
    with Source(spec.path, max_bytes=limits.artifact_bytes) as source:
        terms = model_terms(source, spec)
        meter.stage(f"Copying {spec.name}", source.size_bytes)
        stored = store_in_chunks(
            source, folder, chunk_bytes=plan.chunk_bytes, progress=meter.advance
        )
    return artifact_of(spec.name, stored, model=terms)


def _store_policy(
    spec: PolicySpec, folder: Path, *, plan: BuildPlan, limits: Limits, meter: Meter
) -> Artifact:
    with Source(spec.path, max_bytes=limits.policy_bytes) as source:
        check_policy(source)
        meter.stage(f"Copying {spec.name}", source.size_bytes)
        stored = store_in_chunks(
            source, folder, chunk_bytes=plan.chunk_bytes, progress=meter.advance
        )
    return artifact_of(spec.name, stored, model=None)


def artifact_of(name: Name, stored: Stored, *, model: ModelTerms | None) -> Artifact:
    """Return the manifest's entry for a stored model, or for a stored policy."""
    kind: Kind = "model" if model is not None else "policy"
    return Artifact(
        kind=kind,
        name=name,
        path=parse_path(f"{FOLDERS[kind]}/{name}.{SUFFIXES[kind]}"),
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        chunks=stored.chunks,
        model=model,
    )


def _write_signed(plan: BuildPlan, manifest: Manifest, folder: Path) -> None:
    for version, root in enumerate(plan.roots, start=1):
        write_file(folder / root_path(version), root)
    for path, data in publish(manifest, keys=plan.keys, expires=plan.expires):
        write_file(folder / path, data)
    write_file(folder / NOTE_PATH, _note(manifest, plan.expires).encode("utf-8"))


def _note(manifest: Manifest, expires: dt.datetime) -> str:
    lines = (
        f"Sallyport bundle: channel {manifest.channel}, version {manifest.version}",
        f"Created {format_moment(manifest.created)}",
        f"Refused from {format_moment(expires)} on",
        "",
        *(
            f"  {item.path}  {item.size_bytes} bytes  sha256 {item.sha256}"
            for item in manifest.artifacts
        ),
        "",
        "This note is not signed and no program reads it. On the isolated host:",
        "  sallyport bundle verify FOLDER",
        "  sallyport bundle import FOLDER",
        "",
    )
    return "\n".join(lines)
