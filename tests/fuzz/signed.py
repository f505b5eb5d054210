"""Fuzz targets that read what others sign: certificates and vendors' signatures.

Keys are made from small numbers, so that an input means the same in every run.
"""

import base64
import datetime as dt
import functools
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from cryptography.utils import CryptographyDeprecationWarning
from securesystemslib.dsse import Envelope

from bundleformat import approval, ledger_release, site_certificate, strictjson
from bundleformat.artifact import Provenance, SigningMode
from bundleformat.certificates import check_chain
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.model_signing import SignedModel, verify_model_signature
from bundleformat.site_certificate import PAYLOAD_TYPE
from tests.fuzz.media import canonical
from tests.fuzz.target import Target, pack, unpack
from tests.support.compliance import certificate, compliance_key, compliance_signer
from tests.support.publisher import NOW
from tests.support.vendor import Vendor, statement

VECTORS = Path(__file__).parents[1] / "vectors" / "accept" / "model_signing"


@contextmanager
def _old_encodings() -> Iterator[None]:
    """Let the library say what it will refuse one day; it still reads it today."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


@functools.cache
def _anchors() -> dict[SigningMode, bytes]:
    key = load_pem_public_key((VECTORS / "key.pub").read_bytes())
    ca = x509.load_pem_x509_certificate((VECTORS / "ca.pem").read_bytes())
    return {
        "key": key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "certificate": ca.public_bytes(Encoding.DER),
    }


def _verify(data: bytes, mode: SigningMode, anchor: bytes) -> SignedModel:
    pinned = Provenance(
        mode=mode, anchor=base64.b64encode(anchor).decode(), signer="Vendor"
    )
    signed = verify_model_signature(
        data, provenance=pinned, moment=NOW, limits=DEFAULT_LIMITS, where="m.sig"
    )
    assert signed.signer.isprintable(), ascii(signed.signer)
    return signed


def _read_signature(mode: SigningMode, data: bytes) -> object:
    with _old_encodings():
        return _verify(data, mode, _anchors()[mode])


def _read_pinned_key(data: bytes) -> object:
    """Verify a signature with whatever somebody pinned as a key."""
    return _verify((VECTORS / "key.sig").read_bytes(), "key", data)


@functools.cache
def _vendor() -> Vendor:
    keys = [ec.derive_private_key(number, ec.SECP384R1()) for number in (7, 8)]
    return Vendor(key=keys[0], ca_key=keys[1])


def _read_statement(data: bytes) -> object:
    """Read a statement that the pinned key signed, whatever it says."""
    vendor = _vendor()
    envelope = vendor.bundle({})
    anchor = base64.b64decode(vendor.provenance(mode="key").anchor)
    payload = base64.b64encode(data).decode()
    signed = Envelope(
        payload=data,
        payload_type=envelope["dsseEnvelope"]["payloadType"],
        signatures={},
    )
    signature = vendor.key.sign(signed.pae(), ec.ECDSA(vendor.digest))
    envelope["dsseEnvelope"] |= {
        "payload": payload,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    return _verify(json.dumps(envelope).encode(), "key", anchor)


def _read_chain(data: bytes) -> None:
    """Follow a chain of certificates to the last of them."""
    *chain, anchor = unpack(data, most=4)
    with _old_encodings():
        _, signer = check_chain(tuple(chain), anchor=anchor, moment=NOW, where="m.sig")
    assert signer.isprintable(), ascii(signer)


def _chain_seeds() -> Sequence[bytes]:
    envelope = json.loads((VECTORS / "certificate.sig").read_bytes())
    material = envelope["verificationMaterial"]["x509CertificateChain"]
    chain = [base64.b64decode(each["rawBytes"]) for each in material["certificates"]]
    return [
        pack(*chain, _anchors()["certificate"]),
        pack(_vendor().leaf(), _vendor().ca()),
    ]


def _read_certificate(data: bytes) -> object:
    return site_certificate.parse(data, keys=[compliance_key()], limits=DEFAULT_LIMITS)


def _read_payload(data: bytes) -> object:
    """Read a site certificate that is signed, whatever it says."""
    envelope = Envelope(payload=data, payload_type=PAYLOAD_TYPE, signatures={})
    envelope.sign(compliance_signer())
    return _read_certificate(strictjson.encode(envelope.to_dict()))


def _site_seed() -> bytes:
    return site_certificate.issue(certificate(), compliance_signer())


def _read_release(data: bytes) -> object:
    """Read a release of a halted ledger that is signed, whatever it says."""
    envelope = Envelope(
        payload=data, payload_type=ledger_release.PAYLOAD_TYPE, signatures={}
    )
    envelope.sign(compliance_signer())
    return ledger_release.parse(
        strictjson.encode(envelope.to_dict()),
        keys=[compliance_key()],
        limits=DEFAULT_LIMITS,
    )


def _release_seed() -> bytes:
    release = ledger_release.LedgerRelease(
        log="sallyport/audit/0123456789abcdef",
        halt=3,
        cause=ledger_release.Cause.DISK_FULL,
        halted="2026-11-22T08:04:29.123456Z",
        reason="there is room again",
        issued=NOW,
    )
    return ledger_release.issue(release, compliance_signer())


def _read_approval(data: bytes) -> object:
    """Read an approval that is signed, whatever it says."""
    envelope = Envelope(payload=data, payload_type=approval.PAYLOAD_TYPE, signatures={})
    envelope.sign(compliance_signer())
    return approval.parse(
        strictjson.encode(envelope.to_dict()),
        keys=[compliance_key()],
        limits=DEFAULT_LIMITS,
    )


def _approval_seed() -> bytes:
    ask = approval.Ask(
        nonce="0123456789abcdef" * 2,
        log="sallyport/audit/0123456789abcdef",
        size="1842",
        root="ab" * 32,
        act=approval.Act.BODY_READ,
        values={"request_id": "chatcmpl-1", "parts": "request response"},
        facts={"team": "claims"},
        reason="a complaint",
        asked_by="uid 990, login 1000",
        asked=NOW,
        expires=NOW + dt.timedelta(days=3),
    )
    return approval.issue(approval.Approval(ask=ask, issued=NOW), compliance_signer())


TARGETS = (
    Target(
        name="signature-key",
        read=functools.partial(_read_signature, "key"),
        seeds=lambda: [(VECTORS / "key.sig").read_bytes()],
    ),
    Target(
        name="signature-certificate",
        read=functools.partial(_read_signature, "certificate"),
        seeds=lambda: [(VECTORS / "certificate.sig").read_bytes()],
    ),
    Target(
        name="pinned-key",
        read=_read_pinned_key,
        seeds=lambda: [_anchors()["key"]],
    ),
    Target(
        name="signed-statement",
        read=_read_statement,
        seeds=lambda: [json.dumps(statement({"m": "ab" * 32})).encode()],
    ),
    Target(name="certificate-chain", read=_read_chain, seeds=_chain_seeds),
    Target(
        name="site-certificate",
        read=_read_certificate,
        seeds=lambda: [_site_seed()],
        mend=canonical,
    ),
    Target(
        name="site-payload",
        read=_read_payload,
        seeds=lambda: [base64.b64decode(json.loads(_site_seed())["payload"])],
        mend=canonical,
    ),
    Target(
        name="release-payload",
        read=_read_release,
        seeds=lambda: [base64.b64decode(json.loads(_release_seed())["payload"])],
        mend=canonical,
    ),
    Target(
        name="approval-payload",
        read=_read_approval,
        seeds=lambda: [base64.b64decode(json.loads(_approval_seed())["payload"])],
        mend=canonical,
    ),
)
