"""What a machine trusts: a root given out of band, and what followed from it.

A trust state is a set of TUF metadata files, kept byte for byte. It begins with
one root file whose fingerprint a person compared, and afterwards moves only by
``verify.verify_metadata``. The functions here are pure; they hold no key but
those that a root names.

Three fields of the root's signed part are Sallyport's own: the channel's name,
its profile (see ``profile.py``), and the keys that may sign site certificates.
TUF signs them like all others.

Source: TUF specification 1.0, sections 4.3 (root.json) and 5.3.
"""

import copy
import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Final

from securesystemslib.signer import Key, SSlibKey
from tuf.api.metadata import Metadata, Root

from bundleformat.digest import sha256_of
from bundleformat.errors import (
    ExpiredError,
    MalformedError,
    SignatureError,
    StorageFaultError,
    UsageError,
)
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.moments import format_moment
from bundleformat.paths import Name, parse_name
from bundleformat.profile import (
    Profile,
    check_root_profile,
    check_signatures,
    parse_profile,
)
from bundleformat.tufjson import decode_metadata

CHANNEL_FIELD: Final = "x-sallyport-channel"
"""Field of a root's signed part: the channel it is the root of."""

COMPLIANCE_FIELD: Final = "x-sallyport-compliance-keys"
"""Field of a root's signed part: key id -> TUF key that signs site certificates."""

BOOTSTRAP_FILE: Final = "bootstrap.json"
"""Name in a trust state of the root whose fingerprint was compared."""

