"""A vendor's signature over a model: OpenSSF Model Signing, checked offline.

The signature says which files, by SHA-256, its signer stands for. It is evidence
of where a model came from and no part of a bundle's trust: a bundle carries it
with the key or the CA certificate that its publisher pinned, and both machines
check it alike. The modes are ``key`` and ``certificate``; the third one asks a
transparency log for its newest root, which an isolated host cannot.

Source: OpenSSF Model Signing v1.0; Sigstore bundle format v0.3; DSSE v1.0.0,
"Protocol"; in-toto Statement v1.
"""

import base64
import binascii
import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from securesystemslib.dsse import Envelope

from bundleformat import strictjson
from bundleformat.artifact import Provenance
from bundleformat.certificates import check_chain
from bundleformat.digest import Sha256, parse_sha256
from bundleformat.errors import DigestMismatchError, MalformedError, SignatureError
from bundleformat.fields import Fields
from bundleformat.limits import Limits

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"

MAX_FILES: Final = 8_192
"""Most files of one signed model."""

MAX_CERTIFICATES: Final = 8
"""Most certificates of a chain."""

_HASHES: Final[dict[int, type[hashes.HashAlgorithm]]] = {
    256: hashes.SHA256,
    384: hashes.SHA384,
    521: hashes.SHA512,
}
"""The digest that goes with a curve, by the size of its keys."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedModel:
    """What a vendor stands for; only ``verify_model_signature`` makes one.

    Attributes:
        signer: Who signed: the subject of the certificate, or the key's digest.
        files: Digest of every signed file, by its name at the vendor's.
    """

    signer: str
    files: Mapping[str, Sha256]


def verify_model_signature(
    data: bytes,
    *,
    provenance: Provenance,
    moment: dt.datetime,
    limits: Limits,
    where: str,
) -> SignedModel:
    """Return what the signature in ``data`` covers.

    ``moment`` is when the certificates must have been valid: a time at which
    somebody who is trusted says the signature was seen, such as the signed
    creation time of the bundle that carries it. The time inside a vendor's
    signature proves nothing, and its certificate's own dates even less.

    Raises:
        MalformedError, LimitExceededError: It is no such signature.
        SignatureError: The pinned key or CA did not sign it.
        ExpiredError: A certificate was not valid at ``moment``.
    """
    fields = Fields(
        strictjson.decode(
            data,
            max_bytes=limits.provenance_bytes,
            max_depth=limits.json_depth,
            where=where,
        ),
        where=where,
    )
    _check_text(fields, "mediaType", BUNDLE_TYPE)
    material = fields.nested("verificationMaterial")
    envelope = fields.nested("dsseEnvelope")
    anchor = base64.b64decode(provenance.anchor)
    if provenance.mode == "key":
        key, signer = _key_of(anchor, where=where)
    else:
        chain = _certificates(material)
        key, signer = check_chain(chain, anchor=anchor, moment=moment, where=where)
    payload = _verified_payload(envelope, key, limits=limits, where=where)
    return SignedModel(signer=signer, files=_read_statement(payload, limits, where))


def check_covers(
    signed: SignedModel, files: Sequence[tuple[str, Sha256]], *, where: str
) -> None:
    """Check that the vendor signed each of ``files``, given by place and digest.

    A vendor signs a folder; that it holds more than what is delivered is fine.

    Raises:
        DigestMismatchError: One of them is none the vendor signed.
    """
    known = set(signed.files.values())
    for place, sha256 in files:
        if sha256 not in known:
            raise DigestMismatchError(
                f"{place} is no file that {signed.signer} signed",
                where=where,
                expected=f"one of {len(known)} signed files",
                actual=f"sha256 {sha256}",
                hint="Get the model again from its vendor, with its signature.",
            )


def _check_text(fields: Fields, key: str, expected: str) -> None:
    found = fields.text(key, max_characters=256)
    if found != expected:
        raise MalformedError(
            "another type than a model signature has",
            where=fields.place(key),
            expected=expected,
            actual=ascii(found),
        )


def _base64(fields: Fields, key: str, *, limit: int) -> bytes:
    try:
        return base64.b64decode(fields.text(key, max_characters=limit), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("not base64", where=fields.place(key)) from error


def _certificates(material: Fields) -> tuple[bytes, ...]:
    chain = material.nested("x509CertificateChain")
    return tuple(
        _base64(Fields(item, where=place), "rawBytes", limit=16_384)
        for item, place in chain.items("certificates", max_items=MAX_CERTIFICATES)
    )


def _key_of(der: bytes, *, where: str) -> tuple[ec.EllipticCurvePublicKey, str]:
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedError("the pinned key is no public key", where=where) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise MalformedError("the pinned key is no elliptic curve key", where=where)
    return key, f"key {hashlib.sha256(der).hexdigest()}"


def _verified_payload(
    fields: Fields, key: ec.EllipticCurvePublicKey, *, limits: Limits, where: str
) -> bytes:
    _check_text(fields, "payloadType", PAYLOAD_TYPE)
    payload = _base64(fields, "payload", limit=limits.provenance_bytes)
    signatures = list(fields.items("signatures", max_items=1))
    if len(signatures) != 1:
        raise MalformedError("not one signature", where=fields.place("signatures"))
    item, place = signatures[0]
    signature = _base64(Fields(item, where=place), "sig", limit=1_024)
    digest = _HASHES.get(key.curve.key_size)
    if digest is None:
        raise MalformedError(
            "signed with a curve that model signing does not know",
            where=where,
            actual=key.curve.name,
        )
    signed = Envelope(payload=payload, payload_type=PAYLOAD_TYPE, signatures={})
    try:
        key.verify(signature, signed.pae(), ec.ECDSA(digest()))
    except InvalidSignature as error:
        raise SignatureError(
            "not signed by the pinned key or certificate",
            where=where,
            hint="Get signature and key from the vendor again; if they still "
            "disagree, do not use this model.",
        ) from error
    return payload


def _read_statement(payload: bytes, limits: Limits, where: str) -> dict[str, Sha256]:
    place = f"{where}: statement"
    statement = Fields(
        strictjson.decode(
            payload,
            max_bytes=limits.provenance_bytes,
            max_depth=limits.json_depth,
            where=place,
        ),
        where=place,
    )
    _check_text(statement, "_type", STATEMENT_TYPE)
    _check_text(statement, "predicateType", PREDICATE_TYPE)
    files: dict[str, Sha256] = {}
    resources = statement.nested("predicate").items("resources", max_items=MAX_FILES)
    for item, inside in resources:
        resource = Fields(item, where=inside)
        name = resource.text("name", max_characters=4_096)
        _check_text(resource, "algorithm", "sha256")
        digest = resource.text("digest", max_characters=64)
        if name in files:
            raise MalformedError("a file is listed twice", where=inside)
        files[name] = parse_sha256(digest, where=resource.place("digest"))
    _check_subject(statement, files)
    return files


def _check_subject(statement: Fields, files: Mapping[str, Sha256]) -> None:
    """Check that the statement is about these very files, in this order."""
    whole = hashlib.sha256(b"".join(bytes.fromhex(each) for each in files.values()))
    subjects: list[tuple[Any, str]] = list(statement.items("subject", max_items=1))
    if len(subjects) != 1:
        raise MalformedError("not one subject", where=statement.place("subject"))
    digest = Fields(subjects[0][0], where=subjects[0][1]).nested("digest")
    found = digest.text("sha256", max_characters=64)
    if found != whole.hexdigest():
        raise MalformedError(
            "the list of files is not the one that was signed",
            where=digest.place("sha256"),
            expected=whole.hexdigest(),
            actual=ascii(found),
        )
