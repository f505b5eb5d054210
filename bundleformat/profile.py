"""Which kinds of keys a channel signs with, and when their signatures suffice.

A field of the root's signed part names the profile. TUF counts signatures; it
does not look at their kind. In a ``hybrid`` channel whoever breaks one kind of
cryptography, or steals all keys of one kind, would reach TUF's threshold once
there are enough holders. So the kinds are counted here as well:

=========  =================================  =================================
profile    keys                               a role has signed when
=========  =================================  =================================
standard   any below                          TUF's threshold is reached
hybrid     classical and ML-DSA-87            TUF's threshold, 2k, is reached by
                                              k or more of either kind
cnsa       ML-DSA-87 only                     TUF's threshold is reached
=========  =================================  =================================

Keys are Ed25519, ECDSA on P-256 or P-384 (both "classical"), and ML-DSA-87.

Source: FIPS 204; CNSA 2.0, "Software and firmware signing"; TUF specification
1.0, section 4.3.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA87PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from bundleformat.errors import MalformedError, SignatureError, UsageError

Profile = Literal["standard", "hybrid", "cnsa"]
"""Which kinds of keys sign."""

KeyFamily = Literal["classical", "ml-dsa"]
"""What breaks a key: a large quantum computer, or as far as is known nothing."""

PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)

PROFILE_FIELD: Final = "x-sallyport-profile"
"""Field of a root's signed part: the profile of its channel."""

ROLES: Final = (Root.type, Targets.type, Snapshot.type, Timestamp.type)
"""The roles whose signatures a host checks."""

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | MLDSA87PublicKey
"""The kinds of key a root may name."""

_KEY_ID = re.compile(r"[0-9a-f]{64}")

FAMILIES: Final[tuple[KeyFamily, ...]] = get_args(KeyFamily)


def parse_profile(root: Root) -> Profile:
    """Return the profile that a root names.

    Raises:
        MalformedError: It names none, or one that this release does not know.
    """
    found = root.unrecognized_fields.get(PROFILE_FIELD)
    for profile in PROFILES:
        if found == profile:
            return profile
    raise MalformedError(
        "not a profile" if PROFILE_FIELD in root.unrecognized_fields else "no profile",
        where=f"root.{PROFILE_FIELD}",
        expected=" or ".join(PROFILES),
    )


