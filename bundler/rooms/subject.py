"""What is being signed: opened from a request, checked, and shown in plain words.

Pure. A request may come from a machine that somebody else controls. Nothing in it
is believed because it says so: the bytes to sign are computed again from the
metadata that is shown, the roots must follow from one another by their
signatures, the manifest must be the one the targets name. What cannot be checked
is who the first root belongs to; a holder compares it with their own record.

Source: TUF specification 1.0, sections 4.2 and 5.3.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any

from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from bundleformat.digest import sha256_of
from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    ExpiredError,
    MalformedError,
    SignatureError,
)
from bundleformat.layout import MANIFEST_PATH
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import Manifest, parse_manifest
from bundleformat.moments import format_moment
from bundleformat.profile import check_signatures
from bundleformat.trust import CHANNEL_FIELD, parse_root
from bundleformat.tufjson import decode_metadata
from bundleformat.verify_checks import check_targets
from bundler.rooms.files import Role, SigningRequest
from bundler.roots.rules import check_root_rules
from bundler.roots.standing import (
    Standing,
    is_complete,
    root_standings,
    targets_standing,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is signed, after every check that its request allows.

    Attributes:
        role: A version of the root, or a bundle's list of targets.
        metadata: The metadata, with the signatures it has so far.
        channel: The channel.
        root: For a root, the one before it, or None if it is the first; for
            targets, the newest one.
        roots: Every root up to that one.
        manifest: What the bundle delivers; None for a root.
        standings: Who has signed, and who has still to.
    """

    role: Role
    metadata: Metadata[Any]
    channel: str
    root: Root | None
    roots: tuple[bytes, ...]
    manifest: Manifest | None
    standings: tuple[Standing, ...]

    @property
    def version(self) -> int:
        """The version of what is signed."""
        return int(self.metadata.signed.version)

    @property
    def payload(self) -> bytes:
        """The bytes that a signature is made over."""
        return self.metadata.signed_bytes

    @property
    def payload_sha256(self) -> str:
        """The digest of those bytes, which people in two rooms can compare."""
        return sha256_of(self.payload)


def request_for(
    role: Role,
    metadata: bytes,
    *,
    roots: tuple[bytes, ...],
    manifest: bytes | None,
) -> SigningRequest:
    """Return the request to sign ``metadata``.

    Raises:
        MalformedError, LimitExceededError: ``metadata`` is no metadata.
    """
    limits = DEFAULT_LIMITS
    found = decode_metadata(
        metadata,
        max_bytes=limits.targets_bytes,
        max_depth=limits.json_depth,
        where=role,
    )
    return SigningRequest(
        role=role,
        metadata=metadata,
        payload_sha256=sha256_of(found.signed_bytes),
        roots=roots,
        manifest=manifest,
    )


def open_subject(request: SigningRequest) -> Subject:
    """Return what ``request`` asks to sign.

    Raises:
        MalformedError, LimitExceededError: A part breaks its format.
        DigestMismatchError: The metadata is not what the request says it is, or
            does not name this manifest.
        SignatureError: A root does not follow from the one before.
        ConflictError: The parts are of different channels or versions.
        RootRuleError: The new root breaks a rule that every root keeps.
    """
    roots = _checked_chain(request.roots)
    if request.role == "root":
        subject = _root_subject(request, roots)
    else:
        subject = _targets_subject(request, roots)
    if subject.payload_sha256 != request.payload_sha256:
        raise DigestMismatchError(
            "the metadata is not what the request names",
            where="payload_sha256",
            expected=f"sha256 {request.payload_sha256}",
            actual=f"sha256 {subject.payload_sha256}",
            hint="Do not sign this; ask where the request comes from.",
        )
    return subject


def check_signable(subject: Subject, *, now: dt.datetime) -> None:
    """Check that hosts could use what is signed now.

    Raises:
        ExpiredError: It, or the root that it is signed under, has expired.
    """
    for signed, hint in (
        (subject.metadata.signed, "Renew it with `root renew`, or build it again."),
        (subject.root if subject.role == "targets" else None, "Renew the root first."),
    ):
        if signed is not None and signed.is_expired(now):
            raise ExpiredError(
                f"the {signed.type} metadata has expired",
                where=f"{signed.type} {signed.version}",
                expected=f"signed before {format_moment(signed.expires)}",
                hint=f"{hint} If neither is wrong, this machine's clock is.",
            )


def check_enough(subject: Subject) -> None:
    """Check that enough holders have signed.

    Raises:
        SignatureError: They have not.
    """
    if is_complete(subject.standings):
        return
    standing = next(one for one in subject.standings if not one.complete)
    raise SignatureError(
        f"signed by fewer {standing.role} holders than required",
        where=f"{subject.role} {subject.version}",
        expected=f"{standing.threshold} signatures",
        actual=str(sum(key.signed for key in standing.keys)),
        hint="`sign --export` writes the request that the others sign; `attach` takes "
        "their signature files.",
    )


