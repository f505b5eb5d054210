"""Certificates that are none, in ways a library only notices late."""

import tomllib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bundleformat.certificates import MAX_NAME_CHARACTERS, check_chain
from bundleformat.errors import RefusalError
from tests.support.publisher import NOW
from tests.support.vendor import Vendor, certificate
from tests.vectors.make_certificates import FOLDER, signer, write_vectors

REJECT = FOLDER / "reject" / "certificate"
EXPECT = tomllib.loads((REJECT / "expect.toml").read_text())
CA = x509.load_pem_x509_certificate(
    (FOLDER / "accept" / "model_signing" / "ca.pem").read_bytes()
).public_bytes(Encoding.DER)


def refused(*chain: bytes, anchor: bytes = CA) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        check_chain(chain, anchor=anchor, moment=NOW, where="m.sig")
    assert caught.value.where == "m.sig"
    assert caught.value.actual.isprintable()
    return caught.value


def test_the_certificate_that_the_vectors_are_made_of_is_accepted() -> None:
    _, subject = check_chain((signer(),), anchor=CA, moment=NOW, where="m.sig")
    assert subject == "CN=Vendor Model Signing"


@pytest.mark.parametrize("name", sorted(EXPECT))
def test_every_reject_vector_is_refused_with_its_code(name: str) -> None:
    data = (REJECT / name).read_bytes()
    assert refused(data).code == EXPECT[name]["expect"]
    # As the pinned one, it is read before anything is compared with it.
    assert refused(signer(), anchor=data).code in {"malformed", "signature-invalid"}


def test_every_reject_vector_is_in_the_index() -> None:
    assert {path.name for path in REJECT.glob("*.der")} == set(EXPECT)


def test_the_script_writes_the_committed_vectors_again(tmp_path: Path) -> None:
    write_vectors(tmp_path)
    folder = tmp_path / "reject" / "certificate"
    new = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert new == {path.name: path.read_bytes() for path in REJECT.iterdir()}


def test_a_name_longer_than_its_limit_is_cut() -> None:
    vendor = Vendor()
    long = certificate(
        "x" * 640,
        vendor.key.public_key(),
        "Vendor CA",
        vendor.ca_key,
        is_ca=False,
    )
    _, subject = check_chain((long,), anchor=vendor.ca(), moment=NOW, where="m.sig")
    assert len(subject) == MAX_NAME_CHARACTERS
