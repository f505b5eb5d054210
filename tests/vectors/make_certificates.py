"""Writes the certificate vectors: ``python -m tests.vectors.make_certificates``.

``reject/certificate`` holds certificates that fuzzing found: each is the one that
signs the model of ``accept/model_signing``, with a byte or two changed, and made the
library raise something else than it says it does. ``expect.toml`` says with which
code each must be refused. Running this again changes nothing.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
SIGNED = FOLDER / "accept" / "model_signing" / "certificate.sig"
SUBJECT = b"Vendor Model Signing"
VERSION = b"\xa0\x03\x02\x01\x02"
UTF8_STRING, BIT_STRING = 0x0C, 0x03


def signer() -> bytes:
    """Return the certificate of whoever signed the accept vector."""
    material = json.loads(SIGNED.read_bytes())["verificationMaterial"]
    first = material["x509CertificateChain"]["certificates"][0]
    return base64.b64decode(first["rawBytes"])


def rejected() -> Iterator[tuple[str, bytes, str]]:
    """Yield name, certificate and the code it must be refused with."""
    good = signer()
    name, version = good.index(SUBJECT), good.index(VERSION) + len(VERSION) - 1
    assert good[name - 2] == UTF8_STRING

    def changed(offset: int, value: int) -> bytes:
        return good[:offset] + bytes([value]) + good[offset + 1 :]

    yield "name-not-utf8", changed(name, 0xFF), "malformed"
    yield "name-of-no-type", changed(name - 2, 0x00), "malformed"
    yield "name-of-bits", changed(name - 2, BIT_STRING), "malformed"
    yield "name-with-escape", changed(name, 0x1B), "signature-invalid"
    yield "version-6", changed(version, 0x05), "malformed"


def write_vectors(root: Path) -> None:
    """Write every vector below ``root``."""
    folder = root / "reject" / "certificate"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Written by tests/vectors/make_certificates.py.\n"]
    for name, data, code in rejected():
        (folder / f"{name}.der").write_bytes(data)
        lines.append(f'\n["{name}.der"]\nexpect = "{code}"\n')
    (folder / "expect.toml").write_text("".join(lines))


if __name__ == "__main__":
    write_vectors(FOLDER)
