"""The site certificate: a compliance key says where a host stands.

A DSSE envelope in canonical JSON around a payload in canonical JSON. The
envelope's signature is verified over the received bytes before the payload is
parsed. Dates are not compared with any clock here: the appliance does that when
it installs a certificate, and again on every request.

Source: DSSE v1.0.0, "Protocol" and "Envelope"; RFC 8785.
"""

import base64
import binascii
import dataclasses
import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key, Signature, Signer

from bundleformat import strictjson
from bundleformat.errors import MalformedError, SignatureError
from bundleformat.limits import Limits
from bundleformat.moments import format_moment, parse_moment
from bundleformat.profile import FAMILIES, family_of
from bundleformat.trust import ComplianceKeys

PAYLOAD_TYPE = "application/vnd.sallyport.site-certificate+json"
"""What the signature says the payload is. A signature for another type is void."""

FORMAT = 1
"""The version of the payload's format."""

MAX_SIGNATURES = 8
"""Most signatures of an envelope; one by a trusted key is enough."""

MAX_JURISDICTIONS = 32
"""Most jurisdictions of a site."""

TOKEN = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""A site's name, and a region."""

JURISDICTION = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
"""Whose law applies. Source: ISO 3166-1 alpha-2 and 3166-2."""

_WHERE = "site certificate"
_ASK = (
    "Ask for one that a compliance key of this channel's root signed; if that key is "
    "new, import the bundle that carries its root first."
)
_KEYID = re.compile(r"[0-9a-f]{1,128}")
_FIELDS = {"format", "jurisdictions", "not_after", "not_before", "region", "site"}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SiteCertificate:
    """Where a host stands, and from when to when that may be relied upon.

    Attributes:
        site: The site's name, a token.
        region: The region it is in, a token such as ``in-blr``.
        jurisdictions: Whose law applies: ISO 3166 codes such as ``IN`` or
            ``US-CA``, sorted, each once.
        not_before: First second of validity, UTC.
        not_after: First second after validity, UTC.
    """

    site: str
    region: str
    jurisdictions: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime


def issue(certificate: SiteCertificate, *signers: Signer) -> bytes:
    """Return the certificate as a signed envelope, its jurisdictions put in order.

    ``signers`` are all keys of one holder: two in a hybrid channel.

    Raises:
        KeyFileError, UsageError: A token does not sign.
        MalformedError: A field is not one that ``parse`` would accept.
    """
    codes = sorted(set(certificate.jurisdictions))
    payload = strictjson.encode(
        {
            "format": FORMAT,
            "jurisdictions": codes,
            "not_after": format_moment(certificate.not_after),
            "not_before": format_moment(certificate.not_before),
            "region": certificate.region,
            "site": certificate.site,
        }
    )
    _check(dataclasses.replace(certificate, jurisdictions=tuple(codes)))
    envelope = Envelope(payload=payload, payload_type=PAYLOAD_TYPE, signatures={})
    for signer in signers:
        envelope.sign(signer)
    return strictjson.encode(envelope.to_dict())


def parse(
    envelope: bytes, *, keys: Sequence[ComplianceKeys], limits: Limits
) -> SiteCertificate:
    """Return the certificate in an envelope signed as one channel of ``keys`` asks.

    That is by one key, or in a hybrid channel by one of each kind.

    Whether it is in force is not checked; the caller MUST compare its dates.

    Raises:
        LimitExceededError: Larger than a certificate can be.
        MalformedError: The envelope or, once verified, its payload is not one.
        SignatureError: No channel's keys signed these bytes as this type.
    """
    signed = _read_envelope(envelope, limits)
    _check_signature(signed, keys)
    certificate = _read_payload(
        strictjson.decode_canonical(
            signed.payload,
            max_bytes=limits.site_certificate_bytes,
            max_depth=limits.json_depth,
            where=f"{_WHERE}: payload",
        )
    )
    _check(certificate)
    return certificate


def _read_envelope(data: bytes, limits: Limits) -> Envelope:
    value = strictjson.decode_canonical(
        data,
        max_bytes=limits.site_certificate_bytes,
        max_depth=limits.json_depth,
        where=_WHERE,
    )
    fields = _object(value, {"payload", "payloadType", "signatures"}, _WHERE)
    if fields["payloadType"] != PAYLOAD_TYPE:
        raise MalformedError(
            "not a site certificate",
            where=f"{_WHERE}: payloadType",
            expected=PAYLOAD_TYPE,
        )
    return Envelope(
        payload=_read_base64(fields["payload"], "payload"),
        payload_type=PAYLOAD_TYPE,
        signatures=_read_signatures(fields["signatures"]),
    )


