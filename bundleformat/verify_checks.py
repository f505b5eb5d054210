"""The checks that ``verify.py`` puts in their order; each raises or returns.

They look at metadata that already passed the TUF workflow, and at small files of
the volume. None of them changes anything.
"""

import hashlib
from typing import Any

from tuf.api.metadata import Metadata, TargetFile, Targets, Timestamp

from bundleformat import strictjson
from bundleformat.digest import check_digest, parse_sha256, parse_sha384
from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    EquivocationError,
    LimitExceededError,
    MalformedError,
    MissingError,
    RollbackError,
)
from bundleformat.layout import (
    MANIFEST_PATH,
    METADATA_FOLDER,
    TIMESTAMP_PATH,
    chunk_path,
    parse_root_version,
    root_path,
    snapshot_path,
    targets_path,
)
from bundleformat.limits import Limits
from bundleformat.manifest import Digest, Manifest
from bundleformat.medium import Medium
from bundleformat.moments import format_moment
from bundleformat.paths import parse_name
from bundleformat.trust import CHANNEL_FIELD, TrustFloor, TrustState, channel_of
from bundleformat.tufclient import NEWEST, Refreshed


def check_claimed_channel(volume: Medium, *, channel: str, limits: Limits) -> None:
    """Check that the newest root on the volume claims to be of ``channel``.

    Nothing vouches for the claim. It only tells a medium of another channel from
    one that was altered, which later steps would take it for.

    Raises:
        ConflictError: It claims another channel.
        MalformedError, LimitExceededError: It is no JSON, or no name; or there
            are more roots than a chain may have.
    """
    newest = max(_root_versions(volume, limits), default=None)
    if newest is None:
        return
    path = root_path(newest)
    data = volume.read(path, max_bytes=limits.root_bytes)
    signed = _signed_part(data, path, limits)
    claimed = signed.get(CHANNEL_FIELD) if isinstance(signed, dict) else None
    # A file without the field is no root, and the next steps say so.
    if not isinstance(claimed, str) or claimed == channel:
        return
    claimed = parse_name(claimed, where=f"{path}: {CHANNEL_FIELD}")
    raise ConflictError(
        f"this bundle says it is of channel {claimed}; this machine was asked about "
        f"channel {channel}",
        where=path,
        hint=f"If channel {claimed} is meant, name it with --channel, or its root "
        "with --root; a host that does not know it yet needs `trust init` first.",
    )


def _root_versions(volume: Medium, limits: Limits) -> set[int]:
    names = volume.names(METADATA_FOLDER, max_entries=limits.root_files + 64)
    found = {v for v in map(parse_root_version, names) if v is not None}
    # The library stops at that number without a word, and would trust a root that
    # later ones have replaced.
    if len(found) > limits.root_files:
        raise LimitExceededError(
            "too many roots",
            where=METADATA_FOLDER,
            expected=f"at most {limits.root_files}",
            actual=str(len(found)),
        )
    return found


def check_root_chain(volume: Medium, *, state: TrustState, limits: Limits) -> None:
    """Check that no root between the known and the newest on the volume is absent.

    Raises:
        MissingError: One is.
        EquivocationError: A known version has another signed part.
    """
    # TUF takes the first absent version for the end of the chain. A volume that
    # lost a root would then fail as "signed by nobody", which misleads.
    present = _root_versions(volume, limits)
    known = state.roots()
    for version in range(max(known) + 1, max(present, default=0)):
        if version not in present:
            raise MissingError(
                "a root of the chain is not on this medium",
                where=root_path(version),
                hint="Copy the bundle again with its whole metadata folder.",
            )
    for version in sorted(present & known.keys()):
        path = root_path(version)
        data = volume.read(path, max_bytes=limits.root_bytes)
        if not _says_the_same(data, known[version], path, limits):
            raise EquivocationError(
                f"another root {version} than the one this machine trusts",
                where=path,
                hint="Another publisher may use the same channel name, or somebody may "
                "claim to be yours. Keep this medium and ask the publisher.",
            )


