"""Builds a signed bundle: the steps, in their order.

spec -> find and fetch sources -> inspect -> copy into chunks while hashing ->
manifest -> sign -> write -> verify own output with the host's code -> give it its
name.

Whatever fails or is interrupted, nothing is left under the name asked for or
beside it. Downloads are kept, in a cache, for the next try.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundleformat.errors import (
    ConflictError,
    ExpiredError,
    LimitExceededError,
    UsageError,
)
from bundleformat.layout import root_path
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.manifest import FORMAT, Digest, Manifest
from bundleformat.moments import format_moment, whole_second
from bundleformat.profile import parse_profile
from bundleformat.trust import parse_root
from bundleformat.verify import VerifiedBundle
from bundleformat.volume import Volume
from bundler.contents.chunks import ChunkFolder
from bundler.contents.collect import Sources, collect
from bundler.contents.environments import NamedEnvironment
from bundler.contents.models import WantedModel, fetch_models, locate_models
from bundler.contents.since import Since
from bundler.contents.spec import BundleSpec
from bundler.contents.unsigned_files import unsigned_files
from bundler.own_output import verify_own_output
from bundler.pack import check_absent, check_room, new_folder, write_file
from bundler.progress import Meter
from bundler.rooms.draft import write_draft
from bundler.roots.folder import check_may_sign
from bundler.signing.publish import PublishingKeys, publish
from bundler.wheels.environment import lock_environment

DEFAULT_CACHE: Final = Path("~/.cache/sallyport-bundler")
"""Where downloads and built wheels are kept unless a plan says otherwise."""

MAX_AHEAD: Final = dt.timedelta(days=1)
"""How far the time a bundle carries may lie after the publisher's clock.

