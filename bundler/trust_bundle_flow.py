"""Builds a trust-only bundle: it delivers nothing but the roots themselves.

It carries rotated keys and revocations to hosts at once, without waiting for the
next release, in a few kilobytes. A host takes it like any bundle: its version is
one more, its signatures are checked under the newest root that it carries.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from bundleformat.layout import root_path
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.manifest import FORMAT, Manifest
from bundleformat.paths import Name
from bundleformat.trust import CHANNEL_FIELD, parse_root
from bundleformat.verify import VerifiedBundle
from bundleformat.volume import Volume
from bundler.build_flow import check_times, digest_of
from bundler.contents.unsigned_files import unsigned_files
from bundler.own_output import verify_own_output
from bundler.pack import check_absent, new_folder, write_file
from bundler.progress import SilentMeter
from bundler.rooms.draft import write_draft
from bundler.roots.folder import check_may_sign
from bundler.signing.publish import PublishingKeys, publish


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustPlan:
    """Everything a trust-only bundle needs.

    Attributes:
        roots: Every root of the channel, from version 1 up.
        version: The bundle's version: one more with every bundle of a channel.
        keys: Who signs; both empty for a draft.
        out: The folder to make; it must not exist.
        created: The time the bundle carries.
        expires: When hosts will refuse the bundle.
    """

    roots: tuple[bytes, ...]
    version: int
    keys: PublishingKeys
    out: Path
    created: dt.datetime
    expires: dt.datetime


def build_trust_bundle(
    plan: TrustPlan, *, now: dt.datetime, limits: Limits
) -> VerifiedBundle:
    """Write the bundle to ``plan.out`` and return it as a host would see it.

    Raises:
        ConflictError: ``plan.out`` exists.
        KeyFileError: A key does not hold the role it is used for.
        UsageError: More holders must sign, or the bundle's time is more than a day
            after ``now``.
        ExpiredError: Root or bundle would be expired at ``now``.
        RefusalError: A host would refuse it: the roots do not follow from one
            another.
        StorageFaultError: The disk is full or cannot be written.
    """
    manifest = _manifest(plan, now=now)
    with new_folder(plan.out) as folder:
        _write_around(plan, manifest, folder)
        for path, data in publish(manifest, keys=plan.keys, expires=plan.expires):
            write_file(folder / path, data)
        with Volume(folder) as volume:
            return verify_own_output(
                volume, roots=plan.roots, now=now, limits=limits, meter=SilentMeter()
            )


def build_trust_draft(plan: TrustPlan, *, now: dt.datetime) -> Manifest:
    """Write a draft of the bundle to ``plan.out``, and return its manifest.

    Raises:
        Error: As ``build_trust_bundle``.
    """
    manifest = _manifest(plan, now=now)
    with new_folder(plan.out) as folder:
        _write_around(plan, manifest, folder)
        write_draft(
            folder,
            manifest,
            roots=plan.roots,
            expires=plan.expires,
            release=plan.keys.release,
        )
    return manifest


def _manifest(plan: TrustPlan, *, now: dt.datetime) -> Manifest:
    check_absent(plan.out)
    check_times(created=plan.created, expires=plan.expires, now=now)
    check_may_sign(
        plan.roots, release=plan.keys.release, bundler=plan.keys.bundler, now=now
    )
    newest = parse_root(
        plan.roots[-1], where=f"{len(plan.roots)}.root.json", limits=DEFAULT_LIMITS
    )
    return Manifest(
        format=FORMAT,
        channel=Name(str(newest.signed.unrecognized_fields[CHANNEL_FIELD])),
        version=plan.version,
        created=plan.created,
        artifacts=(),
        digest=digest_of(plan.roots),
        purpose="trust",
    )


def _write_around(plan: TrustPlan, manifest: Manifest, folder: Path) -> None:
    for version, root in enumerate(plan.roots, start=1):
        write_file(folder / root_path(version), root)
    for path, data in unsigned_files(manifest, expires=plan.expires, since=None):
        write_file(folder / path, data)
