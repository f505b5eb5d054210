"""Key files of every kind: what does not open, what does not belong, what signs."""

import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA65PrivateKey,
    MLDSA87PrivateKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from bundleformat.errors import MalformedError
from bundleformat.profile import Profile, family_of, profile_of_keys
from bundler.errors import KeyFileError
from bundler.signing.keys import (
    FileKeyKind,
    create_key,
    is_private,
    load_public_keys,
    load_signers,
)
from bundler.signing.passphrase import Passphrases
from bundler.signing.pkcs8 import IV_BYTES, SALT_BYTES, encrypted_pem
from bundler.signing.token_key import TokenKey, encode_token_key
from tests.bundler.conftest import PASSPHRASE, Desk

UNLOCK = ("--passphrase-file", "pw")
ASKED = Passphrases(file=None, ask=lambda _: PASSPHRASE)
NOBODY = Passphrases(file=None, ask=None)
KINDS: dict[FileKeyKind, Profile] = {
    "ed25519": "standard",
    "ml-dsa-87": "cnsa",
    "hybrid": "hybrid",
}


@pytest.fixture(scope="module")
def cabinet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key of each kind; made once, since stretching is slow."""
    folder = tmp_path_factory.mktemp("cabinet")
    for kind in KINDS:
        create_key(folder / kind, ASKED, kind=kind)
    return folder


def locked(key: Ed25519PrivateKey | MLDSA65PrivateKey, passphrase: str) -> bytes:
    return encrypted_pem(
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        passphrase=passphrase.encode(),
        salt=secrets.token_bytes(SALT_BYTES),
        iv=secrets.token_bytes(IV_BYTES),
    )


def refusal(path: Path) -> KeyFileError:
    with pytest.raises(KeyFileError) as caught:
        load_signers(path, ASKED)
    assert caught.value.code == "key-unusable"
    return caught.value


def test_a_second_block_under_another_passphrase_is_refused(
    cabinet: Path, tmp_path: Path
) -> None:
    path = tmp_path / "odd.key"
    first = (cabinet / "ml-dsa-87.key").read_bytes()
    path.write_bytes(first + locked(Ed25519PrivateKey.generate(), "another one"))
    assert refusal(path).where == str(path)


def test_a_damaged_block_is_refused(cabinet: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.key"
    data = (cabinet / "hybrid.key").read_bytes()
    middle = data.rindex(b"BEGIN") + 200
    other = b"A" if data[middle : middle + 1] != b"A" else b"B"
    path.write_bytes(data[:middle] + other + data[middle + 1 :])
    refusal(path)


@pytest.mark.parametrize(
    "names",
    [
        ("ed25519.key", "ed25519.key"),
        ("ml-dsa-87.key", "ml-dsa-87.key"),
        ("ed25519.key", "hybrid.key"),
        ("ed25519.key", "ml-dsa-87.pub"),
        ("ed25519.pub",),
        (),
    ],
)
def test_what_is_not_the_private_keys_of_one_holder_is_refused(
    cabinet: Path, tmp_path: Path, names: tuple[str, ...]
) -> None:
    path = tmp_path / "odd.key"
    path.write_bytes(b"".join((cabinet / name).read_bytes() for name in names))
    refusal(path)


@pytest.mark.parametrize("end", ["cut", "garbage", "large", "unlocked"])
def test_a_file_that_keygen_did_not_write_is_refused(
    cabinet: Path, tmp_path: Path, end: str
) -> None:
    data = (cabinet / "hybrid.key").read_bytes()
    unlocked = MLDSA87PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    path = tmp_path / "odd.key"
    path.write_bytes(
        {
            "cut": data[:-10],
            "garbage": b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n???\n"
            b"-----END ENCRYPTED PRIVATE KEY-----\n",
            "large": data + b"\n" * 70_000,
            "unlocked": unlocked,
        }[end]
    )
    refusal(path)


def test_a_smaller_ml_dsa_key_is_refused_though_its_passphrase_fits(
    tmp_path: Path,
) -> None:
    key = MLDSA65PrivateKey.generate()
    (tmp_path / "odd.key").write_bytes(locked(key, PASSPHRASE))
    assert "ML-DSA-87" in refusal(tmp_path / "odd.key").expected
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "odd.pub").write_bytes(pem)
    with pytest.raises(KeyFileError):
        load_public_keys(tmp_path / "odd.pub", NOBODY)


@pytest.mark.parametrize(
    "edit",
    [
        (b"SALLYPORT", b"SALLYPORK"),
        (b"\neyJ", b"\n????eyJ"),
        (b"\neyJ", b"\neyJl"),
    ],
)
def test_a_damaged_reference_to_a_token_is_refused(
    cabinet: Path, tmp_path: Path, edit: tuple[bytes, bytes]
) -> None:
    data = encode_token_key(token_key(cabinet))
    assert edit[0] in data
    path = tmp_path / "odd.key"
    path.write_bytes(data.replace(*edit))
    with pytest.raises((KeyFileError, MalformedError)) as caught:
        load_signers(path, NOBODY)
    assert caught.value.where.startswith(str(path))


def token_key(cabinet: Path) -> TokenKey:
    # Its curve is wrong for a token, which nobody looks at before it is read back.
    (public,) = load_public_keys(cabinet / "ed25519.pub", NOBODY)
    return TokenKey(
        module=Path("/usr/lib/some.so"),
        token="lead",  # noqa: S106 - a label
        label="release",
        key_id=b"\x01",
        public_key=public,
    )


def test_a_token_is_not_said_to_hold_an_ed25519_key(
    cabinet: Path, tmp_path: Path
) -> None:
    path = tmp_path / "odd.key"
    path.write_bytes(encode_token_key(token_key(cabinet)))
    with pytest.raises(MalformedError) as caught:
        load_public_keys(path, NOBODY)
    assert caught.value.where.endswith("token key.public")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_key_file_signs_its_public_file_verifies(
    cabinet: Path, kind: FileKeyKind
) -> None:
    signers = load_signers(cabinet / f"{kind}.key", ASKED)
    keys = load_public_keys(cabinet / f"{kind}.pub", NOBODY)
    assert [signer.public_key for signer in signers] == list(keys)
    assert profile_of_keys([keys]) == KINDS[kind]
    for signer, key in zip(signers, keys, strict=True):
        key.verify_signature(signer.sign(b"payload"), b"payload")
    assert load_public_keys(cabinet / f"{kind}.key", ASKED) == keys
    assert is_private(cabinet / f"{kind}.key")
    assert not is_private(cabinet / f"{kind}.pub")


def test_one_passphrase_is_asked_for_once_for_both_keys(cabinet: Path) -> None:
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return PASSPHRASE

    load_signers(cabinet / "hybrid.key", Passphrases(file=None, ask=ask))
    assert len(prompts) == 1


def test_every_block_is_one_that_other_programs_read(cabinet: Path) -> None:
    data = (cabinet / "ml-dsa-87.key").read_bytes()
    private = load_pem_private_key(data, PASSPHRASE.encode())
    public = load_pem_public_key((cabinet / "ml-dsa-87.pub").read_bytes())
    assert isinstance(private, MLDSA87PrivateKey)
    assert private.public_key() == public


def test_two_files_of_one_holder_make_a_hybrid_one_when_joined(
    cabinet: Path, tmp_path: Path
) -> None:
    for ending in ("key", "pub"):
        parts = [
            (cabinet / f"{name}.{ending}").read_bytes()
            for name in ("ed25519", "ml-dsa-87")
        ]
        (tmp_path / f"joined.{ending}").write_bytes(b"".join(parts))
    keys = load_public_keys(tmp_path / "joined.pub", NOBODY)
    assert [family_of(key, where="") for key in keys] == ["classical", "ml-dsa"]
    assert load_public_keys(tmp_path / "joined.key", ASKED) == keys


@pytest.mark.parametrize("kind", KINDS)
def test_keygen_makes_a_key_of_each_kind(desk: Desk, kind: FileKeyKind) -> None:
    value = desk.does("keygen", "mine", "--kind", kind, *UNLOCK)
    keys = load_public_keys(desk.folder / "mine.pub", NOBODY)
    assert value["key_ids"] == [key.keyid for key in keys]
    assert value["kind"] == kind


@pytest.mark.parametrize(
    "options",
    [
        ("--kind", "rsa"),
        ("--kind", "pkcs11"),
        ("--kind", "pkcs11", "--token", "lead"),
        ("--kind", "pkcs11", "--object", "release"),
        ("--token", "lead"),
        ("--kind", "hybrid", "--object", "release"),
    ],
)
def test_keygen_refuses_options_that_do_not_go_together(
    desk: Desk, options: tuple[str, ...]
) -> None:
    desk.refuses("keygen", "mine", *options, *UNLOCK, code="usage", status=2)
