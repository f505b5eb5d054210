"""Makes trust roots, and reads the folder that holds every version of one.

Signing needs the private keys of at least the threshold of root keys; the rest
may be named by their public halves, so that holders who are absent can sign the
next version.

Source: TUF specification 1.0, section 4.3.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from bundleformat.errors import (
    ExpiredError,
    MissingError,
    StorageFaultError,
    UsageError,
)
from bundleformat.layout import parse_root_version
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.moments import format_moment
from bundleformat.paths import Name
from bundleformat.trust import CHANNEL_FIELD, COMPLIANCE_FIELD, parse_root
from bundler.errors import KeyFileError


@dataclass(frozen=True, kw_only=True, slots=True)
class RootPlan:
    """Who holds which role in a channel's first root.

    Attributes:
        channel: The channel's name.
        expires: When the root must have been replaced.
        threshold: Root keys that must sign a root.
        signers: Root keys that sign now.
        absent: Root keys that do not sign now.
        release_keys: Keys of which one signs the list of targets.
        bundler_keys: Keys of which one signs snapshot and timestamp.
        compliance_keys: Keys of which one signs a site certificate.
    """

    channel: Name
    expires: dt.datetime
    threshold: int
    signers: tuple[CryptoSigner, ...]
    absent: tuple[SSlibKey, ...]
    release_keys: tuple[SSlibKey, ...]
    bundler_keys: tuple[SSlibKey, ...]
    compliance_keys: tuple[SSlibKey, ...]


def default_threshold(keys: int) -> int:
    """Return the majority of ``keys``: one lost or stolen key decides nothing."""
    return keys // 2 + 1


def first_root(plan: RootPlan) -> bytes:
    """Return the bytes of version 1 of a root, signed as planned.

    Raises:
        UsageError: Too few signers, a key named twice, or a root key that would
            hold another role, too.
    """
    _check_plan(plan)
    root = Root(version=1, expires=plan.expires, consistent_snapshot=True)
    for key in (*(signer.public_key for signer in plan.signers), *plan.absent):
        root.add_key(key, Root.type)
    root.roles[Root.type].threshold = plan.threshold
    for key in plan.release_keys:
        root.add_key(key, Targets.type)
    for key in plan.bundler_keys:
        root.add_key(key, Snapshot.type)
        root.add_key(key, Timestamp.type)
    root.unrecognized_fields[CHANNEL_FIELD] = plan.channel
    root.unrecognized_fields[COMPLIANCE_FIELD] = {
        key.keyid: key.to_dict() for key in plan.compliance_keys
    }
    metadata = Metadata(root)
    for signer in plan.signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def _check_plan(plan: RootPlan) -> None:
    root_ids = [
        *(signer.public_key.keyid for signer in plan.signers),
        *(key.keyid for key in plan.absent),
    ]
    if len(set(root_ids)) != len(root_ids):
        raise UsageError("a root key is named twice", where="--root-key")
    if not 1 <= plan.threshold <= len(plan.signers):
        raise UsageError(
            "not enough root keys can sign",
            where="--threshold",
            expected=f"{plan.threshold} private root keys",
            actual=str(len(plan.signers)),
            hint="Name the .key file of as many root keys as the threshold asks for.",
        )
    for option, keys in (
        ("--release-key", plan.release_keys),
        ("--bundler-key", plan.bundler_keys),
        ("--compliance-key", plan.compliance_keys),
    ):
        if not {key.keyid for key in keys}.isdisjoint(root_ids):
            raise UsageError(
                "a root key holds another role, too",
                where=option,
                hint="Root keys stay offline; make another key for this role.",
            )


def newest_root_path(place: Path) -> Path:
    """Return ``place`` if it is a file, or else the newest root in that folder."""
    try:
        versions = [parse_root_version(path.name) or 0 for path in place.iterdir()]
    except OSError:
        # Whoever reads it says what is wrong with it.
        return place
    return place / f"{max(versions, default=0) or 1}.root.json"


def read_root_file(path: Path) -> bytes:
    """Return the bytes of a root file, at most one more than a root may have.

    Raises:
        MissingError: There is no such file.
        StorageFaultError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(DEFAULT_LIMITS.root_bytes + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(
            "no such root file",
            where=str(path),
            hint="Name the folder that `root init` made, or a root file in it.",
        ) from error
    except OSError as error:
        raise StorageFaultError(
            "cannot be read", where=str(path), actual=error.strerror or str(error)
        ) from error


def read_root_folder(place: Path) -> tuple[bytes, ...]:
    """Return every root in a folder, from version 1 up without a gap.

    ``place`` is the folder, or a file in it such as ``1.root.json``. Signatures are not
    checked here; the build verifies its own output.

    Raises:
        MissingError: There is no such folder, no root in it, or one in between.
        MalformedError: A file there is not a root of the version it names.
        StorageFaultError: The folder cannot be read.
    """
    is_root_file = parse_root_version(place.name) is not None and place.is_file()
    folder = place.parent if is_root_file else place
    try:
        names = [path.name for path in folder.iterdir()]
        versions = sorted(v for v in map(parse_root_version, names) if v is not None)
        roots = tuple(
            read_root_file(folder / f"{version}.root.json") for version in versions
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(
            "no such root folder",
            where=str(folder),
            hint="Name the folder that `root init` made.",
        ) from error
    except OSError as error:
        raise StorageFaultError(
            "cannot be read", where=str(folder), actual=error.strerror or str(error)
        ) from error
    if not versions or versions != list(range(1, len(versions) + 1)):
        raise MissingError(
            "not every version of the root is in this folder",
            where=str(folder),
            expected="1.root.json and all later versions",
            hint="Name the folder that `root init` made.",
        )
    return roots


def check_may_sign(
    roots: Sequence[bytes],
    *,
    release_key_id: str,
    bundler_key_id: str,
    now: dt.datetime,
) -> Name:
    """Check that the newest root gives both keys their roles; return its channel.

    Raises:
        KeyFileError: A key does not hold the role it was named for.
        ExpiredError: ``now`` is at or past the root's expiry.
        MalformedError, LimitExceededError: The newest file is no root.
    """
    where = f"{len(roots)}.root.json"
    root = parse_root(roots[-1], where=where, limits=DEFAULT_LIMITS).signed
    if root.is_expired(now):
        raise ExpiredError(
            "the root has expired",
            where=where,
            expected=f"used before {format_moment(root.expires)}",
            hint="Have the root keys sign its next version and put that beside it; "
            "hosts take it from the bundle.",
        )
    for option, key_id, role in (
        ("--release-key", release_key_id, Targets.type),
        ("--bundler-key", bundler_key_id, Snapshot.type),
        ("--bundler-key", bundler_key_id, Timestamp.type),
    ):
        if key_id not in root.roles[role].keyids:
            raise KeyFileError(
                f"this root does not let the key sign {role}",
                where=option,
                expected=", ".join(root.roles[role].keyids),
                actual=key_id,
                hint="Name the key that was given to `root init` for this role.",
            )
    return Name(str(root.unrecognized_fields[CHANNEL_FIELD]))
