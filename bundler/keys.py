"""Signing keys as files: ``X.key`` (encrypted, private) and ``X.pub``.

Keys are Ed25519. A private key leaves this module only as a signer.

Source: RFC 8032; RFC 8410 (PEM forms).
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from bundleformat.errors import ConflictError
from bundler.errors import KeyFileError
from bundler.pack import write_new_file
from bundler.passphrase import Passphrases
from bundler.pkcs8 import IV_BYTES, SALT_BYTES, encrypted_pem

MAX_KEY_FILE_BYTES: Final = 65_536
"""Largest key file read. Unit: bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyPair:
    """The two files of a new key, and its id in metadata."""

    key_id: str
    private_path: Path
    public_path: Path


def create_key(stem: Path, passphrases: Passphrases) -> KeyPair:
    """Write ``STEM.key`` and ``STEM.pub``; neither existed before.

    Raises:
        ConflictError: One of the files is already there.
        KeyFileError, UsageError: As ``Passphrases.for_new_key``.
        StorageFaultError: They cannot be written; neither was left.
    """
    private_path = stem.with_name(f"{stem.name}.key")
    public_path = stem.with_name(f"{stem.name}.pub")
    for path in (private_path, public_path):
        if os.path.lexists(path):
            raise ConflictError(
                "already there", where=str(path), hint="Choose another name."
            )
    passphrase = passphrases.for_new_key(private_path)
    private = Ed25519PrivateKey.generate()
    pem = encrypted_pem(
        private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        passphrase=passphrase,
        salt=secrets.token_bytes(SALT_BYTES),
        iv=secrets.token_bytes(IV_BYTES),
    )
    public = private.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    write_new_file(private_path, pem, mode=0o600)
    try:
        write_new_file(public_path, public, mode=0o644)
    except BaseException:
        private_path.unlink()
        raise
    return KeyPair(
        key_id=SSlibKey.from_crypto(private.public_key()).keyid,
        private_path=private_path,
        public_path=public_path,
    )


def load_signer(path: Path, passphrases: Passphrases) -> CryptoSigner:
    """Return a signer with the private key in ``path``.

    Raises:
        KeyFileError: No such file, not an encrypted Ed25519 key, or another
            passphrase.
        UsageError: There is no way to learn the passphrase.
    """
    pem = _read(path)
    if b"ENCRYPTED" not in pem:
        raise KeyFileError(
            "not an encrypted private key",
            where=str(path),
            expected="a file ending in .key that keygen wrote",
        )
    try:
        key = load_pem_private_key(pem, passphrases.for_key(path))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            "the passphrase does not open this key",
            where=str(path),
            hint="Check which passphrase belongs to this key; the file may also be "
            "damaged.",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError("not an Ed25519 key", where=str(path))
    return CryptoSigner(key)


def load_public_key(path: Path, passphrases: Passphrases) -> SSlibKey:
    """Return the public key in ``path``, or that of the private key in it.

    Raises:
        KeyFileError: No such file, or not a key that keygen wrote.
        UsageError: It is a private key and its passphrase cannot be learnt.
    """
    pem = _read(path)
    if b"PRIVATE KEY" in pem:
        return load_signer(path, passphrases).public_key
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            "neither a public nor a private key",
            where=str(path),
            expected="a file ending in .pub or .key that keygen wrote",
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError("not an Ed25519 key", where=str(path))
    return SSlibKey.from_crypto(key)


def is_private(path: Path) -> bool:
    """Return whether ``path`` holds a private key.

    Raises:
        KeyFileError: The file cannot be read.
    """
    return b"PRIVATE KEY" in _read(path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise KeyFileError(
            "the key file cannot be read",
            where=str(path),
            actual=error.strerror or str(error),
        ) from error
