"""Keys in a PKCS #11 token: SoftHSM, which is a real one made of software."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pkcs11
import pytest
from pkcs11.util.ec import encode_named_curve_parameters
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, Root, Targets

from bundleformat.errors import UsageError
from bundler.errors import KeyFileError
from bundler.signing.hsm import check_module, find_token_key, token_signer
from bundler.signing.keys import load_public_keys, load_signers
from bundler.signing.passphrase import Passphrases
from bundler.signing.publish import PublishingKeys, add_signatures, publish
from bundler.signing.token_key import TokenKey, encode_token_key
from tests.bundler.conftest import PASSPHRASE, Desk
from tests.support.bundle_host import BundleHost
from tests.support.publisher import (
    BUNDLE_EXPIRES,
    new_keys,
    next_root,
    publish_bundle,
)

MODULE: Final = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN: Final = "271828"

pytestmark = pytest.mark.skipif(
    not MODULE.exists() or shutil.which("softhsm2-util") is None,
    reason="SoftHSM is not installed (Debian: softhsm2)",
)


@dataclass(frozen=True)
class Token:
    """A token with three keys: p256, p384 and, with a useless id, zero."""

    label: str

    def find(self, label: str, passphrases: Passphrases | None = None) -> TokenKey:
        return find_token_key(
            module=MODULE,
            token=self.label,
            label=label,
            passphrases=passphrases or NOBODY,
        )


NOBODY: Final = Passphrases(file=None, ask=None)


def asked(pin: str) -> Passphrases:
    return Passphrases(file=None, ask=lambda _: pin)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(config))
        run(
            *("softhsm2-util", "--init-token", "--free", "--label", "lead"),
            *("--pin", PIN, "--so-pin", "314159"),
        )
        for label, curve, key_id in (
            ("p256", "secp256r1", "01"),
            ("p384", "secp384r1", "a2b3"),
            ("p521", "secp521r1", "04"),
            ("zero", "secp256r1", "0005"),
        ):
            make_key(label, curve=curve, key_id=bytes.fromhex(key_id))
        yield Token("lead")
        pkcs11.unload(str(MODULE))


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def make_key(label: str, *, curve: str, key_id: bytes) -> None:
    """Have the token make a key pair, as its owner would with a tool of its maker."""
    opened = pkcs11.lib(str(MODULE)).get_token(token_label="lead")  # noqa: S106 - a name
    with opened.open(rw=True, user_pin=PIN) as session:
        named = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
        domain = session.create_domain_parameters(pkcs11.KeyType.EC, named, local=True)
        domain.generate_keypair(store=True, label=label, id=key_id)


def test_a_wrong_pin_is_refused_and_not_tried_twice(token: Token) -> None:
    tried: list[str] = []

    def ask(prompt: str) -> str:
        tried.append(prompt)
        return "161803"

    signer = token_signer(token.find("p256"), Passphrases(file=None, ask=ask))
    with pytest.raises(KeyFileError) as caught:
        signer.sign(b"payload")
    assert caught.value.problem == "the token refuses this PIN"
    assert caught.value.where == "token lead, key p256"
    assert len(tried) == 1


def test_no_pin_and_nobody_to_ask_is_refused(token: Token) -> None:
    signer = token_signer(token.find("p256"), NOBODY)
    with pytest.raises(UsageError) as caught:
        signer.sign(b"payload")
    assert "--pin-file" in caught.value.hint


def test_a_passphrase_file_is_never_tried_as_a_pin(
    token: Token, tmp_path: Path
) -> None:
    path = tmp_path / "pw"
    path.touch(mode=0o600)
    path.write_text(PIN)
    signer = token_signer(token.find("p256"), Passphrases(file=path, ask=None))
    with pytest.raises(UsageError):
        signer.sign(b"payload")


def test_a_refusal_of_the_token_is_not_hidden_by_the_library(token: Token) -> None:
    signer = token_signer(token.find("p256"), asked("161803"))
    unsigned = Metadata(Targets(expires=BUNDLE_EXPIRES)).to_bytes()
    with pytest.raises(KeyFileError):
        add_signatures(unsigned, signers=[signer])


@pytest.mark.parametrize("label", ["none", "p521", "zero"])
def test_a_key_that_cannot_be_used_is_refused(token: Token, label: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        token.find(label, asked(PIN))
    assert caught.value.where == f"token lead, key {label}"


@pytest.mark.parametrize(
    ("pin", "changes"),
    [
        ("161803", {}),
        (PIN, {"token": "lost"}),
        (PIN, {"key_id": b"\x77"}),
    ],
)
def test_what_is_wrong_with_a_token_is_found_out_before_anything_is_signed(
    token: Token, tmp_path: Path, pin: str, changes: dict[str, Any]
) -> None:
    path = tmp_path / "mine.key"
    path.write_bytes(encode_token_key(replace(token.find("p256"), **changes)))
    with pytest.raises(KeyFileError):
        load_signers(path, asked(pin))


def test_a_token_that_is_not_plugged_in_is_refused(token: Token) -> None:
    absent = replace(token.find("p256"), token="lost")  # noqa: S106 - a label
    with pytest.raises(KeyFileError) as caught:
        token_signer(absent, asked(PIN)).sign(b"payload")
    assert caught.value.where == "token lost, key p256"
    with pytest.raises(KeyFileError):
        Token("lost").find("p256")


def test_a_key_of_another_id_does_not_sign_for_this_one(token: Token) -> None:
    mixed = replace(token.find("p256"), key_id=b"\x77")
    with pytest.raises(KeyFileError):
        token_signer(mixed, asked(PIN)).sign(b"payload")


def test_a_token_that_holds_another_key_there_is_found_out(token: Token) -> None:
    other = replace(token.find("p384"), key_id=token.find("p256").key_id)
    with pytest.raises(KeyFileError) as caught:
        token_signer(other, asked(PIN)).sign(b"payload")
    assert caught.value.where == "token lead, key p384"


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_module_that_others_can_write_is_not_loaded(
    tmp_path: Path, mode: int
) -> None:
    module = tmp_path / "module.so"
    module.write_bytes(b"")
    module.chmod(mode)
    with pytest.raises(KeyFileError) as caught:
        check_module(module)
    assert caught.value.where == str(module)


@pytest.mark.parametrize("name", ["none.so", "folder", "../relative.so"])
def test_what_is_no_module_is_not_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    path = Path(name) if name.startswith("..") else tmp_path / name
    with pytest.raises(KeyFileError):
        check_module(path)


def test_a_library_that_is_no_module_is_refused(token: Token, tmp_path: Path) -> None:
    module = tmp_path / "module.so"
    module.write_bytes(b"not a library")
    module.chmod(0o644)
    odd = replace(token.find("p256"), module=module)
    with pytest.raises(KeyFileError):
        token_signer(odd, asked(PIN)).sign(b"payload")


def test_keygen_leaves_nothing_when_the_token_has_no_such_key(
    desk: Desk, token: Token
) -> None:
    desk.runtime = replace(desk.runtime, ask=lambda _: PIN)
    desk.refuses(*keygen(token, "none"), code="key-unusable")


def keygen(token: Token, label: str) -> tuple[str, ...]:
    return (
        *("keygen", "mine", "--kind", "pkcs11", "--token", token.label),
        *("--object", label, "--module", str(MODULE)),
    )


@pytest.mark.parametrize(
    ("label", "scheme"),
    [("p256", "ecdsa-sha2-nistp256"), ("p384", "ecdsa-sha2-nistp384")],
)
def test_a_token_signs_what_its_public_file_verifies(
    desk: Desk, token: Token, label: str, scheme: str
) -> None:
    value = desk.does(*keygen(token, label))
    path = desk.folder / "mine.key"
    assert PIN.encode() not in path.read_bytes()
    (key,) = load_public_keys(desk.folder / "mine.pub", NOBODY)
    assert load_public_keys(path, NOBODY) == (key,)
    assert (value["key_ids"], key.scheme) == ([key.keyid], scheme)
    pin_file = desk.folder / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(f"{PIN}\n")
    before = os.environ.get("PYKCS11LIB")
    (signer,) = load_signers(path, Passphrases(file=None, ask=None, pin_file=pin_file))
    key.verify_signature(signer.sign(b"payload"), b"payload")
    assert os.environ.get("PYKCS11LIB") == before


def test_the_pin_is_asked_for_once_for_several_signatures(token: Token) -> None:
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return PIN

    signer = token_signer(token.find("p384"), Passphrases(file=None, ask=ask))
    signer.sign(b"one")
    signer.sign(b"two")
    assert prompts == ["PIN of token lead: "]


def test_a_host_accepts_a_hybrid_bundle_whose_classical_keys_are_in_a_token(
    token: Token, desk: Desk, tmp_path: Path
) -> None:
    desk.does("keygen", "pq", "--kind", "ml-dsa-87", "--passphrase-file", "pw")
    reference = encode_token_key(token.find("p384"))
    # One holder: a classical key in the token, an ML-DSA-87 key in a file.
    holder = tmp_path / "holder.key"
    holder.write_bytes(reference + (desk.folder / "pq.key").read_bytes())
    passphrases = Passphrases(
        file=None, ask=lambda prompt: PIN if "PIN" in prompt else PASSPHRASE
    )
    signers = load_signers(holder, passphrases)
    keys = new_keys(kind="hybrid")
    bundle = publish_bundle(
        tmp_path / "bundle",
        policies=[("site", b"permit (principal, action, resource);\n")],
        keys=keys,
    )

    def join(root: Root) -> None:
        for signer in signers:
            assert isinstance(signer.public_key, SSlibKey)
            root.add_key(signer.public_key, "targets")

    root = next_root(bundle.root, signers=keys.all_root, change=join)
    (bundle.folder / "metadata" / "2.root.json").write_bytes(root)
    by_token = PublishingKeys(release=signers, bundler=keys.publishing.bundler)
    for path, data in publish(bundle.manifest, keys=by_token, expires=BUNDLE_EXPIRES):
        (bundle.folder / path).write_bytes(data)
    host = BundleHost(tmp_path / "scratch", bundle.state())
    found = host.accept(bundle.folder)
    assert {signer.public_key.keyid for signer in signers} <= set(found.signed_by)