_STATE_FILE = re.compile(
    r"bootstrap\.json|(?:timestamp|snapshot|targets)\.json"
    r"|root_history/(?P<version>[1-9][0-9]{0,8})\.root\.json",
    re.ASCII,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustState:
    """Named metadata files, ascending by name; the names are a closed set.

    They are ``bootstrap.json``, ``root_history/<N>.root.json`` and, once a
    bundle was accepted, ``timestamp.json``, ``snapshot.json``, ``targets.json``.
    """

    files: tuple[tuple[str, bytes], ...]

    def __post_init__(self) -> None:
        for name, _ in self.files:
            if not _STATE_FILE.fullmatch(name):
                raise StorageFaultError("no part of a trust state", where=ascii(name))

    def file(self, name: str) -> bytes | None:
        """Return the bytes of ``name``, or None if the state has no such file."""
        return dict(self.files).get(name)

    def roots(self) -> dict[int, bytes]:
        """Return every root this state has accepted, by version."""
        found = {}
        for name, data in self.files:
            parts = _STATE_FILE.fullmatch(name)
            if parts is not None and parts["version"] is not None:
                found[int(parts["version"])] = data
        return found

    def newest_root(self) -> bytes:
        """Return the root this state trusts now.

        Raises:
            StorageFaultError: The state holds no root.
        """
        roots = self.roots()
        if not roots:
            raise StorageFaultError("the trust state holds no root")
        return roots[max(roots)]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustFloor:
    """The versions and the time below which a channel never goes again.

    ``time_floor`` is the latest creation time of an accepted bundle: a moment
    that a signature says has passed. It is never taken from a clock, so a clock
    that was once ahead cannot lock the host out.
    """

    root_version: int
    bundle_version: int
    time_floor: dt.datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RootFacts:
    """What a root file says, once its own signatures have been checked.

    ``threshold`` counts signatures as TUF does; in a hybrid channel two of them
    are one person's.
    """

    channel: Name
    profile: Profile
    version: int
    expires: dt.datetime
    threshold: int
    root_keys: tuple[str, ...]
    compliance_keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ComplianceKeys:
    """The keys of one channel that may sign site certificates, and how many must."""

    profile: Profile
    keys: tuple[Key, ...]


def fingerprint(root_bytes: bytes) -> str:
    """Return the SHA-256 of a root file, which two people compare."""
    return sha256_of(root_bytes)


def grouped(print_: str) -> str:
    """Return a fingerprint in groups of four, for reading aloud."""
    return " ".join(print_[i : i + 4] for i in range(0, len(print_), 4))


def check_root(
    root_bytes: bytes, *, now: dt.datetime, limits: Limits = DEFAULT_LIMITS
) -> RootFacts:
    """Return what a root file says; it is well-formed and not expired.

    Signed by enough of its *own* keys proves only that it is intact. The caller
    MUST compare its fingerprint with one received another way.

    Raises:
        MalformedError, LimitExceededError: Not a root of this format.
        SignatureError: Signed by fewer of its own keys than its threshold and its
            profile ask.
        ExpiredError: ``now`` is at or past its expiry.
    """
    metadata = parse_root(root_bytes, where="root", limits=limits)
    root = metadata.signed
    check_signatures(root, metadata, role=Root.type, where="root")
    if root.is_expired(now):
        raise ExpiredError(
            "the root has expired",
            where="root",
            expected=f"used before {format_moment(root.expires)}",
            hint="Ask the publisher for the newest root file.",
        )
    return _facts(root)


def parse_root(root_bytes: bytes, *, where: str, limits: Limits) -> Metadata[Root]:
    """Return the root in ``root_bytes``; no signature is checked.

    Raises:
        MalformedError, LimitExceededError: Not a root of this format, or one whose
            keys do not fit its profile.
    """
    metadata: Metadata[Root] = decode_metadata(
        root_bytes,
        max_bytes=limits.root_bytes,
        max_depth=limits.json_depth,
        where=where,
    )
    if metadata.signed.type != Root.type:
        raise MalformedError("not a TUF root", where=where)
    if metadata.signed.consistent_snapshot is not True:
        raise MalformedError("consistent_snapshot is not set", where=where)
    _facts(metadata.signed)
    return metadata


def initial_state(
    root_bytes: bytes,
    *,
    fingerprint: str,
    now: dt.datetime,
    limits: Limits = DEFAULT_LIMITS,
) -> TrustState:
    """Return the state of a machine that trusts this root and has seen no bundle.

    ``fingerprint`` may be grouped by spaces, colons or hyphens, in either case.

    Raises:
        UsageError: ``fingerprint`` is not 64 hexadecimal digits.
        SignatureError: The file has another fingerprint. It is not said which:
            somebody would type it in, and compare the file with itself.
        MalformedError, LimitExceededError, ExpiredError: As ``check_root``.
    """
    wanted = _parse_fingerprint(fingerprint)
    if wanted != sha256_of(root_bytes):
        raise SignatureError(
            "the root has another fingerprint",
            where="root",
            expected=grouped(wanted),
            hint="Compare again with what the publisher told you; if it still "
            "differs, this root is not theirs.",
        )
    facts = check_root(root_bytes, now=now, limits=limits)
    return TrustState(
        files=(
            (BOOTSTRAP_FILE, root_bytes),
            (f"root_history/{facts.version}.root.json", root_bytes),
        )
    )


def _parse_fingerprint(text: str) -> str:
    digits = re.sub(r"[\s:-]", "", text).lower()
    if re.fullmatch("[0-9a-f]{64}", digits):
        return digits
    odd = re.search("[^0-9a-f]", digits)
    problem = "expected 64 hexadecimal digits, "
    problem += f"{odd[0]!a} is none" if odd else f"{len(digits)} given"
    raise UsageError(
        problem,
        where="fingerprint",
        hint="Type the whole fingerprint as the publisher gave it to you.",
    )


def channel_of(state: TrustState) -> str:
    """Return the channel that the state's newest root names."""
    return _newest(state).channel


def compliance_keys(state: TrustState) -> dict[str, Key]:
    """Return the keys that may sign site certificates, by key id."""
    root = parse_root(state.newest_root(), where="root", limits=DEFAULT_LIMITS)
    return _compliance_keys(root.signed)


def compliance_of(state: TrustState) -> ComplianceKeys:
    """Return who may sign site certificates, as the state's newest root says."""
    root = parse_root(state.newest_root(), where="root", limits=DEFAULT_LIMITS).signed
    return ComplianceKeys(
        profile=parse_profile(root), keys=tuple(_compliance_keys(root).values())
    )


def _newest(state: TrustState) -> RootFacts:
    root = parse_root(state.newest_root(), where="root", limits=DEFAULT_LIMITS)
    return _facts(root.signed)


def _facts(root: Root) -> RootFacts:
    channel = root.unrecognized_fields.get(CHANNEL_FIELD)
    if not isinstance(channel, str):
        raise MalformedError("missing field", where=f"root.{CHANNEL_FIELD}")
    compliance = _compliance_keys(root)
    return RootFacts(
        channel=parse_name(channel, where=f"root.{CHANNEL_FIELD}"),
        profile=check_root_profile(root, compliance),
        version=root.version,
        expires=root.expires,
        threshold=root.roles[Root.type].threshold,
        root_keys=tuple(root.roles[Root.type].keyids),
        compliance_keys=tuple(compliance),
    )


def _compliance_keys(root: Root) -> dict[str, Key]:
    found: Any = root.unrecognized_fields.get(COMPLIANCE_FIELD, {})
    where = f"root.{COMPLIANCE_FIELD}"
    if not isinstance(found, dict):
        raise MalformedError("not an object", where=where)
    try:
        # from_dict takes its argument apart, so it is given a copy.
        keys: dict[str, Key] = {
            keyid: SSlibKey.from_dict(keyid, copy.deepcopy(value))
            for keyid, value in found.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedError("not a TUF key", where=where) from error
    return keys
