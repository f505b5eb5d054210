"""A vendor for tests: signs models as OpenSSF Model Signing does, or badly."""

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bundleformat.artifact import Provenance, SigningMode
from bundleformat.model_signing import (
    BUNDLE_TYPE,
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
)
from tests.support.publisher import NOW

YEAR = dt.timedelta(days=365)

DIGESTS: dict[int, hashes.HashAlgorithm] = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    521: hashes.SHA512(),
}


def name(text: str) -> x509.Name:
    """Return a name; one longer than an attribute may be has several."""
    pieces = [text[start : start + 64] for start in range(0, len(text), 64)]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in pieces])


def certificate(
    subject: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool,
    begin: dt.datetime = NOW - YEAR,
    end: dt.datetime = NOW + YEAR,
    path_length: int | None = None,
    may_issue: bool = True,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
    extra: x509.ExtensionType | None = None,
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length), True)  # noqa: FBT003
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=is_ca and may_issue,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if not is_ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), False)  # noqa: FBT003
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    return builder.sign(issuer_key, hashes.SHA384()).public_bytes(Encoding.DER)


def statement(files: Mapping[str, str]) -> dict[str, Any]:
    """Return what a vendor says of files, given by name and digest."""
    whole = hashlib.sha256(b"".join(bytes.fromhex(each) for each in files.values()))
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "model", "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256"},
            "resources": [
                {"name": file, "algorithm": "sha256", "digest": digest}
                for file, digest in files.items()
            ],
        },
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Vendor:
    """A signing key, and the certificates it may show."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP384R1())
    )
    ca_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP384R1())
    )

    @property
    def digest(self) -> hashes.HashAlgorithm:
        """The digest that goes with the key's curve."""
        return DIGESTS[self.key.curve.key_size]

    def ca(self, **more: Any) -> bytes:
        given = {"is_ca": True, **more}
        return certificate(
            "Vendor CA", self.ca_key.public_key(), "Vendor CA", self.ca_key, **given
        )

    def leaf(self, **more: Any) -> bytes:
        given = {"is_ca": False, **more}
        return certificate(
            "Vendor", self.key.public_key(), "Vendor CA", self.ca_key, **given
        )

    def provenance(self, *, mode: SigningMode, ca: bytes | None = None) -> Provenance:
        public = self.key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        anchor = public if mode == "key" else ca or self.ca()
        return Provenance(
            mode=mode, anchor=base64.b64encode(anchor).decode(), signer="Vendor"
        )

    def bundle(self, said: dict[str, Any], *chain: bytes) -> dict[str, Any]:
        """Return a signature over a statement, as the object that is written."""
        payload = json.dumps(said).encode()
        signed = b"DSSEv1 %d %s %d %s" % (
            len(PAYLOAD_TYPE),
            PAYLOAD_TYPE.encode(),
            len(payload),
            payload,
        )
        signature = self.key.sign(signed, ec.ECDSA(self.digest))
        material: dict[str, Any] = {"tlogEntries": []}
        if chain:
            certificates = [{"rawBytes": base64.b64encode(c).decode()} for c in chain]
            material["x509CertificateChain"] = {"certificates": certificates}
        else:
            material["publicKey"] = {"hint": ""}
        return {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [
                    {"sig": base64.b64encode(signature).decode(), "keyid": ""}
                ],
            },
        }

    def sign(self, files: Mapping[str, str], *chain: bytes) -> bytes:
        """Return the signature file of ``files``."""
        return json.dumps(self.bundle(statement(files), *chain)).encode()