def _read_signatures(value: object) -> dict[str, Signature]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SIGNATURES:
        raise _malformed("signatures", f"a list of 1 to {MAX_SIGNATURES}")
    signatures: dict[str, Signature] = {}
    for number, entry in enumerate(value):
        place = f"signatures[{number}]"
        one = _object(entry, {"keyid", "sig"}, f"{_WHERE}: {place}")
        keyid = _string(one["keyid"], f"{place}.keyid")
        if not _KEYID.fullmatch(keyid):
            raise _malformed(f"{place}.keyid", "hexadecimal digits")
        if keyid in signatures:
            raise _malformed(f"{place}.keyid", "a key that has not signed above")
        sig = _read_base64(one["sig"], f"{place}.sig")
        signatures[keyid] = Signature(keyid, sig.hex())
    return signatures


def _check_signature(envelope: Envelope, keys: Sequence[ComplianceKeys]) -> None:
    problem = "not signed by a compliance key this host trusts"
    if not any(channel.keys for channel in keys):
        raise SignatureError(
            problem, where=_WHERE, actual="no compliance key", hint=_ASK
        )
    if not any(_is_signed(envelope, channel) for channel in keys):
        both = all(channel.profile == "hybrid" for channel in keys)
        raise SignatureError(
            problem,
            where=_WHERE,
            expected="one classical and one ML-DSA-87 signature" if both else "",
            hint=_ASK,
        )


def _is_signed(envelope: Envelope, channel: ComplianceKeys) -> bool:
    if channel.profile != "hybrid":
        return _one_signed(envelope, channel.keys)
    # Each kind by itself: together, two signatures of one kind would do.
    return all(
        _one_signed(
            envelope,
            [key for key in channel.keys if family_of(key, where=_WHERE) == family],
        )
        for family in FAMILIES
    )


def _one_signed(envelope: Envelope, keys: Sequence[Key]) -> bool:
    if not keys:
        return False
    try:
        envelope.verify(list(keys), 1)
    except VerificationError:
        return False
    return True


def _read_payload(value: Any) -> SiteCertificate:  # noqa: ANN401 - JSON
    fields = _object(value, _FIELDS, f"{_WHERE}: payload")
    if fields["format"] != FORMAT or isinstance(fields["format"], bool):
        raise _malformed("payload.format", str(FORMAT))
    listed = fields["jurisdictions"]
    if not isinstance(listed, list):
        raise _malformed("payload.jurisdictions", "a list")
    return SiteCertificate(
        site=_string(fields["site"], "payload.site"),
        region=_string(fields["region"], "payload.region"),
        jurisdictions=tuple(_string(one, "payload.jurisdictions") for one in listed),
        not_before=_moment(fields, "not_before"),
        not_after=_moment(fields, "not_after"),
    )


def _check(certificate: SiteCertificate) -> None:
    for name, token in (("site", certificate.site), ("region", certificate.region)):
        if not TOKEN.fullmatch(token):
            raise _malformed(
                f"payload.{name}", "1 to 32 of a-z, 0-9 and -, not starting with -"
            )
    codes = certificate.jurisdictions
    if not 1 <= len(codes) <= MAX_JURISDICTIONS or list(codes) != sorted(set(codes)):
        raise _malformed(
            "payload.jurisdictions",
            f"1 to {MAX_JURISDICTIONS} codes, sorted, each once",
        )
    if not all(JURISDICTION.fullmatch(code) for code in codes):
        raise _malformed("payload.jurisdictions", "ISO 3166 codes such as IN or US-CA")
    if not certificate.not_before < certificate.not_after:
        raise _malformed("payload.not_after", "a time after not_before")


def _object(value: Any, names: set[str], where: str) -> dict[str, Any]:  # noqa: ANN401 - JSON
    if not isinstance(value, dict) or set(value) != names:
        raise MalformedError(
            "not the fields of this format",
            where=where,
            expected=", ".join(sorted(names)),
        )
    return value


def _string(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise _malformed(place, "text")
    return value


def _read_base64(value: object, place: str) -> bytes:
    """Decode base64 that is written the one way it can be."""
    try:
        text = _string(value, place).encode("ascii")
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise _malformed(place, "base64") from error
    if base64.b64encode(data) != text:
        raise _malformed(place, "base64 in its canonical form")
    return data


def _moment(fields: dict[str, Any], name: str) -> dt.datetime:
    text = _string(fields[name], f"payload.{name}")
    return parse_moment(text, where=f"{_WHERE}: payload.{name}")


def _malformed(place: str, expected: str) -> MalformedError:
    return MalformedError(
        "not a site certificate", where=f"{_WHERE}: {place}", expected=expected
    )
