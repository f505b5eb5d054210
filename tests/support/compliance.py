"""Compliance keys and site certificates for tests; deterministic."""

import datetime as dt

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from bundleformat.site_certificate import SiteCertificate
from bundleformat.trust import ComplianceKeys

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
YEAR = dt.timedelta(days=365)


def compliance_signer(seed: int = 0) -> CryptoSigner:
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def compliance_key(seed: int = 0) -> ComplianceKeys:
    """The compliance key of a channel of its own."""
    key = compliance_signer(seed).public_key
    return ComplianceKeys(profile="standard", keys=(key,))


def certificate(
    *,
    not_before: dt.datetime = START,
    not_after: dt.datetime = START + YEAR,
    region: str = "in-blr",
) -> SiteCertificate:
    return SiteCertificate(
        site="blr-dc1",
        region=region,
        jurisdictions=("IN",),
        not_before=not_before,
        not_after=not_after,
    )