def _says_the_same(one: bytes, other: bytes, where: str, limits: Limits) -> bool:
    """Return whether two metadata files have the same signed part.

    Nobody signs how a file is spelt, nor which other signatures lie beside the good
    ones: a root that gained one is the same root, and a space that somebody wrote
    into a timestamp does not make another bundle of it.
    """
    # As canonical bytes, because to Python true equals 1.
    return strictjson.encode(_signed_part(one, where, limits)) == strictjson.encode(
        _signed_part(other, where, limits)
    )


def _signed_part(data: bytes, where: str, limits: Limits) -> Any:  # noqa: ANN401 - any JSON value
    value = strictjson.decode(
        data, max_bytes=limits.root_bytes, max_depth=limits.json_depth, where=where
    )
    return value.get("signed") if isinstance(value, dict) else None


def check_state_floor(state: TrustState, floor: TrustFloor | None) -> None:
    """Check that the trust state was not put back to an older one.

    A state that never saw a bundle is a new beginning: its first bundle brings the
    roots that are missing, and the floor holds for it all the same.

    Raises:
        RollbackError: It is older than what its floor says was accepted.
    """
    data = state.file("timestamp.json")
    if floor is None or data is None:
        return
    version = Metadata[Timestamp].from_bytes(data).signed.version
    for what, found, lowest in (
        ("bundle", version, floor.bundle_version),
        ("root", max(state.roots()), floor.root_version),
    ):
        if found < lowest:
            raise RollbackError(
                f"this machine's trust state knows an older {what} than it accepted",
                where="trust state",
                expected=f"at least {lowest}",
                actual=str(found),
                hint="Somebody put it back. Find out who; then run `sallyport trust "
                "init` again with the newest root and its fingerprint.",
            )


def check_floor(found: Refreshed, floor: TrustFloor | None) -> None:
    """Check that root and bundle are not below the floor.

    Raises:
        RollbackError: One of them is.
    """
    if floor is None:
        return
    for what, version, lowest in (
        ("root", found.root.signed.version, floor.root_version),
        ("bundle", found.timestamp.signed.version, floor.bundle_version),
    ):
        if version < lowest:
            raise RollbackError(
                f"{what} version older than what this machine has accepted",
                where=what,
                expected=f"at least {lowest}",
                actual=str(version),
                hint=NEWEST,
            )


def check_same_metadata(volume: Medium, found: Refreshed, *, limits: Limits) -> None:
    """Check that the volume holds the very metadata that was verified.

    Raises:
        EquivocationError: A timestamp of the same version that says something else.
        DigestMismatchError: Another snapshot or targets file.
    """
    # The library keeps what it has when versions are equal and does not compare.
    version = found.timestamp.signed.version
    cached = dict(found.state.files)
    timestamp = volume.read(TIMESTAMP_PATH, max_bytes=limits.timestamp_bytes)
    if not _says_the_same(timestamp, cached["timestamp.json"], TIMESTAMP_PATH, limits):
        raise EquivocationError(
            f"another bundle claims to be version {version}",
            where=TIMESTAMP_PATH,
            hint="Keep this medium and tell the publisher; two different bundles "
            "carry one version.",
        )
    for path, name, cap in (
        (snapshot_path(version), "snapshot.json", limits.snapshot_bytes),
        (targets_path(version), "targets.json", limits.targets_bytes),
    ):
        if volume.read(path, max_bytes=cap) != cached[name]:
            raise DigestMismatchError(
                "the bytes differ from what was signed", where=path
            )


