"""Signing keys as files: ``X.key`` (private, encrypted) and ``X.pub``.

One pair of files belongs to one holder. It holds one key, or two for a holder in
a hybrid channel: a classical key and an ML-DSA-87 key, each in a PEM block of
its own. In place of an encrypted private key, a block may say in which token the
key lies; see ``hsm.py``. A private key leaves this module only as a signer.

Source: RFC 8032; FIPS 204; RFC 8410 and RFC 9881 (PEM forms).
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA87PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from bundleformat.errors import ConflictError, MalformedError
from bundleformat.profile import KeyFamily, family_of, public_key
from bundler.errors import KeyFileError
from bundler.pack import write_new_file
from bundler.signing.holder import holder_in, holder_line, name_holder
from bundler.signing.hsm import token_signer
from bundler.signing.key_blocks import (
    PRIVATE_LABEL,
    PUBLIC_LABEL,
    TOKEN_LABEL,
    Block,
    parse_blocks,
)
from bundler.signing.passphrase import Passphrases
from bundler.signing.pkcs8 import IV_BYTES, SALT_BYTES, encrypted_pem
from bundler.signing.token_key import TokenKey, encode_token_key, parse_token_key

MAX_KEY_FILE_BYTES: Final = 65_536
"""Largest key file read. Unit: bytes."""

FileKeyKind = Literal["ed25519", "ml-dsa-87", "hybrid"]
"""What a new key file holds: ``hybrid`` is one key of each of the other two."""

_PrivateKey = Ed25519PrivateKey | MLDSA87PrivateKey
_MADE_BY_KEYGEN: Final = "a file ending in {} that keygen wrote"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyPair:
    """The two files of a new key, and its ids in metadata: two for a hybrid."""

    key_ids: tuple[str, ...]
    private_path: Path
    public_path: Path


def create_key(
    stem: Path,
    passphrases: Passphrases,
    *,
    kind: FileKeyKind = "ed25519",
    holder: str = "",
) -> KeyPair:
    """Write ``STEM.key`` and ``STEM.pub``; neither existed before.

    Both name the holder, if there is a name.

    Raises:
        ConflictError: One of the files is already there.
        KeyFileError, UsageError: As ``Passphrases.for_new_key``.
        StorageFaultError: They cannot be written; neither was left.
    """
    private_path, _ = _check_absent_pair(stem)
    passphrase = passphrases.for_new_key(private_path)
    made = _generate(kind)
    return _write_pair(
        stem,
        private=b"".join(_encrypted(key, passphrase) for key in made),
        public=tuple(SSlibKey.from_crypto(key.public_key()) for key in made),
        holder=holder,
    )


def refer_to_token(stem: Path, key: TokenKey, *, holder: str = "") -> KeyPair:
    """Write a ``STEM.key`` that says where a token's key lies, and ``STEM.pub``.

    Both name the holder, if there is a name.

    Raises:
        ConflictError, StorageFaultError: As ``create_key``.
    """
    return _write_pair(
        stem,
        private=encode_token_key(key),
        public=(key.public_key,),
        holder=holder,
    )


def _check_absent_pair(stem: Path) -> tuple[Path, Path]:
    """Return the paths of a key's two files, of which neither exists.

    Raises:
        ConflictError: One does; it is never overwritten.
    """
    pair = (stem.with_name(f"{stem.name}.key"), stem.with_name(f"{stem.name}.pub"))
    for path in pair:
        if os.path.lexists(path):
            raise ConflictError(
                "already there", where=str(path), hint="Choose another name."
            )
    return pair


def _write_pair(
    stem: Path, *, private: bytes, public: Sequence[SSlibKey], holder: str
) -> KeyPair:
    """Write a key's two files, or neither.

    Raises:
        ConflictError: One of the files is already there.
        StorageFaultError: They cannot be written.
    """
    private_path, public_path = _check_absent_pair(stem)
    name = holder_line(holder)
    write_new_file(private_path, name + private, mode=0o600)
    try:
        public_blocks = b"".join(map(public_pem, public))
        write_new_file(public_path, name + public_blocks, mode=0o644)
    except BaseException:
        private_path.unlink()
        raise
    return KeyPair(
        key_ids=tuple(key.keyid for key in public),
        private_path=private_path,
        public_path=public_path,
    )


def public_pem(key: SSlibKey) -> bytes:
    """Return a public key as the PEM block that ``openssl`` reads."""
    return public_key(key, where=f"key {key.keyid}").public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )


def load_signers(path: Path, passphrases: Passphrases) -> tuple[Signer, ...]:
    """Return a signer for every private key of the holder whose file this is.

    Whatever can be wrong with a key is found out here, not after hours of copying:
    passphrases and PINs are asked for, and a token must hold the key. The public
    half of each carries its holder's name, if the file has one.

    Raises:
        KeyFileError: No such file, no private key of a kind that keygen makes,
            another passphrase, or a token that cannot be used.
        UsageError: There is no way to learn the passphrase or the PIN.
    """
    holder, blocks = _read_key_file(path)
    if any(block.label == PUBLIC_LABEL for block in blocks):
        raise KeyFileError(
            "not an encrypted private key",
            where=str(path),
            expected=_MADE_BY_KEYGEN.format(".key"),
        )
    passphrase = b""
    if any(block.label == PRIVATE_LABEL for block in blocks):
        passphrase = passphrases.for_key(path)
    signers: list[Signer] = []
    for block in blocks:
        if block.label == TOKEN_LABEL:
            in_token = token_signer(_token_key(block, path), passphrases)
            in_token.check_ready()
            signers.append(in_token)
        else:
            signers.append(CryptoSigner(_decrypted(block, passphrase, path)))
        name_holder(signers[-1].public_key, holder)
    _check_families([signer.public_key for signer in signers], path)
    return tuple(signers)


def load_public_keys(path: Path, passphrases: Passphrases) -> tuple[SSlibKey, ...]:
    """Return every public key in ``path``, or those of the private keys in it.

    The keys of a token need no PIN. Each carries its holder's name, if the file has
    one.

    Raises:
        KeyFileError: No such file, or no keys of a kind that keygen makes.
        UsageError: A key is private and its passphrase cannot be learnt.
    """
    holder, blocks = _read_key_file(path)
    if any(block.label == PRIVATE_LABEL for block in blocks):
        keys = [signer.public_key for signer in load_signers(path, passphrases)]
        return tuple(key for key in keys if isinstance(key, SSlibKey))
    found = tuple(
        _token_key(block, path).public_key
        if block.label == TOKEN_LABEL
        else _public_key(block, path)
        for block in blocks
    )
    _check_families(found, path)
    for key in found:
        name_holder(key, holder)
    return found


def is_private(path: Path) -> bool:
    """Return whether whoever holds ``path`` can sign with it.

    Raises:
        KeyFileError: The file cannot be read, or is no key.
    """
    _, blocks = _read_key_file(path)
    return any(block.label != PUBLIC_LABEL for block in blocks)


def _generate(kind: FileKeyKind) -> tuple[_PrivateKey, ...]:
    match kind:
        case "ed25519":
            return (Ed25519PrivateKey.generate(),)
        case "ml-dsa-87":
            return (MLDSA87PrivateKey.generate(),)
        case "hybrid":
            return (Ed25519PrivateKey.generate(), MLDSA87PrivateKey.generate())


def _encrypted(key: _PrivateKey, passphrase: bytes) -> bytes:
    return encrypted_pem(
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        passphrase=passphrase,
        salt=secrets.token_bytes(SALT_BYTES),
        iv=secrets.token_bytes(IV_BYTES),
    )


def _decrypted(block: Block, passphrase: bytes, path: Path) -> _PrivateKey:
    try:
        key = load_pem_private_key(block.pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            "the passphrase does not open this key",
            where=str(path),
            hint="Check which passphrase belongs to this key; the file may also be "
            "damaged.",
        ) from error
    if not isinstance(key, Ed25519PrivateKey | MLDSA87PrivateKey):
        raise _unsupported(path)
    return key


def _public_key(block: Block, path: Path) -> SSlibKey:
    try:
        return SSlibKey.from_crypto(load_pem_public_key(block.pem))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unsupported(path) from error


def _token_key(block: Block, path: Path) -> TokenKey:
    try:
        return parse_token_key(block)
    except MalformedError as error:
        raise error.inside(str(path)) from error


def _check_families(keys: Sequence[Key], path: Path) -> None:
    families: list[KeyFamily] = []
    for key in keys:
        try:
            families.append(family_of(key, where=str(path)))
        except MalformedError as error:
            raise _unsupported(path) from error
    if len(set(families)) != len(families):
        raise KeyFileError(
            "more keys than one holder has",
            where=str(path),
            expected="one key, or one classical key and one ML-DSA-87 key",
            actual=" and ".join(families),
            hint="Keep the keys of each holder in files of their own.",
        )


def _unsupported(path: Path) -> KeyFileError:
    return KeyFileError(
        "not a key of a kind that keygen makes",
        where=str(path),
        expected="Ed25519, ML-DSA-87, or P-256 or P-384 in a token",
    )


def _read_key_file(path: Path) -> tuple[str, tuple[Block, ...]]:
    """Return the holder that a key file names, if it does, and its blocks."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(
            "the key file cannot be read",
            where=str(path),
            actual=error.strerror or str(error),
        ) from error
    blocks = parse_blocks(data) if len(data) <= MAX_KEY_FILE_BYTES else ()
    if not blocks:
        raise KeyFileError(
            "neither a public nor a private key",
            where=str(path),
            expected=_MADE_BY_KEYGEN.format(".pub or .key"),
        )
    return holder_in(data), blocks
