"""Says in which PKCS #11 token a key lies; in a ``.key`` file, in place of a key.

::

    In token lead: key release. No secret is in this file.
    -----BEGIN SALLYPORT TOKEN KEY-----
    base64 of {"format":1,"id":"01","label":"release",
               "module":"/usr/lib/…/opensc-pkcs11.so","public":"…","token":"lead"}
    -----END SALLYPORT TOKEN KEY-----

The JSON is canonical; ``public`` is base64 of the SubjectPublicKeyInfo. No token
is touched here.
"""

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from securesystemslib.signer import SSlibKey

from bundleformat import strictjson
from bundleformat.errors import MalformedError
from bundleformat.fields import Fields
from bundleformat.profile import family_of, public_key
from bundler.signing.key_blocks import TOKEN_LABEL, Block, pem_block

FORMAT: Final = 1
"""The version of a reference."""

MAX_BYTES: Final = 8_192
"""Largest reference. Unit: bytes."""

MAX_ID_BYTES: Final = 32
"""Longest id of a key in a token. Unit: bytes."""

_WHERE: Final = "token key"


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenKey:
    """Where a key lies.

    Attributes:
        module: Path of the vendor's PKCS #11 library.
        token: The token's label.
        label: The key's label, for people.
        key_id: The key's ``CKA_ID``, by which it is found.
        public_key: The public half: P-256 or P-384.
    """

    module: Path
    token: str
    label: str
    key_id: bytes
    public_key: SSlibKey

    @property
    def place(self) -> str:
        """How messages call it."""
        return f"token {self.token}, key {self.label}"


def encode_token_key(key: TokenKey) -> bytes:
    """Return the block of a ``.key`` file, with a line for people before it."""
    der = public_key(key.public_key, where=key.place).public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    value = {
        "format": FORMAT,
        "id": key.key_id.hex(),
        "label": key.label,
        "module": str(key.module),
        "public": base64.b64encode(der).decode("ascii"),
        "token": key.token,
    }
    said = f"In token {key.token}: key {key.label}. No secret is in this file.\n"
    return said.encode() + pem_block(TOKEN_LABEL, strictjson.encode(value))


def parse_token_key(block: Block) -> TokenKey:
    """Return where the key of a block lies.

    Raises:
        MalformedError, LimitExceededError: Not a reference that keygen wrote.
    """
    data = _base64(b"".join(block.body.split()), where=_WHERE)
    fields = Fields(
        strictjson.decode_canonical(
            data, max_bytes=MAX_BYTES, max_depth=2, where=_WHERE
        ),
        where=_WHERE,
    )
    fields.integer("format", minimum=FORMAT, maximum=FORMAT)
    key = TokenKey(
        module=Path(fields.text("module", max_characters=1_024)),
        token=fields.text("token", max_characters=64),
        label=fields.text("label", max_characters=256),
        key_id=_key_id(fields.text("id", max_characters=2 * MAX_ID_BYTES)),
        public_key=_public_key(fields.text("public", max_characters=1_024)),
    )
    fields.finish()
    return key


def fits_an_id(key_id: bytes) -> bool:
    """Return whether a key can be found by this id.

    ``HSMSigner`` takes the id as a number, which has no leading zeros.
    """
    return 1 <= len(key_id) <= MAX_ID_BYTES and key_id[0] != 0


def public_key_from_der(der: bytes) -> SSlibKey:
    """Return a token's public key.

    Raises:
        MalformedError: Not an EC key on P-256 or P-384.
    """
    where = f"{_WHERE}.public"
    try:
        key = SSlibKey.from_crypto(load_der_public_key(der))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedError("not a public key", where=where) from error
    family_of(key, where=where)
    if key.keytype != "ecdsa":
        raise MalformedError(
            "not a key that a token can sign with", where=where, expected="P-256, P-384"
        )
    return key


def _public_key(text: str) -> SSlibKey:
    return public_key_from_der(_base64(text.encode(), where=f"{_WHERE}.public"))


def _key_id(text: str) -> bytes:
    try:
        key_id = bytes.fromhex(text)
    except ValueError:
        key_id = b""
    if not fits_an_id(key_id):
        raise MalformedError("not an id", where=f"{_WHERE}.id")
    return key_id


def _base64(data: bytes, *, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise MalformedError("not base64", where=where) from error
