"""An export encrypted for one auditor: an age file that its private key alone opens.

The key of the file is wrapped by HPKE with ML-KEM-768 and X25519 together, so that who
keeps the file cannot read it once one of the two is broken. What follows are chunks of
64 KiB, each bound to its place and the last to being the last. ``open_export`` reads
what is written here, and so does ``age`` from 1.3 on.
Source: C2SP age, "mlkem768x25519 recipient stanza" and "Payload".
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from typing import TYPE_CHECKING, BinaryIO, Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

from appliance.audit_media import open_export as opener
from bundleformat.errors import MalformedError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LATTICE_BYTES: Final = 1184
"""How much of a public key is of ML-KEM-768; X25519 has the rest. Source: FIPS 203."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipient:
    """An auditor's public key, and the id by which records and files name it."""

    public: MLKEM768X25519PublicKey
    key_id: str


def parse_recipient(data: bytes, *, where: str) -> Recipient:
    """Return the one recipient in ``data``, a file as ``open_export keygen`` prints it.

    Raises:
        MalformedError: It is none, or more than one.
    """
    lines = opener.keys_in(data)
    raw = opener.from_bech32(opener.PUBLIC, lines[0]) if len(lines) == 1 else b""
    try:
        public = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(raw[:LATTICE_BYTES]),
            X25519PublicKey.from_public_bytes(raw[LATTICE_BYTES:]),
        )
        # A point that gives every secret the same value is found out by trying.
        opener.SUITE.encrypt(b"", public, info=opener.INFO)
    except ValueError as error:
        raise MalformedError(
            "not the public key of an auditor",
            where=where,
            expected="one line age1pq1...",
            hint="It is what `open_export.py keygen` printed; a key of another kind "
            "of age is not taken.",
        ) from error
    return Recipient(public=public, key_id=opener.key_id(raw))


@contextmanager
def sealed_for(recipient: Recipient, file: BinaryIO) -> Iterator["SealedStream"]:
    """Give a stream whose bytes are encrypted for ``recipient`` into ``file``.

    Without its last chunk, which is written when the block ends well, no part of what
    was written before counts as whole.
    """
    file_key = secrets.token_bytes(opener.FILE_KEY_BYTES)
    file.write(_header(recipient, file_key))
    nonce = secrets.token_bytes(opener.NONCE_BYTES)
    file.write(nonce)
    stream = SealedStream(file, opener.derived(file_key, nonce, b"payload"))
    yield stream
    stream.finish()


class SealedStream(BufferedIOBase):
    """Takes bytes of any length and writes them in chunks."""

    def __init__(self, file: BinaryIO, key: bytes) -> None:
        """Write to ``file``, under the payload's ``key``."""
        self._file, self._aead = file, ChaCha20Poly1305(key)
        self._held = bytearray()
        self._number = 0

    def write(self, data: "ReadableBuffer", /) -> int:
        """Take ``data``; a chunk is kept back until something follows it."""
        taken = bytes(data)
        self._held += taken
        while len(self._held) > opener.CHUNK_BYTES:
            self._emit(bytes(self._held[: opener.CHUNK_BYTES]), last=False)
            del self._held[: opener.CHUNK_BYTES]
        return len(taken)

    def finish(self) -> None:
        """Write what is left as the last chunk."""
        self._emit(bytes(self._held), last=True)

    def _emit(self, plain: bytes, *, last: bool) -> None:
        nonce = opener.chunk_nonce(self._number, last=last)
        self._file.write(self._aead.encrypt(nonce, plain, None))
        self._number += 1


def _header(recipient: Recipient, file_key: bytes) -> bytes:
    wrapped = opener.SUITE.encrypt(file_key, recipient.public, info=opener.INFO)
    enc, body = wrapped[: opener.ENC_BYTES], wrapped[opener.ENC_BYTES :]
    covered = (
        f"{opener.VERSION}\n"
        f"-> {opener.NAMES_KEY} {recipient.key_id}\n\n"
        f"-> {opener.KIND} {_base64(enc)}\n{_base64(body)}\n---"
    ).encode("ascii")
    mac = hmac.digest(opener.derived(file_key, b"", b"header"), covered, hashlib.sha256)
    return covered + f" {_base64(mac)}\n".encode("ascii")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")