def check_own_record(subject: Subject, record: bytes) -> None:
    """Check that the request's roots are those of a holder's own record.

    Raises:
        SignatureError: They are another publisher's.
        MalformedError, LimitExceededError: ``record`` is no root.
    """
    own = parse_root(record, where="--root", limits=DEFAULT_LIMITS).signed
    versions = dict(enumerate(subject.roots, start=1))
    if own.version not in versions or versions[own.version] != record:
        raise SignatureError(
            "the request does not follow from your own root",
            where="--root",
            expected=f"root {own.version}, sha256 {sha256_of(record)}",
            hint="Do not sign this; ask where the request comes from.",
        )


def _checked_chain(roots: tuple[bytes, ...]) -> tuple[Metadata[Root], ...]:
    chain: list[Metadata[Root]] = []
    for version, data in enumerate(roots, start=1):
        where = f"root {version}"
        found = parse_root(data, where=where, limits=DEFAULT_LIMITS)
        if found.signed.version != version:
            raise MalformedError(
                "a root of another version",
                where=where,
                expected=str(version),
                actual=str(found.signed.version),
            )
        for judge in (*chain[-1:], found):
            check_signatures(judge.signed, found, role=Root.type, where=where)
        if chain:
            _check_channel(found.signed, _channel(chain[-1].signed), where=where)
        chain.append(found)
    return tuple(chain)


def _root_subject(
    request: SigningRequest, chain: tuple[Metadata[Root], ...]
) -> Subject:
    metadata = parse_root(request.metadata, where="metadata", limits=DEFAULT_LIMITS)
    before = chain[-1].signed if chain else None
    if metadata.signed.version != len(chain) + 1:
        raise ConflictError(
            "not the next version of the root",
            where="metadata",
            expected=str(len(chain) + 1),
            actual=str(metadata.signed.version),
        )
    check_root_rules(metadata.signed)
    if before is not None:
        _check_channel(metadata.signed, _channel(before), where="metadata")
    return Subject(
        role="root",
        metadata=metadata,
        channel=_channel(metadata.signed),
        root=before,
        roots=request.roots,
        manifest=None,
        standings=root_standings(metadata, before=before),
    )


def _targets_subject(
    request: SigningRequest, chain: tuple[Metadata[Root], ...]
) -> Subject:
    limits = DEFAULT_LIMITS
    if not chain or request.manifest is None:
        raise MalformedError("no root, or no manifest", where="roots")
    metadata: Metadata[Any] = decode_metadata(
        request.metadata,
        max_bytes=limits.targets_bytes,
        max_depth=limits.json_depth,
        where="metadata",
    )
    if metadata.signed.type != Targets.type:
        raise MalformedError("not TUF targets", where="metadata")
    if metadata.signed.delegations is not None:
        raise MalformedError("delegations have no place here", where="metadata")
    root = chain[-1].signed
    return Subject(
        role="targets",
        metadata=metadata,
        channel=_channel(root),
        root=root,
        roots=request.roots,
        manifest=_checked_manifest(request.manifest, metadata, channel=_channel(root)),
        standings=(targets_standing(metadata, root=root),),
    )


def _checked_manifest(
    data: bytes, metadata: Metadata[Targets], *, channel: str
) -> Manifest:
    target = metadata.signed.targets.get(MANIFEST_PATH)
    if target is None or not _is_target(data, target):
        raise DigestMismatchError(
            "the targets do not name this manifest", where=MANIFEST_PATH
        )
    manifest = parse_manifest(data, limits=DEFAULT_LIMITS)
    check_targets(manifest, metadata.signed)
    _check_nothing_more(metadata.signed, manifest)
    wanted = (channel, metadata.signed.version)
    if (manifest.channel, manifest.version) != wanted:
        raise ConflictError(
            "the manifest is of another bundle",
            where=MANIFEST_PATH,
            expected=f"{wanted[0]} {wanted[1]}",
            actual=f"{manifest.channel} {manifest.version}",
        )
    if manifest.created >= metadata.signed.expires:
        raise MalformedError("created after its own expiry", where="created")
    return manifest


def _is_target(data: bytes, target: TargetFile) -> bool:
    # Which digests there must be is known once the manifest was parsed.
    return target.length == len(data) and all(
        name in {"sha256", "sha384"} and hashlib.new(name, data).hexdigest() == value
        for name, value in target.hashes.items()
    )


def _check_nothing_more(targets: Targets, manifest: Manifest) -> None:
    # A person can only vouch for what they were shown, and they are shown the
    # manifest: what the targets say beyond it must not be there.
    more = dict(targets.unrecognized_fields)
    for target in targets.targets.values():
        more |= target.unrecognized_fields
        if set(target.hashes) != {manifest.digest}:
            raise MalformedError(
                "not hashed by the manifest's digest alone",
                where=ascii(target.path),
                expected=manifest.digest,
            )
    for key in sorted(more):
        raise MalformedError("unknown field", where=f"metadata: {key!a}")


def _channel(root: Root) -> str:
    return str(root.unrecognized_fields[CHANNEL_FIELD])


def _check_channel(root: Root, channel: str, *, where: str) -> None:
    if _channel(root) != channel:
        raise ConflictError(
            "a root of another channel",
            where=where,
            expected=channel,
            actual=_channel(root),
        )