def check_one_version(found: Refreshed, *, channel: str) -> None:
    """Check that all metadata is of one version and of ``channel``.

    Raises:
        MalformedError: It is not, or it delegates.
    """
    version = found.timestamp.signed.version
    for role in (found.snapshot.signed, found.targets.signed):
        if role.version != version:
            raise MalformedError(
                "metadata of another version",
                where=role.type,
                expected=str(version),
                actual=str(role.version),
            )
    if found.targets.signed.delegations is not None:
        raise MalformedError("delegations have no place here", where="targets")
    if channel_of(found.state) != channel:
        raise MalformedError(
            "the new root is of another channel",
            where="root",
            expected=channel,
            actual=channel_of(found.state),
        )


def read_manifest(volume: Medium, found: Refreshed, *, limits: Limits) -> bytes:
    """Return the bytes of the manifest, which are the signed ones.

    Raises:
        DigestMismatchError: They are not.
        MalformedError: No manifest was signed.
    """
    target = found.targets.signed.targets.get(MANIFEST_PATH)
    if target is None:
        raise MalformedError("no such target was signed", where=MANIFEST_PATH)
    name, signed = _hash_of(target)
    data = volume.read(MANIFEST_PATH, max_bytes=limits.manifest_bytes)
    actual = hashlib.new(name, data).hexdigest()
    check_digest(signed, actual, where=MANIFEST_PATH, name=name)
    if len(data) != target.length:
        raise DigestMismatchError(
            "the length differs from what was signed", where=MANIFEST_PATH
        )
    return data


def _hash_of(target: TargetFile) -> tuple[Digest, str]:
    """Return the one digest of ``target``, and the name of its algorithm."""
    where = ascii(target.path)
    match dict(target.hashes):
        case {"sha256": found, **others} if not others:
            return "sha256", parse_sha256(found, where=where)
        case {"sha384": found, **others} if not others:
            return "sha384", parse_sha384(found, where=where)
    raise MalformedError("not hashed by SHA-256 or SHA-384 alone", where=where)


def check_manifest(manifest: Manifest, found: Refreshed) -> None:
    """Check that the manifest belongs to this metadata.

    Raises:
        MalformedError: It is of another channel or version, names another digest
            than was signed, or was not made before the earliest expiry of the
            metadata.
    """
    digest, _ = _hash_of(found.targets.signed.targets[MANIFEST_PATH])
    if manifest.digest != digest:
        raise MalformedError(
            "the manifest names another digest than was signed",
            where="digest",
            expected=digest,
            actual=manifest.digest,
        )
    channel, version = channel_of(found.state), found.timestamp.signed.version
    if (manifest.channel, manifest.version) != (channel, version):
        raise MalformedError(
            "the manifest is of another bundle",
            where=MANIFEST_PATH,
            expected=f"{channel} {version}",
            actual=f"{manifest.channel} {manifest.version}",
        )
    # It becomes the floor's time, so a later one would lock the channel.
    if manifest.created >= found.expires:
        raise MalformedError(
            "created after its own expiry",
            where="created",
            expected=f"before {format_moment(found.expires)}",
            actual=format_moment(manifest.created),
            hint="Do not use this bundle; its publisher's clock was ahead.",
        )


def check_targets(manifest: Manifest, targets: Targets) -> None:
    """Check that manifest and targets list the same chunks.

    Raises:
        MalformedError: They do not.
    """
    # A digest the bundle does not use would be None, and agree with nothing.
    digest = manifest.digest
    wanted: dict[str, tuple[int, str, str | None]] = {
        chunk_path(chunk.sha256): (
            chunk.size_bytes,
            digest,
            chunk.sha256 if digest == "sha256" else chunk.sha384,
        )
        for artifact in manifest.artifacts
        for chunk in artifact.chunks
    }
    signed = {
        path: (target.length, *_hash_of(target))
        for path, target in targets.targets.items()
        if path != MANIFEST_PATH
    }
    if wanted != signed:
        differing = {*wanted.items()} ^ {*signed.items()}
        raise MalformedError(
            "the manifest and the signed targets list different chunks",
            where=ascii(min(path for path, _ in differing)),
        )
