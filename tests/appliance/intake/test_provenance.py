"""A vendor's signature is checked again on the host, against the delivered bytes."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.intake.provenance import check_provenance
from bundleformat.artifact import Artifact, Chunk
from bundleformat.digest import sha256_of
from bundleformat.errors import (
    DigestMismatchError,
    ExpiredError,
    MalformedError,
    SignatureError,
    StorageFaultError,
)
from bundleformat.manifest import FORMAT, Manifest
from bundleformat.paths import parse_name, parse_path
from tests.support.publisher import NOW, TERMS
from tests.support.vendor import YEAR, Vendor

WEIGHTS = sha256_of(b"weights")


def model(*parts: bytes) -> Artifact:
    digests = tuple(sha256_of(part) for part in parts)
    return Artifact(
        kind="model",
        name=parse_name("m"),
        path=parse_path("models/m.gguf"),
        size_bytes=7,
        sha256=digests[0],
        chunks=(Chunk(sha256=digests[0], size_bytes=7),),
        model=replace(TERMS, parts=digests if len(parts) > 1 else ()),
    )


def bundle(
    folder: Path, vendor: Vendor, signature: bytes, *, mode: str = "key"
) -> tuple[Path, Artifact]:
    path = folder / "stored"
    path.write_bytes(signature)
    return path, Artifact(
        kind="provenance",
        name=parse_name("m"),
        path=parse_path("provenance/m.sig"),
        size_bytes=len(signature),
        sha256=sha256_of(signature),
        chunks=(),
        provenance=vendor.provenance(
            mode="key" if mode == "key" else "certificate", ca=vendor.ca()
        ),
    )


def manifest(*artifacts: Artifact) -> Manifest:
    return Manifest(
        format=FORMAT,
        channel=parse_name("main"),
        version=1,
        created=NOW,
        artifacts=artifacts,
    )


def test_a_signature_by_somebody_else_is_refused(tmp_path: Path) -> None:
    path, found = bundle(tmp_path, Vendor(), Vendor().sign({"m.gguf": WEIGHTS}))
    with pytest.raises(SignatureError):
        check_provenance(path, artifact=found, manifest=manifest(model(b"weights")))


def test_a_model_the_vendor_did_not_sign_is_refused(tmp_path: Path) -> None:
    vendor = Vendor()
    path, found = bundle(tmp_path, vendor, vendor.sign({"m.gguf": WEIGHTS}))
    with pytest.raises(DigestMismatchError) as caught:
        check_provenance(path, artifact=found, manifest=manifest(model(b"other")))
    assert caught.value.where == "provenance/m.sig"


def test_every_part_of_a_split_model_must_be_signed(tmp_path: Path) -> None:
    vendor = Vendor()
    path, found = bundle(tmp_path, vendor, vendor.sign({"m.gguf": WEIGHTS}))
    split = manifest(model(b"weights", b"more weights"))
    with pytest.raises(DigestMismatchError):
        check_provenance(path, artifact=found, manifest=split)


def test_a_certificate_must_have_been_valid_when_the_bundle_was_made(
    tmp_path: Path,
) -> None:
    vendor = Vendor()
    late = vendor.sign({"m.gguf": WEIGHTS}, vendor.leaf(begin=NOW + YEAR / 2))
    path, found = bundle(tmp_path, vendor, late, mode="certificate")
    with pytest.raises(ExpiredError):
        check_provenance(path, artifact=found, manifest=manifest(model(b"weights")))


def test_a_signature_without_its_model_is_refused(tmp_path: Path) -> None:
    vendor = Vendor()
    path, found = bundle(tmp_path, vendor, vendor.sign({"m.gguf": WEIGHTS}))
    with pytest.raises(MalformedError):
        check_provenance(path, artifact=found, manifest=manifest())


def test_a_lost_copy_is_a_fault_of_the_disk(tmp_path: Path) -> None:
    vendor = Vendor()
    path, found = bundle(tmp_path, vendor, vendor.sign({"m.gguf": WEIGHTS}))
    path.unlink()
    with pytest.raises(StorageFaultError):
        check_provenance(path, artifact=found, manifest=manifest(model(b"weights")))


def test_a_vendors_signature_over_what_was_delivered_is_accepted(
    tmp_path: Path,
) -> None:
    vendor = Vendor()
    signature = vendor.sign({"m.gguf": WEIGHTS}, vendor.leaf())
    path, found = bundle(tmp_path, vendor, signature, mode="certificate")
    wanted = manifest(model(b"weights"))
    assert check_provenance(path, artifact=found, manifest=wanted) == "CN=Vendor"
