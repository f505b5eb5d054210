"""Checks a chain of X.509 certificates up to one that a person pinned.

There is no revocation list on an isolated host; what counts is who issued what,
for which use, and whether all of it was valid at one given moment.

Source: RFC 5280, section 6.1, without policies and name constraints: a
certificate that has either, marked critical, is refused.
"""

import datetime as dt
import itertools
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from bundleformat.errors import ExpiredError, MalformedError, SignatureError
from bundleformat.moments import format_moment

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)

_KNOWN: Final = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectKeyIdentifier,
    x509.AuthorityKeyIdentifier,
    x509.SubjectAlternativeName,
)
"""Extensions this module looks at, or may safely not look at."""

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises of bytes that are no certificate.

Some of it comes only when a name, an extension or the key is asked for.
"""

MAX_NAME_CHARACTERS: Final = 512
"""Longest name of a certificate that is kept; it is for people and decides nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Certificate:
    """A certificate every part of which could be read; names are printable."""

    parsed: x509.Certificate
    subject: str
    issuer: str
    begin: dt.datetime
    end: dt.datetime
    extensions: x509.Extensions

    def extension(self, kind: type[_Kind]) -> _Kind | None:
        try:
            return self.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None


def check_chain(
    chain: tuple[bytes, ...], *, anchor: bytes, moment: dt.datetime, where: str
) -> tuple[ec.EllipticCurvePublicKey, str]:
    """Return key and subject of the chain's first certificate.

    ``chain`` is DER, the signer's first, with or without ``anchor`` at its end.

    Raises:
        MalformedError: Not certificates, or not such as may sign models.
        SignatureError: They do not lead to ``anchor``.
        ExpiredError: One of them was not valid at ``moment``.
    """
    pinned = _load(anchor, where=where)
    found = [_load(each, where=where) for each in chain if each != anchor]
    if not found:
        raise SignatureError("no certificate of a signer", where=where)
    path = [*found, pinned]
    for certificate in path:
        _check_valid(certificate, moment=moment, where=where)
        _check_extensions(certificate, where=where)
    for depth, (lower, issuer) in enumerate(itertools.pairwise(path)):
        _check_issued(lower, issuer, depth=depth, where=where)
    return _signer_key(found[0], where=where), found[0].subject


def _load(der: bytes, *, where: str) -> _Certificate:
    try:
        loaded = x509.load_der_x509_certificate(der)
        return _Certificate(
            parsed=loaded,
            subject=_printable(loaded.subject.rfc4514_string()),
            issuer=_printable(loaded.issuer.rfc4514_string()),
            begin=loaded.not_valid_before_utc,
            end=loaded.not_valid_after_utc,
            extensions=loaded.extensions,
        )
    except UNREADABLE as error:
        raise MalformedError("not a certificate", where=where) from error


def _printable(name: str) -> str:
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in name[:MAX_NAME_CHARACTERS]
    )


def _check_valid(certificate: _Certificate, *, moment: dt.datetime, where: str) -> None:
    begin, end = certificate.begin, certificate.end
    if not begin <= moment <= end:
        raise ExpiredError(
            f"the certificate of {certificate.subject} was not valid",
            where=where,
            expected=f"{format_moment(begin)} to {format_moment(end)}",
            actual=format_moment(moment.replace(microsecond=0)),
            hint="Nothing proves that the model was signed while the certificate was "
            "valid. Ask the vendor for a newer signature.",
        )


def _check_extensions(certificate: _Certificate, *, where: str) -> None:
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, _KNOWN):
            raise MalformedError(
                "a certificate demands what is not checked here",
                where=where,
                actual=extension.oid.dotted_string,
            )


def _check_issued(
    lower: _Certificate, issuer: _Certificate, *, depth: int, where: str
) -> None:
    try:
        lower.parsed.verify_directly_issued_by(issuer.parsed)
    except (InvalidSignature, *UNREADABLE) as error:
        raise SignatureError(
            "the certificates do not lead to the pinned one",
            where=where,
            actual=lower.issuer,
            hint="Pin the vendor's CA certificate as they publish it.",
        ) from error
    constraints = issuer.extension(x509.BasicConstraints)
    usage = issuer.extension(x509.KeyUsage)
    if constraints is None or not constraints.ca:
        raise SignatureError("issued by a certificate that is no CA", where=where)
    if constraints.path_length is not None and constraints.path_length < depth:
        raise SignatureError("the chain is longer than its CA allows", where=where)
    if usage is not None and not usage.key_cert_sign:
        raise SignatureError("issued by a key that may not issue", where=where)


def _signer_key(certificate: _Certificate, *, where: str) -> ec.EllipticCurvePublicKey:
    usage = certificate.extension(x509.KeyUsage)
    purposes = certificate.extension(x509.ExtendedKeyUsage)
    if usage is not None and not usage.digital_signature:
        raise SignatureError("the signer's key may not sign", where=where)
    if purposes is not None and ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        raise SignatureError("the signer's key may not sign code", where=where)
    try:
        key = certificate.parsed.public_key()
    except UNREADABLE as error:
        raise MalformedError("a certificate without a usable key", where=where) from (
            error
        )
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise MalformedError("the signer's key is no elliptic curve key", where=where)
    return key
