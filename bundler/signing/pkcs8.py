"""Encrypts a private key under a passphrase, in the form every tool reads.

The libraries at hand write PKCS #8 with 2048 rounds of PBKDF2, which a single
graphics card undoes for most passphrases. The same structure is written here
with the rounds this decade asks for; ``openssl pkey`` reads it, and so does
``cryptography``. Randomness comes in as arguments.

Source: RFC 8018, sections 5.2 and 6.2; RFC 5958, section 3.
"""

import hashlib
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from bundler.signing.key_blocks import PRIVATE_LABEL, pem_block

ROUNDS: Final = 600_000
"""Rounds of PBKDF2-HMAC-SHA256.

Source: OWASP Password Storage Cheat Sheet, "PBKDF2".
"""

SALT_BYTES: Final = 16
"""Bytes of salt. Unit: bytes."""

IV_BYTES: Final = 16
"""Bytes of the initialisation vector of AES-CBC. Unit: bytes."""

_INTEGER, _OCTETS, _NULL, _OID, _SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30

_PBES2: Final = bytes.fromhex("2a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("2a864886f70d01050c")
_HMAC_SHA256: Final = bytes.fromhex("2a864886f70d0209")
_AES256_CBC: Final = bytes.fromhex("60864801650304012a")


def encrypted_pem(
    private_der: bytes, *, passphrase: bytes, salt: bytes, iv: bytes
) -> bytes:
    """Return ``private_der`` (PKCS #8) as an encrypted PEM.

    ``salt`` and ``iv`` MUST be fresh random bytes for every call.
    """
    key = hashlib.pbkdf2_hmac("sha256", passphrase, salt, ROUNDS, dklen=32)
    padder = PKCS7(algorithms.AES256.block_size).padder()
    padded = padder.update(private_der) + padder.finalize()
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).encryptor()
    derivation = _der(
        _SEQUENCE,
        _der(_OCTETS, salt),
        _der(_INTEGER, ROUNDS.to_bytes(3, "big")),
        _der(_SEQUENCE, _der(_OID, _HMAC_SHA256), _der(_NULL)),
    )
    scheme = _der(
        _SEQUENCE,
        _der(_SEQUENCE, _der(_OID, _PBKDF2), derivation),
        _der(_SEQUENCE, _der(_OID, _AES256_CBC), _der(_OCTETS, iv)),
    )
    whole = _der(
        _SEQUENCE,
        _der(_SEQUENCE, _der(_OID, _PBES2), scheme),
        _der(_OCTETS, encryptor.update(padded) + encryptor.finalize()),
    )
    return pem_block(PRIVATE_LABEL, whole)


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
