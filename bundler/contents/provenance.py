"""Checks a vendor's signature over a model before the bundle carries it.

The person who writes the spec names the vendor's key or CA certificate, from a
source they trust. It travels in the manifest, under the release signature, and a
host checks the same signature with it again.
"""

import base64
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from bundleformat.artifact import Provenance, SigningMode
from bundleformat.certificates import UNREADABLE
from bundleformat.digest import Sha256
from bundleformat.limits import Limits
from bundleformat.model_signing import check_covers, verify_model_signature
from bundler.contents.spec import ProvenanceSpec
from bundler.errors import SpecError
from bundler.sources.opened import Source

MAX_PEM_BYTES = 65_536
"""Largest file with a vendor's key or certificate. Unit: bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedProvenance:
    """A vendor's signature that holds, and what a host checks it with again."""

    provenance: Provenance
    signature: bytes


def check_provenance(
    spec: ProvenanceSpec,
    files: Sequence[tuple[str, Sha256]],
    *,
    created: dt.datetime,
    limits: Limits,
) -> CheckedProvenance:
    """Return the vendor's signature over ``files``, given by place and digest.

    ``created`` is the time the bundle carries: certificates must be valid then,
    because a host has only the publisher's word for when that was.

    Raises:
        MissingError, SpecError: A file cannot be read, or holds no key.
        MalformedError, LimitExceededError: It is no model signature.
        SignatureError: Somebody else signed.
        ExpiredError: A certificate is not valid.
        DigestMismatchError: The vendor signed other files.
    """
    mode, anchor = _anchor(spec)
    signature = _read(spec.signature, max_bytes=limits.provenance_bytes)
    where = str(spec.signature)
    pinned = Provenance(
        mode=mode, anchor=base64.b64encode(anchor).decode(), signer="unknown"
    )
    signed = verify_model_signature(
        signature, provenance=pinned, moment=created, limits=limits, where=where
    )
    check_covers(signed, files, where=where)
    return CheckedProvenance(
        provenance=Provenance(
            mode=mode, anchor=pinned.anchor, signer=_shown(signed.signer, limits)
        ),
        signature=signature,
    )


def _shown(signer: str, limits: Limits) -> str:
    text = "".join(char if char.isprintable() else "?" for char in signer)
    return text[: limits.text_characters]


def _anchor(spec: ProvenanceSpec) -> tuple[SigningMode, bytes]:
    if spec.key is not None:
        pem = _read(spec.key, max_bytes=MAX_PEM_BYTES)
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SpecError(
                "not a public key in PEM form", where=str(spec.key)
            ) from error
        form = PublicFormat.SubjectPublicKeyInfo
        return "key", key.public_bytes(Encoding.DER, form)
    if spec.certificate is None:
        raise SpecError("neither key nor certificate", where=str(spec.signature))
    pem = _read(spec.certificate, max_bytes=MAX_PEM_BYTES)
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except UNREADABLE as error:
        raise SpecError(
            "not a certificate in PEM form", where=str(spec.certificate)
        ) from error
    return "certificate", certificate.public_bytes(Encoding.DER)


def _read(path: Path, *, max_bytes: int) -> bytes:
    with Source(path, max_bytes=max_bytes) as source:
        return source.file.read(max_bytes)