Hosts never go back behind the newest ``created`` they accepted. One far in the
future would have them refuse every later bundle as expired, for good.
"""


def _not_told(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlan:
    """Everything a build needs.

    Attributes:
        spec: What to deliver.
        roots: Every root of the channel, from version 1 up.
        keys: Who signs; for a draft some may be missing.
        out: The folder to make; it must not exist.
        chunk_bytes: Largest chunk.
        created: The time the bundle carries; the same time, keys and sources
            give the same bytes.
        expires: When hosts will refuse the bundle.
        since: What hosts have already and the bundle leaves out, or None.
        cache: Where downloads, and wheels that were built, are kept.
        tell: Told what the publisher should know of a source, a sentence each.
    """

    spec: BundleSpec
    roots: tuple[bytes, ...]
    keys: PublishingKeys
    out: Path
    chunk_bytes: int
    created: dt.datetime
    expires: dt.datetime
    since: Since | None = None
    cache: Path = DEFAULT_CACHE
    tell: Callable[[str], object] = _not_told


def build_bundle(
    plan: BuildPlan, *, now: dt.datetime, limits: Limits, meter: Meter
) -> VerifiedBundle:
    """Write the bundle to ``plan.out`` and return it as a host would see it.

    Raises:
        ConflictError: ``plan.out`` exists, a source changed, or the root is of
            another channel.
        SpecError, MissingError, MalformedError, LimitExceededError,
            DigestMismatchError, AccessDeniedError: A source cannot be delivered.
        KeyFileError: A key does not hold the role it is used for.
        UsageError: The bundle's time is more than a day after ``now``, or more
            holders must sign.
        ExpiredError: Root or bundle would be expired at ``now``.
        HubFaultError: A hub cannot be reached.
        StorageFaultError: The disk is full or cannot be written.
    """
    sources = _prepare(plan, now=now, limits=limits, meter=meter)
    with new_folder(plan.out) as folder:
        manifest = _fill(plan, sources, folder, limits=limits, meter=meter)
        for path, data in publish(manifest, keys=plan.keys, expires=plan.expires):
            write_file(folder / path, data)
        with Volume(folder) as volume:
            return verify_own_output(
                volume, roots=plan.roots, now=now, limits=limits, meter=meter
            )


def build_draft(
    plan: BuildPlan, *, now: dt.datetime, limits: Limits, meter: Meter
) -> Manifest:
    """Write a draft to ``plan.out``, for others to sign, and return its manifest.

    No host takes it until it is complete; completing it verifies all of it.

    Raises:
        Error: As ``build_bundle``.
    """
    sources = _prepare(plan, now=now, limits=limits, meter=meter)
    with new_folder(plan.out) as folder:
        manifest = _fill(plan, sources, folder, limits=limits, meter=meter)
        write_draft(
            folder,
            manifest,
            roots=plan.roots,
            expires=plan.expires,
            release=plan.keys.release,
        )
    return manifest


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


def _prepare(
    plan: BuildPlan, *, now: dt.datetime, limits: Limits, meter: Meter
) -> Sources:
    """Refuse what can be refused early, and get every model onto this machine."""
    check_absent(plan.out)
    check_times(created=plan.created, expires=plan.expires, now=now)
    _check_roles(plan, now=now)
    models = locate_models(plan.spec.models, limits=limits)
    for sentence in (each for model in models for each in model.located.notes):
        plan.tell(sentence)
    check_chunk_count(models, chunk_bytes=plan.chunk_bytes, limits=limits)
    if plan.since is None:
        check_room(plan.out, sum(model.located.size_bytes for model in models))
    return Sources(
        models=fetch_models(models, cache=plan.cache, limits=limits, meter=meter),
        environments=tuple(
            NamedEnvironment(
                name=wheels.name,
                locked=lock_environment(wheels, cache=plan.cache, meter=meter),
            )
            for wheels in plan.spec.wheels
        ),
    )


def check_chunk_count(
    models: tuple[WantedModel, ...], *, chunk_bytes: int, limits: Limits
) -> None:
    """Check that the models do not make more chunks than a bundle may have.

    Raises:
        LimitExceededError: They do.
    """
    sizes = [file.size_bytes for model in models for file in model.located.files]
    chunks = sum(-(-size // chunk_bytes) for size in sizes)
    if chunks > limits.chunks:
        raise LimitExceededError(
            "too many chunks",
            where="--chunk-size",
            expected=f"at most {limits.chunks} chunks",
            actual=str(chunks),
            hint="Choose larger chunks.",
        )


def _check_roles(plan: BuildPlan, *, now: dt.datetime) -> None:
    channel = check_may_sign(
        plan.roots,
        release=plan.keys.release,
        bundler=plan.keys.bundler,
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


def _fill(
    plan: BuildPlan,
    sources: Sources,
    folder: Path,
    *,
    limits: Limits,
    meter: Meter,
) -> Manifest:
    """Write chunks, roots and unsigned files, and return the manifest."""
    digest = digest_of(plan.roots)
    into = ChunkFolder(
        folder=folder,
        chunk_bytes=plan.chunk_bytes,
        digest=digest,
        elsewhere=plan.since.chunks if plan.since is not None else frozenset(),
    )
    manifest = Manifest(
        format=FORMAT,
        channel=plan.spec.channel,
        version=plan.spec.version,
        created=plan.created,
        artifacts=collect(
            plan.spec,
            sources,
            into,
            created=plan.created,
            limits=limits,
            meter=meter,
        ),
        digest=digest,
        minimum_version=plan.spec.minimum_version,
    )
    for version, root in enumerate(plan.roots, start=1):
        write_file(folder / root_path(version), root)
    for path, data in unsigned_files(manifest, expires=plan.expires, since=plan.since):
        write_file(folder / path, data)
    return manifest


def digest_of(roots: tuple[bytes, ...]) -> Digest:
    """Return the digest that the newest root's profile asks of a manifest."""
    where = f"{len(roots)}.root.json"
    root = parse_root(roots[-1], where=where, limits=DEFAULT_LIMITS).signed
    return "sha384" if parse_profile(root) == "cnsa" else "sha256"
