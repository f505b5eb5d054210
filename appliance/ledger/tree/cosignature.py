"""Cosignatures: somebody else signs that the ledger had this head, and when.

A witness signs a head only if it continues the last one it signed of that log, so
two histories of one length cannot both be cosigned. The line is added to the
checkpoint's note. Pure.
Source: C2SP tlog-cosignature, ``cosignature/v1``; key encoding as in Go's
``golang.org/x/mod/sumdb/note``, with the type 0x04 of a cosigner.
"""

import base64
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from appliance.ledger.tree.note import (
    KEY_ID_BYTES,
    NAME,
    Signature,
    SignedNote,
    decode_note,
    from_base64,
)
from bundleformat.errors import MalformedError, SignatureError

COSIGNATURE = b"\x04"
"""Signature type of a cosigner's Ed25519 key. Source: C2SP tlog-cosignature."""

_TIME_BYTES = 8
_PREFIX = "PRIVATE+KEY+"


@dataclass(frozen=True, kw_only=True, slots=True)
class WitnessKey:
    """The public key of a witness, and its name."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that say which key made a cosignature."""
        hashed = self.name.encode() + b"\n" + COSIGNATURE + self.public
        return hashlib.sha256(hashed).digest()[:KEY_ID_BYTES]

    def encode(self) -> str:
        """Return the key as ``name+id+base64``: what others are given."""
        body = base64.b64encode(COSIGNATURE + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{body}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Witness:
    """Who signs: the private key, in no ``repr``, and the public one."""

    signer: Ed25519PrivateKey = field(repr=False)
    key: WitnessKey

    def encode(self) -> bytes:
        """Return the private key as its file holds it."""
        body = base64.b64encode(COSIGNATURE + self.signer.private_bytes_raw()).decode()
        key_id = self.key.key_id.hex()
        return f"{_PREFIX}{self.key.name}+{key_id}+{body}\n".encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosignature:
    """A witness's line on a note, verified.

    Attributes:
        line: The line, as it stands in the note.
        seconds: When the witness signed, by its own clock. Unit: seconds of Unix time.
    """

    line: str
    seconds: int


def new_witness(name: str) -> Witness:
    """Return a new witness called ``name``.

    Raises:
        MalformedError: A key cannot have that name.
    """
    if not NAME.fullmatch(name):
        raise MalformedError(
            "not a name for a key", where="name", expected="no spaces and no plus"
        )
    signer = Ed25519PrivateKey.generate()
    public = signer.public_key().public_bytes_raw()
    return Witness(signer=signer, key=WitnessKey(name=name, public=public))


def parse_witness(data: bytes) -> Witness:
    """Return the witness whose private key is in ``data``.

    Raises:
        MalformedError: It is no private key of a cosigner.
    """
    text = data.decode("utf-8", "replace")
    name, _, body = (*text.removeprefix(_PREFIX).split("+", 2), "", "")[:3]
    raw = from_base64(body.removesuffix("\n"), where="witness key")
    if raw[:1] == COSIGNATURE and len(raw) == 33 and NAME.fullmatch(name):
        signer = Ed25519PrivateKey.from_private_bytes(raw[1:])
        public = signer.public_key().public_bytes_raw()
        witness = Witness(signer=signer, key=WitnessKey(name=name, public=public))
        if witness.encode() == data:
            return witness
    raise MalformedError(
        "not the private key of a witness",
        where="witness key",
        hint="Make one with: sallyport audit witness-key FILE --name NAME",
    )


def parse_witness_key(text: str) -> WitnessKey:
    """Return the public key of a witness that ``text`` spells.

    Raises:
        MalformedError: It is no cosigner's key, or its id is not its own.
    """
    name, _, body = (*text.split("+", 2), "", "")[:3]
    raw = from_base64(body, where="witness key")
    key = WitnessKey(name=name, public=raw[1:])
    whole = raw[:1] == COSIGNATURE and len(raw) == 33 and NAME.fullmatch(name)
    if not whole or key.encode() != text:
        raise MalformedError(
            "not the key of a witness; was it copied completely?",
            where="witness key",
            expected="NAME+ID+BASE64 of type 4",
        )
    return key


def cosign(note: bytes, *, witness: Witness, seconds: int) -> bytes:
    """Return ``note`` with the witness's line added after the others.

    The caller MUST have checked the note, and that it continues what the witness
    signed before. An older line of the same key is replaced.
    """
    read = decode_note(note)
    stamp = seconds.to_bytes(_TIME_BYTES)
    signed = witness.signer.sign(_message(read.text, seconds))
    key = witness.key
    others = tuple(
        line for line in read.signatures if (line.name, line.key_id) != _id_of(key)
    )
    line = Signature(name=key.name, key_id=key.key_id, signature=stamp + signed)
    return SignedNote(text=read.text, signatures=(*others, line)).encode()


def open_cosignature(note: bytes, *, key: WitnessKey) -> Cosignature:
    """Return what ``key`` signed of ``note``.

    Raises:
        SignatureError: It signed nothing of it, or another text.
        MalformedError: It is no signed note.
    """
    read = decode_note(note)
    ours = [line for line in read.signatures if (line.name, line.key_id) == _id_of(key)]
    if len(ours) != 1:
        raise SignatureError("the witness did not sign this note", where=key.name)
    signature = ours[0].signature
    seconds = int.from_bytes(signature[:_TIME_BYTES])
    public = Ed25519PublicKey.from_public_bytes(key.public)
    try:
        public.verify(signature[_TIME_BYTES:], _message(read.text, seconds))
    except InvalidSignature as error:
        raise SignatureError(
            "the cosignature does not fit the text", where=key.name
        ) from error
    return Cosignature(line=ours[0].encode(), seconds=seconds)


def _id_of(key: WitnessKey) -> tuple[str, bytes]:
    return key.name, key.key_id


def _message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
