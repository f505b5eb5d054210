"""The two files that go into a signing room and come out of it.

A *signing request* holds everything a person needs to decide, and a machine to
sign, without anything else: the metadata with the signatures it has so far, the
roots that say who may sign, and for a bundle its manifest. A *signature file*
holds signatures and says by a digest over which bytes. Both are canonical JSON
under caps. Parsing proves nothing about who wrote them; the room looks at what
it signs, and ``attach`` checks every signature.

Source: RFC 8785; TUF specification 1.0, section 4.2 (signatures are made over
the canonical form of the signed part).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bundleformat import strictjson
from bundleformat.digest import Sha256, parse_sha256
from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.fields import Fields
from bundleformat.limits import DEFAULT_LIMITS

FORMAT: Final = 1
"""The one version of both files."""

MAX_REQUEST_BYTES: Final = 32 * 2**20
"""Largest signing request: targets and manifest at their caps, and the roots.

Unit: bytes. Checked before the file is parsed, and before one is written.
"""

MAX_SIGNATURE_FILE_BYTES: Final = 2**20
"""Largest signature file. One signature by ML-DSA-87 takes 9 254 digits.

Unit: bytes. Checked before the file is parsed.
"""

MAX_SIGNATURES: Final = 64
"""Most signatures in one file, and most signature files attached at once."""

MAX_SIGNATURE_DIGITS: Final = 20_000
"""Longest signature. Unit: hexadecimal digits."""

Role = Literal["root", "targets"]
"""What is signed offline: a version of the root, or what a bundle delivers."""

_DEPTH: Final = 4
_HEX = re.compile("[0-9a-f]+", re.ASCII)
_REQUEST: Final = "signing-request"
_SIGNATURES: Final = "signatures"
_WHICH_FILE: Final = (
    "`sign --export` writes a signing request; `sign REQUEST --key` answers it with "
    "a signature file, which `attach` takes."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningRequest:
    """What travels into the room.

    Attributes:
        role: What is to be signed.
        metadata: The metadata file, with the signatures it has so far.
        payload_sha256: Digest of the bytes that are signed.
        roots: Every root of the channel from version 1 up; none if this is the first.
        manifest: The manifest that the targets name; None for a root.
    """

    role: Role
    metadata: bytes
    payload_sha256: Sha256
    roots: tuple[bytes, ...]
    manifest: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySignature:
    """One signature, by the key of that id; both in hexadecimal digits."""

    key_id: str
    signature: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureFile:
    """What comes out of the room.

    Attributes:
        role: What was signed.
        version: Its version, for people.
        payload_sha256: Digest of the bytes that were signed.
        signatures: The signatures, ascending by key id, each key once.
    """

    role: Role
    version: int
    payload_sha256: Sha256
    signatures: tuple[KeySignature, ...]


def encode_request(request: SigningRequest) -> bytes:
    """Return the one encoding of ``request``.

    Raises:
        LimitExceededError: It would be larger than a room reads.
    """
    value: dict[str, Any] = {
        "format": FORMAT,
        "type": _REQUEST,
        "role": request.role,
        "metadata": request.metadata.decode("utf-8"),
        "payload_sha256": request.payload_sha256,
        "roots": [root.decode("utf-8") for root in request.roots],
    }
    if request.manifest is not None:
        value["manifest"] = request.manifest.decode("utf-8")
    data = strictjson.encode(value)
    if len(data) > MAX_REQUEST_BYTES:
        raise LimitExceededError(
            "the signing request would be too long",
            where=request.role,
            expected=f"at most {MAX_REQUEST_BYTES} bytes",
            actual=f"{len(data)} bytes",
            hint="Deliver fewer or larger chunks in one bundle.",
        )
    return data


def parse_request(data: bytes) -> SigningRequest:
    """Return the signing request in ``data``; what it holds is not checked yet.

    Raises:
        MalformedError: Not a signing request in its one encoding.
        LimitExceededError: Longer than ``MAX_REQUEST_BYTES``.
    """
    value = _opened(data, type_=_REQUEST, max_bytes=MAX_REQUEST_BYTES)
    # Documents have line ends, which no text for people has, so they are taken
    # out before ``Fields`` reads the rest.
    documents = {key: value.pop(key, None) for key in ("metadata", "manifest")}
    fields = _fields(value)
    role = _role(fields)
    limits = DEFAULT_LIMITS
    request = SigningRequest(
        role=role,
        metadata=_bytes_of(
            documents["metadata"],
            where="metadata",
            max_bytes=limits.root_bytes if role == "root" else limits.targets_bytes,
        ),
        payload_sha256=_digest(fields),
        roots=tuple(
            _bytes_of(item, where=where, max_bytes=limits.root_bytes)
            for item, where in fields.items("roots", max_items=limits.root_files)
        ),
        manifest=_manifest(documents["manifest"], role=role),
    )
    fields.finish()
    return request


def encode_signatures(file: SignatureFile) -> bytes:
    """Return the one encoding of ``file``."""
    return strictjson.encode(
        {
            "format": FORMAT,
            "type": _SIGNATURES,
            "role": file.role,
            "version": file.version,
            "payload_sha256": file.payload_sha256,
            "signatures": [
                {"keyid": one.key_id, "sig": one.signature} for one in file.signatures
            ],
        }
    )


def parse_signatures(data: bytes) -> SignatureFile:
    """Return the signature file in ``data``; no signature is verified.

    Raises:
        MalformedError: Not a signature file in its one encoding.
        LimitExceededError: Too long, or with too many signatures.
    """
    fields = _fields(
        _opened(data, type_=_SIGNATURES, max_bytes=MAX_SIGNATURE_FILE_BYTES)
    )
    file = SignatureFile(
        role=_role(fields),
        version=fields.integer("version", minimum=1, maximum=2**31 - 1),
        payload_sha256=_digest(fields),
        signatures=tuple(
            _parse_signature(Fields(item, where=where))
            for item, where in fields.items("signatures", max_items=MAX_SIGNATURES)
        ),
    )
    fields.finish()
    _check_ascending([one.key_id for one in file.signatures])
    return file


def _opened(data: bytes, *, type_: str, max_bytes: int) -> dict[str, Any]:
    value = strictjson.decode_canonical(
        data, max_bytes=max_bytes, max_depth=_DEPTH, where=""
    )
    if not isinstance(value, dict) or value.get("type") != type_:
        raise MalformedError(
            "another kind of file", where="type", expected=type_, hint=_WHICH_FILE
        )
    del value["type"]
    return value


def _fields(value: dict[str, Any]) -> Fields:
    fields = Fields(value, where="")
    fields.integer("format", minimum=FORMAT, maximum=FORMAT)
    return fields


def _role(fields: Fields) -> Role:
    found = fields.text("role", max_characters=16)
    if found == "root":
        return "root"
    if found == "targets":
        return "targets"
    raise MalformedError(
        "not a role that is signed offline",
        where=fields.place("role"),
        expected="root or targets",
        actual=ascii(found),
    )


def _digest(fields: Fields) -> Sha256:
    return parse_sha256(
        fields.text("payload_sha256", max_characters=64),
        where=fields.place("payload_sha256"),
    )


def _manifest(document: object, *, role: Role) -> bytes | None:
    if role == "targets":
        return _bytes_of(
            document, where="manifest", max_bytes=DEFAULT_LIMITS.manifest_bytes
        )
    if document is not None:
        raise MalformedError("unknown field", where="manifest")
    return None


def _bytes_of(value: object, *, where: str, max_bytes: int) -> bytes:
    if not isinstance(value, str) or not value:
        raise MalformedError("not a text", where=where)
    data = value.encode("utf-8")
    if len(data) > max_bytes:
        raise LimitExceededError(
            "too long",
            where=where,
            expected=f"at most {max_bytes} bytes",
            actual=f"{len(data)} bytes",
        )
    return data


def _parse_signature(fields: Fields) -> KeySignature:
    one = KeySignature(
        key_id=_hex(fields, "keyid", digits=64),
        signature=_hex(fields, "sig", digits=MAX_SIGNATURE_DIGITS),
    )
    fields.finish()
    return one


def _hex(fields: Fields, key: str, *, digits: int) -> str:
    text = fields.text(key, max_characters=digits)
    if not _HEX.fullmatch(text):
        raise MalformedError("not hexadecimal digits", where=fields.place(key))
    return text


def _check_ascending(key_ids: Sequence[str]) -> None:
    if not key_ids or sorted(set(key_ids)) != list(key_ids):
        raise MalformedError(
            "no signature, or not ascending by key id", where="signatures"
        )
