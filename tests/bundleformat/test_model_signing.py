"""Vendors' signatures: what the reference tool made is accepted, all else refused."""

import base64
import copy
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from bundleformat.artifact import Provenance
from bundleformat.digest import sha256_of
from bundleformat.errors import (
    DigestMismatchError,
    ExpiredError,
    LimitExceededError,
    MalformedError,
    RefusalError,
    SignatureError,
)
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.model_signing import (
    SignedModel,
    check_covers,
    verify_model_signature,
)
from tests.support.publisher import NOW
from tests.support.vendor import YEAR, Vendor, certificate, statement

VECTORS = Path(__file__).parents[1] / "vectors" / "accept" / "model_signing"
FILES = {"model.gguf": sha256_of(b"weights"), "README.md": sha256_of(b"card")}


def verify(
    data: bytes,
    provenance: Provenance,
    *,
    moment: dt.datetime = NOW,
    limits: Limits = DEFAULT_LIMITS,
) -> SignedModel:
    return verify_model_signature(
        data, provenance=provenance, moment=moment, limits=limits, where="m.sig"
    )


def test_a_signature_by_the_reference_tool_with_a_key_is_accepted() -> None:
    key = load_pem_public_key((VECTORS / "key.pub").read_bytes())
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    anchor = base64.b64encode(der).decode()
    signed = verify(
        (VECTORS / "key.sig").read_bytes(),
        Provenance(mode="key", anchor=anchor, signer="Vendor"),
    )
    assert signed.files["model.gguf"] == sha256_of(b"weights of a model\n")


def test_a_signature_by_the_reference_tool_with_a_certificate_is_accepted() -> None:
    ca = x509.load_pem_x509_certificate((VECTORS / "ca.pem").read_bytes())
    anchor = base64.b64encode(ca.public_bytes(Encoding.DER)).decode()
    signed = verify(
        (VECTORS / "certificate.sig").read_bytes(),
        Provenance(mode="certificate", anchor=anchor, signer="Vendor"),
    )
    assert signed.signer == "CN=Vendor Model Signing"
    assert signed.files["README.md"] == sha256_of(b"# card\n")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_every_curve_of_the_specification_is_accepted(curve: ec.EllipticCurve) -> None:
    vendor = Vendor(key=ec.generate_private_key(curve))
    signed = verify(vendor.sign(FILES), vendor.provenance(mode="key"))
    assert dict(signed.files) == FILES


def test_another_vendor_did_not_sign_it() -> None:
    with pytest.raises(SignatureError):
        verify(Vendor().sign(FILES), Vendor().provenance(mode="key"))


def put(*path: Any) -> Callable[[Any], None]:
    *way, key, value = path

    def edit(document: Any) -> None:
        for step in way:
            document = document[step]
        document[key] = value

    return edit


ENVELOPES = [
    (put("mediaType", "text/plain"), MalformedError),
    (put("dsseEnvelope", "payloadType", "text/plain"), MalformedError),
    (put("dsseEnvelope", "payload", "*"), MalformedError),
    (put("dsseEnvelope", "payload", base64.b64encode(b"{}").decode()), SignatureError),
    (put("dsseEnvelope", "signatures", []), MalformedError),
    (put("dsseEnvelope", "signatures", [{}, {}]), LimitExceededError),
    (put("dsseEnvelope", "signatures", 0, "sig", "AAAA"), SignatureError),
    (put("verificationMaterial", []), MalformedError),
]


@pytest.mark.parametrize(("edit", "error"), ENVELOPES)
def test_an_altered_envelope_is_refused(
    edit: Callable[[Any], None], error: type[RefusalError]
) -> None:
    vendor = Vendor()
    document = vendor.bundle(statement(FILES))
    verify(json.dumps(document).encode(), vendor.provenance(mode="key"))
    edit(document)
    with pytest.raises(error):
        verify(json.dumps(document).encode(), vendor.provenance(mode="key"))


RESOURCES = ("predicate", "resources")

STATEMENTS = [
    put("_type", "https://in-toto.io/Statement/v0.1"),
    put("predicateType", "https://slsa.dev/provenance/v1"),
    put("subject", []),
    put("subject", 0, "digest", "sha256", "0" * 64),
    put("subject", 0, "digest", {}),
    put(*RESOURCES, 0, "algorithm", "sha256-sharded-1000000"),
    put(*RESOURCES, 0, "digest", "0"),
    put(*RESOURCES, 0, "name", "README.md"),
    put(*RESOURCES, {}),
    put("predicate", None),
]


@pytest.mark.parametrize("edit", STATEMENTS)
def test_a_signed_statement_that_says_something_else_is_refused(
    edit: Callable[[Any], None],
) -> None:
    vendor = Vendor()
    said = copy.deepcopy(statement(FILES))
    edit(said)
    with pytest.raises(MalformedError):
        verify(json.dumps(vendor.bundle(said)).encode(), vendor.provenance(mode="key"))


def test_duplicate_keys_are_refused() -> None:
    vendor = Vendor()
    data = vendor.sign(FILES).replace(b'{"media', b'{"mediaType": "x", "media', 1)
    with pytest.raises(MalformedError):
        verify(data, vendor.provenance(mode="key"))


