"""A vendor's signature is checked before a bundle carries it."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bundleformat.digest import sha256_of
from bundleformat.errors import (
    DigestMismatchError,
    ExpiredError,
    LimitExceededError,
    MissingError,
    RefusalError,
    SignatureError,
)
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.model_signing import verify_model_signature
from bundler.contents.provenance import CheckedProvenance, check_provenance
from bundler.contents.spec import ProvenanceSpec
from bundler.errors import SpecError
from tests.support.publisher import NOW
from tests.support.vendor import YEAR, Vendor

FILES = [("models/m.gguf", sha256_of(b"weights"))]
SIGNED = {"model.gguf": sha256_of(b"weights"), "README.md": sha256_of(b"card")}


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


def by_key(folder: Path, vendor: Vendor, signature: bytes) -> ProvenanceSpec:
    pem = vendor.key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "vendor.pub").write_bytes(pem)
    (folder / "m.sig").write_bytes(signature)
    return ProvenanceSpec(
        signature=folder / "m.sig", key=folder / "vendor.pub", certificate=None
    )


def by_certificate(folder: Path, ca: bytes, signature: bytes) -> ProvenanceSpec:
    pem = x509.load_der_x509_certificate(ca).public_bytes(Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    (folder / "m.sig").write_bytes(signature)
    return ProvenanceSpec(
        signature=folder / "m.sig", key=None, certificate=folder / "ca.pem"
    )


def check(spec: ProvenanceSpec, limits: Limits = DEFAULT_LIMITS) -> CheckedProvenance:
    return check_provenance(spec, FILES, created=NOW, limits=limits)


def test_another_vendors_signature_is_refused(tmp_path: Path, vendor: Vendor) -> None:
    with pytest.raises(SignatureError):
        check(by_key(tmp_path, vendor, Vendor().sign(SIGNED)))


def test_a_signature_over_other_files_is_refused(
    tmp_path: Path, vendor: Vendor
) -> None:
    other = vendor.sign({"model.gguf": sha256_of(b"other weights")})
    with pytest.raises(DigestMismatchError):
        check(by_key(tmp_path, vendor, other))


def test_an_expired_certificate_is_refused(tmp_path: Path, vendor: Vendor) -> None:
    leaf = vendor.leaf(begin=NOW - 3 * YEAR, end=NOW - YEAR)
    with pytest.raises(ExpiredError):
        check(by_certificate(tmp_path, vendor.ca(), vendor.sign(SIGNED, leaf)))


@pytest.mark.parametrize("name", ["vendor.pub", "m.sig"])
def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, vendor: Vendor, name: str
) -> None:
    spec = by_key(tmp_path, vendor, vendor.sign(SIGNED))
    (tmp_path / name).unlink()
    with pytest.raises(MissingError) as caught:
        check(spec)
    assert caught.value.where == str(tmp_path / name)


@pytest.mark.parametrize("name", ["vendor.pub", "ca.pem"])
def test_a_pinned_file_that_holds_something_else_is_refused(
    tmp_path: Path, vendor: Vendor, name: str
) -> None:
    if name == "ca.pem":
        spec = by_certificate(tmp_path, vendor.ca(), vendor.sign(SIGNED))
    else:
        spec = by_key(tmp_path, vendor, vendor.sign(SIGNED))
    (tmp_path / name).write_bytes(b"-----BEGIN NOTHING-----\n")
    with pytest.raises(SpecError) as caught:
        check(spec)
    assert caught.value.where == str(tmp_path / name)


def test_a_signature_above_its_limit_is_refused(tmp_path: Path, vendor: Vendor) -> None:
    with pytest.raises(LimitExceededError):
        check(
            by_key(tmp_path, vendor, vendor.sign(SIGNED)), Limits(provenance_bytes=99)
        )


def test_what_was_checked_here_is_what_a_host_checks_again(
    tmp_path: Path, vendor: Vendor
) -> None:
    ca = vendor.ca()
    spec = by_certificate(tmp_path, ca, vendor.sign(SIGNED, vendor.leaf()))
    checked = check(spec)
    assert checked.provenance.signer == "CN=Vendor"
    again = verify_model_signature(
        checked.signature,
        provenance=checked.provenance,
        moment=NOW,
        limits=DEFAULT_LIMITS,
        where="provenance/m.sig",
    )
    assert again.signer == checked.provenance.signer
    assert issubclass(SpecError, RefusalError)
