"""Which keys a root may name under each profile, and whose signatures suffice."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP521R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from securesystemslib.signer import CryptoSigner, Key, SSlibKey
from tuf.api.metadata import Metadata, Root

from bundleformat.errors import MalformedError, SignatureError, UsageError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.profile import (
    PROFILE_FIELD,
    PROFILES,
    ROLES,
    Profile,
    check_signatures,
    family_of,
    holders_needed,
    parse_profile,
    profile_of_keys,
    tuf_threshold,
)
from bundleformat.trust import (
    COMPLIANCE_FIELD,
    check_root,
    fingerprint,
    initial_state,
    parse_root,
)
from bundler.signing.keys import FileKeyKind
from tests.support.publisher import (
    NOW,
    Keys,
    make_root,
    new_keys,
    new_ml_dsa,
    next_root,
)

Change = Callable[[Root], object]

KINDS: dict[Profile, FileKeyKind] = {
    "standard": "ed25519",
    "hybrid": "hybrid",
    "cnsa": "ml-dsa-87",
}


@pytest.fixture(scope="module")
def hybrid() -> Keys:
    """A publisher with four root holders, each with two keys."""
    return new_keys(roots=4, kind="hybrid")


@pytest.fixture(scope="module")
def cnsa() -> Keys:
    return new_keys(kind="ml-dsa-87")


def edited(keys: Keys, change: Change, *, threshold: int | None = None) -> bytes:
    """Return a first root that its own keys signed after ``change``."""
    return next_root(
        make_root(keys, threshold=threshold),
        signers=keys.all_root,
        change=change,
        version=1,
    )


def refusal(root: bytes) -> MalformedError:
    with pytest.raises(MalformedError) as caught:
        parse_root(root, where="root", limits=DEFAULT_LIMITS)
    return caught.value


@pytest.mark.parametrize("value", ["", "Hybrid", "none", 1, None, ["hybrid"]])
def test_a_root_of_no_known_profile_is_refused(hybrid: Keys, value: object) -> None:
    def change(root: Root) -> None:
        root.unrecognized_fields[PROFILE_FIELD] = value

    assert refusal(edited(hybrid, change)).where == f"root.{PROFILE_FIELD}"


def test_a_root_without_a_profile_is_refused(hybrid: Keys) -> None:
    root = edited(hybrid, lambda root: root.unrecognized_fields.pop(PROFILE_FIELD))
    assert refusal(root).where == f"root.{PROFILE_FIELD}"


@pytest.mark.parametrize("role", ROLES)
def test_a_cnsa_root_with_an_ed25519_key_is_refused(cnsa: Keys, role: str) -> None:
    classical = CryptoSigner.generate_ed25519().public_key
    root = edited(cnsa, lambda root: root.add_key(classical, role))
    assert refusal(root).where == f"root.roles.{role}"


def test_a_cnsa_root_with_a_classical_compliance_key_is_refused(cnsa: Keys) -> None:
    key = CryptoSigner.generate_ed25519().public_key

    def change(root: Root) -> None:
        root.unrecognized_fields[COMPLIANCE_FIELD][key.keyid] = key.to_dict()

    assert refusal(edited(cnsa, change)).where == "root: compliance keys"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("threshold", [1, 3])
def test_a_hybrid_role_of_an_odd_threshold_is_refused(
    hybrid: Keys, role: str, threshold: int
) -> None:
    def change(root: Root) -> None:
        root.roles[role].threshold = threshold

    error = refusal(edited(hybrid, change))
    assert (error.where, error.actual) == (f"root.roles.{role}", str(threshold))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["classical", "ml-dsa"])
def test_a_hybrid_role_without_one_kind_of_key_is_refused(
    hybrid: Keys, role: str, kind: str
) -> None:
    def change(root: Root) -> None:
        for keyid in list(root.roles[role].keyids):
            if family_of(root.keys[keyid], where="") == kind:
                root.revoke_key(keyid, role)

    assert refusal(edited(hybrid, change)).where == f"root.roles.{role}"


@pytest.mark.parametrize("kind", ["classical", "ml-dsa"])
def test_hybrid_compliance_keys_of_one_kind_are_refused(
    hybrid: Keys, kind: str
) -> None:
    def change(root: Root) -> None:
        keys = root.unrecognized_fields[COMPLIANCE_FIELD]
        for keyid, value in list(keys.items()):
            key = SSlibKey.from_dict(keyid, dict(value))
            if family_of(key, where="") == kind:
                del keys[keyid]

    assert refusal(edited(hybrid, change)).where == "root: compliance keys"


def mldsa_65() -> SSlibKey:
    return SSlibKey.from_crypto(MLDSA65PrivateKey.generate().public_key())


def p_521() -> SSlibKey:
    return SSlibKey.from_crypto(generate_private_key(SECP521R1()).public_key())


def rsa_by_name() -> SSlibKey:
    pem = mldsa_65().keyval["public"]
    return SSlibKey("1" * 64, "rsa", "rsassa-pss-sha256", {"public": pem})


def smaller_than_its_scheme() -> SSlibKey:
    key = mldsa_65()
    return SSlibKey(key.keyid, "ml-dsa", "ml-dsa-87/1", key.keyval)


def p_521_called_p_256() -> SSlibKey:
    key = p_521()
    return SSlibKey(key.keyid, "ecdsa", "ecdsa-sha2-nistp256", key.keyval)


def no_key_at_all() -> SSlibKey:
    return SSlibKey("2" * 64, "ed25519", "ed25519", {"public": "not hexadecimal"})


@pytest.mark.parametrize(
    "make",
    [
        mldsa_65,
        p_521,
        rsa_by_name,
        smaller_than_its_scheme,
        p_521_called_p_256,
        no_key_at_all,
    ],
)
@pytest.mark.parametrize("role", ["root", "timestamp"])
def test_a_key_of_an_unsupported_kind_is_refused_in_every_profile(
    make: Callable[[], SSlibKey], role: str
) -> None:
    root = edited(new_keys(), lambda root: root.add_key(make(), role))
    assert refusal(root).where == f"root.roles.{role}"


@pytest.mark.parametrize("where", ["root", "compliance"])
def test_one_key_under_two_ids_is_refused(where: str) -> None:
    keys = new_keys()
    once = keys.root[0] if where == "root" else keys.compliance
    twin = SSlibKey(
        "3" * 64,
        "ed25519",
        "ed25519",
        {"public": str(once.public_key.keyval["public"]).upper()},
    )

    def change(root: Root) -> None:
        if where == "root":
            root.add_key(twin, "root")
        else:
            root.unrecognized_fields[COMPLIANCE_FIELD][twin.keyid] = twin.to_dict()

    expected = "root.roles.root" if where == "root" else "root: compliance keys"
    assert refusal(edited(keys, change)).where == expected


@pytest.mark.parametrize("keyid", ["a key", "\x1b[2J", "", "A" * 64, "a" * 65, "é"])
@pytest.mark.parametrize("where", ["root", "compliance"])
def test_a_key_by_no_possible_id_is_refused(where: str, keyid: str) -> None:
    # Ids are written into records, which hold no text of any kind.
    keys = new_keys()
    odd = new_keys().root[0].public_key
    renamed = SSlibKey(keyid, odd.keytype, odd.scheme, odd.keyval)

    def change(root: Root) -> None:
        if where == "root":
            root.add_key(renamed, "root")
        else:
            root.unrecognized_fields[COMPLIANCE_FIELD][keyid] = renamed.to_dict()

    expected = "root.roles.root" if where == "root" else "root: compliance keys"
    assert refusal(edited(keys, change)).where == expected


@pytest.mark.parametrize("kind", ["classical", "ml-dsa"])
def test_a_first_root_signed_by_every_key_of_one_kind_alone_is_refused(
    hybrid: Keys, kind: str
) -> None:
    assert hybrid.pq is not None
    signers = hybrid.root if kind == "classical" else hybrid.pq.root
    # Two of four holders: TUF's threshold of four is reached.
    root = next_root(make_root(hybrid, threshold=2), signers=signers, version=1)
    metadata = Metadata[Root].from_bytes(root)
    assert metadata.signed.get_verification_result(
        "root", metadata.signed_bytes, metadata.signatures
    ).verified
    with pytest.raises(SignatureError) as caught:
        check_root(root, now=NOW)
    assert (caught.value.where, caught.value.actual) == ("root", "0")
    with pytest.raises(SignatureError):
        initial_state(root, fingerprint=fingerprint(root), now=NOW)


def test_three_signatures_of_one_kind_and_one_of_the_other_are_too_few(
    hybrid: Keys,
) -> None:
    assert hybrid.pq is not None
    signers = (*hybrid.root[:3], hybrid.pq.root[0])
    root = next_root(make_root(hybrid, threshold=2), signers=signers, version=1)
    with pytest.raises(SignatureError) as caught:
        check_root(root, now=NOW)
    assert (caught.value.expected, caught.value.actual) == ("2 of each kind", "1")


def test_half_of_each_kind_suffices_whoever_they_are(hybrid: Keys) -> None:
    assert hybrid.pq is not None
    signers = (*hybrid.root[:2], *hybrid.pq.root[2:])
    root = next_root(make_root(hybrid, threshold=2), signers=signers, version=1)
    assert check_root(root, now=NOW).profile == "hybrid"


def test_too_few_signatures_are_refused_without_the_library(cnsa: Keys) -> None:
    metadata = parse_root(
        next_root(make_root(cnsa), signers=[new_ml_dsa()], version=1),
        where="root",
        limits=DEFAULT_LIMITS,
    )
    with pytest.raises(SignatureError) as caught:
        check_signatures(metadata.signed, metadata, role="root", where="root")
    assert (caught.value.expected, caught.value.actual) == ("1 signatures", "0")


@pytest.mark.parametrize("profile", PROFILES)
def test_a_root_of_each_profile_is_accepted(profile: Profile) -> None:
    keys = new_keys(roots=3, kind=KINDS[profile])
    root = make_root(keys, threshold=2)
    facts = check_root(root, now=NOW)
    assert facts.profile == profile
    assert facts.threshold == tuf_threshold(profile, holders=2)
    assert holders_needed(profile, threshold=facts.threshold) == 2
    parsed = parse_root(root, where="root", limits=DEFAULT_LIMITS).signed
    assert parse_profile(parsed) == profile


def test_a_standard_root_may_name_keys_of_all_supported_kinds() -> None:
    keys = new_keys()
    root = edited(keys, lambda root: root.add_key(new_ml_dsa().public_key, "root"))
    assert check_root(root, now=NOW).profile == "standard"


def holders(*kinds: FileKeyKind) -> list[list[Key]]:
    return [
        [keys.release.public_key for keys in new_keys(kind=kind).both] for kind in kinds
    ]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_keys_of_all_holders_say_what_profile_they_are_made_for(
    profile: Profile,
) -> None:
    assert profile_of_keys(holders(*[KINDS[profile]] * 2)) == profile


@pytest.mark.parametrize(
    "kinds",
    [("ed25519", "hybrid"), ("hybrid", "ml-dsa-87"), ("ed25519", "ml-dsa-87"), ()],
)
def test_holders_with_different_kinds_of_keys_have_no_profile(
    kinds: tuple[FileKeyKind, ...],
) -> None:
    with pytest.raises(UsageError) as caught:
        profile_of_keys(holders(*kinds))
    assert caught.value.where == "--profile"