def public_key(key: Key, *, where: str) -> PublicKey:
    """Return the key itself, whose kind is the one that ``key`` claims.

    Raises:
        MalformedError: Of another kind than those above, or not a key.
    """
    text = str(key.keyval.get("public", ""))
    try:
        found: object = (
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
            if key.keytype == "ed25519"
            else load_pem_public_key(text.encode("utf-8"))
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unsupported(key, where=where) from error
    # A name alone proves nothing: the scheme could claim more than the key is.
    match key.keytype, key.scheme, found:
        case "ed25519", "ed25519", Ed25519PublicKey() as kind:
            return kind
        case "ecdsa", "ecdsa-sha2-nistp256", EllipticCurvePublicKey(
            curve=SECP256R1()
        ) as kind:
            return kind
        case "ecdsa", "ecdsa-sha2-nistp384", EllipticCurvePublicKey(
            curve=SECP384R1()
        ) as kind:
            return kind
        case "ml-dsa", "ml-dsa-87/1", MLDSA87PublicKey() as kind:
            return kind
    raise _unsupported(key, where=where)


def family_of(key: Key, *, where: str) -> KeyFamily:
    """Return which family a key belongs to.

    Raises:
        MalformedError: As ``public_key``.
    """
    kind = public_key(key, where=where)
    return "ml-dsa" if isinstance(kind, MLDSA87PublicKey) else "classical"


def tuf_threshold(profile: Profile, *, holders: int) -> int:
    """Return the TUF threshold at which ``holders`` people must sign.

    In a hybrid channel each of them signs with two keys.
    """
    return 2 * holders if profile == "hybrid" else holders


def holders_needed(profile: Profile, *, threshold: int) -> int:
    """Return how many people a TUF threshold stands for."""
    return threshold // 2 if profile == "hybrid" else threshold


def profile_of_keys(holders: Iterable[Sequence[Key]]) -> Profile:
    """Return the profile that these holders' keys are made for.

    Raises:
        UsageError: Some have two kinds of key and some have one, or have another.
        MalformedError: A key is of no kind that a root may name.
    """
    kinds = {
        frozenset(family_of(key, where=f"key {key.keyid}") for key in keys)
        for keys in holders
    }
    match sorted(sorted(kind) for kind in kinds):
        case [["classical"]]:
            return "standard"
        case [["ml-dsa"]]:
            return "cnsa"
        case [["classical", "ml-dsa"]]:
            return "hybrid"
        case _:
            raise UsageError(
                "the holders have different kinds of keys",
                where="--profile",
                hint="Make all keys with one `keygen --kind`: with hybrid, every "
                "holder of every role has both kinds.",
            )


def check_root_profile(root: Root, compliance_keys: Mapping[str, Key]) -> Profile:
    """Return the root's profile, which all its keys and thresholds fit.

    Raises:
        MalformedError: No profile; a key of a kind that the profile does not
            allow, named twice, or by no possible id; or a threshold that it cannot
            have.
    """
    profile = parse_profile(root)
    for role in ROLES:
        where = f"root.roles.{role}"
        keys = [_role_key(root, keyid, where) for keyid in root.roles[role].keyids]
        _check_keys(profile, keys, threshold=root.roles[role].threshold, where=where)
    if compliance_keys:
        # One holder's signature makes a site certificate.
        _check_keys(
            profile,
            list(compliance_keys.values()),
            threshold=tuf_threshold(profile, holders=1),
            where="root: compliance keys",
        )
    return profile


def check_signatures(
    root: Root, metadata: Metadata[Any], *, role: str, where: str
) -> None:
    """Check that ``metadata`` is signed as ``root`` asks of ``role``, by kind, too.

    Raises:
        SignatureError: By fewer keys than its threshold or, in a hybrid channel,
            by fewer than half of the threshold of either kind.
    """
    result = root.get_verification_result(
        role, metadata.signed_bytes, metadata.signatures
    )
    if not result.verified:
        raise SignatureError(
            "signed by fewer trusted keys than required",
            where=where,
            expected=f"{result.threshold} signatures",
            actual=str(len(result.signed)),
        )
    check_both_kinds(
        parse_profile(root),
        result.signed.values(),
        threshold=result.threshold,
        where=where,
    )


def check_both_kinds(
    profile: Profile, signed: Iterable[Key], *, threshold: int, where: str
) -> None:
    """Check that in a hybrid channel each kind made half of the signatures.

    ``signed`` are keys whose signatures were verified; ``threshold`` is TUF's.

    Raises:
        SignatureError: One kind did not.
    """
    if profile != "hybrid":
        return
    found = Counter(family_of(key, where=where) for key in signed)
    for family in FAMILIES:
        if found[family] * 2 < threshold:
            raise SignatureError(
                f"signed by fewer {_spoken(family)} keys than the hybrid profile asks",
                where=where,
                expected=f"{threshold // 2} of each kind",
                actual=str(found[family]),
                hint="Both kinds of signature must be there. Report this medium if it "
                "claims to come from your publisher.",
            )


def _check_keys(
    profile: Profile, keys: Sequence[Key], *, threshold: int, where: str
) -> None:
    for key in keys:
        # An id is written into records and shown to people.
        if not _KEY_ID.fullmatch(key.keyid):
            raise MalformedError(
                "not a key id",
                where=where,
                expected="64 lower-case hexadecimal digits",
                actual=ascii(key.keyid),
            )
    found = Counter(family_of(key, where=where) for key in keys)
    # TUF does not derive a key's id from the key, so one key could have two ids,
    # and its holder's one signature would count as two.
    if len({_identity(key, where=where) for key in keys}) != len(keys):
        raise MalformedError("one key under two ids", where=where)
    if profile == "cnsa" and found["classical"]:
        raise MalformedError(
            "a key that the cnsa profile does not allow",
            where=where,
            expected="ML-DSA-87 keys only",
        )
    if profile == "hybrid" and threshold % 2:
        raise MalformedError(
            "not a threshold that the hybrid profile can have",
            where=where,
            expected="an even number",
            actual=str(threshold),
        )
    if profile == "hybrid" and min(found[f] for f in FAMILIES) * 2 < threshold:
        raise MalformedError(
            "too few keys of one kind for the hybrid profile",
            where=where,
            expected=f"{threshold // 2} classical and {threshold // 2} ML-DSA-87 keys",
            actual=f"{found['classical']} and {found['ml-dsa']}",
        )


def _role_key(root: Root, keyid: str, where: str) -> Key:
    try:
        return root.keys[keyid]
    except KeyError as error:
        raise MalformedError(
            "a key that the root does not hold", where=where, actual=ascii(keyid)
        ) from error


def _identity(key: Key, *, where: str) -> bytes:
    return public_key(key, where=where).public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def _spoken(family: KeyFamily) -> str:
    return "ML-DSA-87" if family == "ml-dsa" else family


def _unsupported(key: Key, *, where: str) -> MalformedError:
    return MalformedError(
        "not a key of a supported kind",
        where=where,
        expected="Ed25519, ECDSA on P-256 or P-384, or ML-DSA-87",
        actual=ascii(f"{key.keytype}/{key.scheme}"),
    )
