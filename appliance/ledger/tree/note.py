"""Signed notes and checkpoints, as C2SP writes them.

A note is text, an empty line, then signature lines; a checkpoint is a note whose
text is origin, size and root. Only Ed25519 (type 0x01) is verified; signature
lines of other keys are kept and ignored, so that witnesses can be added. There
is one encoding: ``decode(data).encode() == data``.
Source: C2SP signed-note and tlog-checkpoint.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from appliance.ledger.tree.merkle import HASH_BYTES
from bundleformat.errors import LimitExceededError, MalformedError, SignatureError

ED25519 = b"\x01"
"""Signature type of a plain Ed25519 key. Source: C2SP signed-note."""

KEY_ID_BYTES = 4
"""Length of a key id. Unit: bytes. Source: C2SP signed-note, "Signatures"."""

MAX_NOTE_BYTES = 64 * 1024
"""Longest note accepted. Unit: bytes."""

MAX_SIGNATURES = 16
"""Most signature lines accepted in a note."""

NAME = re.compile(r"[^\s+\x00-\x1f]{1,255}")
"""What a key may be called. Source: C2SP signed-note."""

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifierKey:
    """A named public key, as the auditor writes it down.

    Attributes:
        name: The log's origin.
        public: The raw Ed25519 public key, 32 bytes.
    """

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that say which key made a signature."""
        hashed = self.name.encode() + b"\n" + ED25519 + self.public
        return hashlib.sha256(hashed).digest()[:KEY_ID_BYTES]

    def encode(self) -> str:
        """Return the key as ``name+id+base64``."""
        body = base64.b64encode(ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{body}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """One signature line: who signed, and the bytes after the key id."""

    name: str
    key_id: bytes
    signature: bytes

    def encode(self) -> str:
        """Return the line, without its end."""
        body = base64.b64encode(self.key_id + self.signature).decode()
        return f"{_DASH}{self.name} {body}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedNote:
    """A note as it was read; nothing about it has been verified."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """Return the note's bytes."""
        lines = "".join(f"{each.encode()}\n" for each in self.signatures)
        return f"{self.text}\n{lines}".encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A tree head: how many records a log has, and the root over them."""

    origin: str
    size: int
    root: bytes

    def encode(self) -> str:
        """Return the note text of this checkpoint, without extension lines."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def parse_vkey(text: str) -> VerifierKey:
    """Return the verifier key that ``text`` spells.

    Raises:
        MalformedError: It is no Ed25519 verifier key, or its id is not its own.
    """
    name, key_id, body = (*text.split("+", 2), "", "")[:3]
    raw = from_base64(body, where="verifier key")
    if not NAME.fullmatch(name) or raw[:1] != ED25519 or len(raw) != 33:
        raise MalformedError("not an Ed25519 verifier key", where="verifier key")
    key = VerifierKey(name=name, public=raw[1:])
    if key.key_id.hex() != key_id:
        raise MalformedError(
            "the key's id does not belong to it; was it copied completely?",
            where="verifier key",
            expected=key.key_id.hex(),
            actual=key_id,
        )
    return key


def decode_note(data: bytes) -> SignedNote:
    """Return the note in ``data``, unverified.

    Raises:
        LimitExceededError: It is too long or has too many signature lines.
        MalformedError: It is not a signed note in its one encoding.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise LimitExceededError(
            "the note is too long", where="note", expected=f"{MAX_NOTE_BYTES} bytes"
        )
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("not UTF-8", where="note") from error
    if any(ord(char) < 0x20 and char != "\n" for char in whole):
        raise MalformedError("control characters", where="note")
    text, gap, block = whole.rpartition("\n\n")
    if not gap or not block.endswith("\n"):
        raise MalformedError("no signature lines after an empty line", where="note")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise LimitExceededError("too many signature lines", where="note")
    return SignedNote(
        text=text + "\n", signatures=tuple(_parse_signature(line) for line in lines)
    )


def sign_note(text: str, *, name: str, signer: Ed25519PrivateKey) -> bytes:
    """Return ``text`` as a note signed under ``name``."""
    key = VerifierKey(name=name, public=signer.public_key().public_bytes_raw())
    signed = Signature(
        name=name, key_id=key.key_id, signature=signer.sign(text.encode())
    )
    return SignedNote(text=text, signatures=(signed,)).encode()


def open_note(data: bytes, *, key: VerifierKey) -> str:
    """Return the text of the note in ``data`` after verifying it with ``key``.

    Raises:
        SignatureError: ``key`` did not sign it, or not this text.
        MalformedError: It is not a signed note.
    """
    note = decode_note(data)
    public = Ed25519PublicKey.from_public_bytes(key.public)
    ours = [s for s in note.signatures if (s.name, s.key_id) == (key.name, key.key_id)]
    if not ours:
        raise SignatureError("the key did not sign this note", where=key.name)
    for line in ours:
        try:
            public.verify(line.signature, note.text.encode())
        except InvalidSignature as error:
            raise SignatureError(
                "the signature does not fit the text", where=key.name
            ) from error
    return note.text


def open_checkpoint(data: bytes, *, key: VerifierKey) -> Checkpoint:
    """Return the checkpoint in ``data`` after verifying it with ``key``.

    Raises:
        SignatureError: ``key`` did not sign it, or it is of another log.
        MalformedError: It is not a signed checkpoint.
    """
    checkpoint = parse_checkpoint(open_note(data, key=key))
    if checkpoint.origin != key.name:
        raise SignatureError(
            "the checkpoint is of another log",
            where="checkpoint",
            expected=key.name,
            actual=checkpoint.origin,
        )
    return checkpoint


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text spells.

    Raises:
        MalformedError: It is not exactly origin, size and root.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0] or not _SIZE.fullmatch(lines[1]):
        raise MalformedError("not origin, size and root", where="checkpoint")
    root = from_base64(lines[2], where="checkpoint")
    if len(root) != HASH_BYTES:
        raise MalformedError("the root has not 32 bytes", where="checkpoint")
    return Checkpoint(origin=lines[0], size=int(lines[1]), root=root)


def _parse_signature(line: str) -> Signature:
    name, _, body = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not NAME.fullmatch(name):
        raise MalformedError("not a signature line", where="note")
    raw = from_base64(body, where="note")
    if len(raw) <= KEY_ID_BYTES:
        raise MalformedError("a signature line without signature", where="note")
    return Signature(name=name, key_id=raw[:KEY_ID_BYTES], signature=raw[KEY_ID_BYTES:])


def from_base64(text: str, *, where: str) -> bytes:
    """Return the bytes of ``text`` if it is their one base64 spelling."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("not base64", where=where) from error
    # Spare bits in the last character would give one value many spellings.
    if base64.b64encode(raw).decode() != text:
        raise MalformedError("not canonical base64", where=where)
    return raw