def test_a_signature_larger_than_its_limit_is_not_parsed() -> None:
    vendor = Vendor()
    with pytest.raises(LimitExceededError):
        verify(
            vendor.sign(FILES),
            vendor.provenance(mode="key"),
            limits=Limits(provenance_bytes=99),
        )


@pytest.mark.parametrize("anchor", [b"", b"no key"])
def test_a_pinned_key_that_is_none_is_refused(anchor: bytes) -> None:
    pinned = replace(
        Vendor().provenance(mode="key"), anchor=base64.b64encode(anchor).decode()
    )
    with pytest.raises(MalformedError):
        verify(Vendor().sign(FILES), pinned)


def test_a_pinned_key_of_another_kind_is_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pinned = Provenance(
        mode="key", anchor=base64.b64encode(der).decode(), signer="Vendor"
    )
    with pytest.raises(MalformedError):
        verify(Vendor().sign(FILES), pinned)


def test_a_certificate_by_the_pinned_ca_is_accepted_with_or_without_it() -> None:
    vendor = Vendor()
    ca = vendor.ca()
    pinned = vendor.provenance(mode="certificate", ca=ca)
    for chain in ((vendor.leaf(),), (vendor.leaf(), ca)):
        assert verify(vendor.sign(FILES, *chain), pinned).signer == "CN=Vendor"


def chains() -> dict[str, tuple[Vendor, tuple[bytes, ...], bytes, type[RefusalError]]]:
    vendor, other = Vendor(), Vendor()
    ca, leaf = vendor.ca(), vendor.leaf()
    middle = certificate(
        "Middle", other.ca_key.public_key(), "Vendor CA", vendor.ca_key, is_ca=True
    )
    below = certificate(
        "Below", vendor.key.public_key(), "Middle", other.ca_key, is_ca=False
    )
    early, late = NOW - 3 * YEAR, NOW - 2 * YEAR
    netscape = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\0")
    return {
        "another-ca": (vendor, (leaf,), other.ca(), SignatureError),
        "no-signer": (vendor, (ca,), ca, SignatureError),
        "no-certificate": (vendor, (b"none",), ca, MalformedError),
        "expired-leaf": (
            vendor,
            (vendor.leaf(begin=early, end=late),),
            ca,
            ExpiredError,
        ),
        "leaf-of-the-future": (
            vendor,
            (vendor.leaf(begin=NOW + YEAR / 2),),
            ca,
            ExpiredError,
        ),
        "expired-ca": (vendor, (leaf,), vendor.ca(begin=early, end=late), ExpiredError),
        "for-web-servers": (
            vendor,
            (vendor.leaf(purpose=ExtendedKeyUsageOID.SERVER_AUTH),),
            ca,
            SignatureError,
        ),
        "a-ca-as-signer": (vendor, (vendor.leaf(is_ca=True),), ca, SignatureError),
        "issuer-is-no-ca": (vendor, (leaf,), vendor.ca(is_ca=False), SignatureError),
        "issuer-may-not-issue": (
            vendor,
            (leaf,),
            vendor.ca(may_issue=False),
            SignatureError,
        ),
        "unknown-critical": (
            vendor,
            (vendor.leaf(extra=netscape),),
            ca,
            MalformedError,
        ),
        "missing-middle": (vendor, (below,), ca, SignatureError),
        "longer-than-allowed": (
            vendor,
            (below, middle),
            vendor.ca(path_length=0),
            SignatureError,
        ),
        "too-many": (vendor, (leaf,) * 9, ca, LimitExceededError),
        "signed-by-another-key": (other, (leaf,), ca, SignatureError),
    }


@pytest.mark.parametrize("case", sorted(chains()))
def test_a_chain_that_does_not_hold_is_refused(case: str) -> None:
    vendor, chain, ca, error = chains()[case]
    pinned = vendor.provenance(mode="certificate", ca=ca)
    with pytest.raises(error):
        verify(vendor.sign(FILES, *chain), pinned)


def test_a_chain_of_three_is_accepted() -> None:
    vendor, chain, _, _ = chains()["longer-than-allowed"]
    pinned = vendor.provenance(mode="certificate", ca=vendor.ca(path_length=1))
    other = Vendor()
    middle = certificate(
        "Middle", other.ca_key.public_key(), "Vendor CA", vendor.ca_key, is_ca=True
    )
    below = certificate(
        "Below", vendor.key.public_key(), "Middle", other.ca_key, is_ca=False
    )
    assert chain
    assert verify(vendor.sign(FILES, below, middle), pinned).signer == "CN=Below"


def test_what_was_valid_when_the_bundle_was_made_stays_so() -> None:
    vendor = Vendor()
    pinned = vendor.provenance(mode="certificate")
    data = vendor.sign(FILES, vendor.leaf(begin=NOW - YEAR, end=NOW))
    verify(data, pinned, moment=NOW)
    with pytest.raises(ExpiredError):
        verify(data, pinned, moment=NOW + dt.timedelta(seconds=1))


def test_a_file_the_vendor_did_not_sign_is_refused() -> None:
    vendor = Vendor()
    signed = verify(vendor.sign(FILES), vendor.provenance(mode="key"))
    check_covers(signed, [("models/m.gguf", FILES["model.gguf"])], where="m.sig")
    with pytest.raises(DigestMismatchError) as caught:
        check_covers(signed, [("models/m.gguf", sha256_of(b"other"))], where="m.sig")
    assert caught.value.where == "m.sig"
