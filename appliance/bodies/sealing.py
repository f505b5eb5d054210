"""Encrypts one body under a key of its own, and that key under another; pure.

AES-256-GCM with a random 96-bit nonce each time. What a ciphertext belongs to is
authenticated with it, so that one cannot be put in the place of another.
Source: NIST SP 800-38D, section 8.2.2.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bundleformat.errors import DigestMismatchError

KEY_BYTES = 32
"""Size of every key. Unit: bytes."""

NONCE_BYTES = 12
"""Size of every nonce. Unit: bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """A body as it is stored.

    Attributes:
        nonce: Of ``ct``.
        ct: Salt and body, encrypted.
        wrapped_dek: The key of ``ct``, encrypted under the team's.
    """

    nonce: bytes
    ct: bytes
    wrapped_dek: bytes


def seal(
    plain: bytes, *, kek: bytes, context: bytes, dek: bytes, nonces: tuple[bytes, bytes]
) -> Sealed:
    """Return ``plain`` encrypted under ``dek``, and ``dek`` under ``kek``.

    ``dek`` and ``nonces`` MUST be random and used for nothing else.
    """
    return Sealed(
        nonce=nonces[0],
        ct=AESGCM(dek).encrypt(nonces[0], plain, context),
        wrapped_dek=wrap(dek, under=kek, context=context, nonce=nonces[1]),
    )


def unseal(sealed: Sealed, *, kek: bytes, context: bytes) -> bytes:
    """Return what was sealed.

    Raises:
        DigestMismatchError: Something of it, or what it belongs to, was changed.
    """
    dek = unwrap(sealed.wrapped_dek, under=kek, context=context)
    return _decrypt(dek, sealed.nonce, sealed.ct, context)


def wrap(key: bytes, *, under: bytes, context: bytes, nonce: bytes) -> bytes:
    """Return ``key`` encrypted under another, its nonce before it."""
    return nonce + AESGCM(under).encrypt(nonce, key, context)


def unwrap(wrapped: bytes, *, under: bytes, context: bytes) -> bytes:
    """Return the key in ``wrapped``.

    Raises:
        DigestMismatchError: It is not under this key, or not of this context.
    """
    return _decrypt(under, wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)


def _decrypt(key: bytes, nonce: bytes, ct: bytes, context: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, ct, context)
    except (InvalidTag, ValueError) as error:
        raise DigestMismatchError(
            "the stored body does not authenticate",
            where="bodies.db",
            hint="It, its key or keys/bodies.key was changed or put back from "
            "elsewhere. Keep the file: it is evidence.",
        ) from error
