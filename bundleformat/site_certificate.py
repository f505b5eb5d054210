"""The site certificate: a compliance key says where a host stands, and what it keeps.

A statement as ``statement`` has it. Dates are not compared with any clock here: the
appliance does that when it installs a certificate, and again on every request.
"""

import dataclasses
import datetime as dt
import re
from collections.abc import Sequence
from typing import Any, Final

from securesystemslib.signer import Signer

from bundleformat.limits import Limits
from bundleformat.moments import format_moment, parse_moment
from bundleformat.retention import MAX_DAYS, Retention
from bundleformat.statement import Statement
from bundleformat.trust import ComplianceKeys

PAYLOAD_TYPE = "application/vnd.sallyport.site-certificate+json"
"""What the signature says the payload is. A signature for another type is void."""

FORMAT = 1
"""The version of the payload's format."""

MAX_JURISDICTIONS = 32
"""Most jurisdictions of a site."""

TOKEN = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""A site's name, and a region."""

MAX_PRESETS = 16
"""Most retention presets of a site."""

JURISDICTION = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
"""Whose law applies. Source: ISO 3166-1 alpha-2 and 3166-2."""

_STATEMENT: Final = Statement(
    name="site certificate",
    payload_type=PAYLOAD_TYPE,
    hint="Ask for one that a compliance key of this channel's root signed; if that key "
    "is new, import the bundle that carries its root first.",
)
_FIELDS = {"format", "jurisdictions", "not_after", "not_before", "region", "site"}
_RETENTION_FIELDS = {"bodies_days", "presets", "records_days"}


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
        retention: How long records and texts are kept there; None: for ever. The
            field is left out of such a certificate.
    """

    site: str
    region: str
    jurisdictions: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime
    retention: Retention | None = None


def issue(certificate: SiteCertificate, *signers: Signer) -> bytes:
    """Return the certificate as a signed envelope, its jurisdictions put in order.

    ``signers`` are all keys of one holder: two in a hybrid channel.

    Raises:
        KeyFileError, UsageError: A token does not sign.
        MalformedError: A field is not one that ``parse`` would accept.
    """
    codes = sorted(set(certificate.jurisdictions))
    payload: dict[str, Any] = {
        "format": FORMAT,
        "jurisdictions": codes,
        "not_after": format_moment(certificate.not_after),
        "not_before": format_moment(certificate.not_before),
        "region": certificate.region,
        "site": certificate.site,
    }
    kept = certificate.retention
    if kept is not None:
        payload["retention"] = {
            "bodies_days": kept.bodies_days,
            "presets": list(kept.presets),
            "records_days": kept.records_days,
        }
    _check(dataclasses.replace(certificate, jurisdictions=tuple(codes)))
    return _STATEMENT.sign(payload, signers)


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
    payload, _ = _STATEMENT.open(envelope, keys=keys, limits=limits)
    certificate = _read_payload(payload)
    _check(certificate)
    return certificate


def _read_payload(value: Any) -> SiteCertificate:  # noqa: ANN401 - JSON
    named = isinstance(value, dict) and "retention" in value
    names = _FIELDS | ({"retention"} if named else set())
    fields = _STATEMENT.fields(value, names, "payload")
    _STATEMENT.check_format(fields["format"], "payload.format", expected=FORMAT)
    listed = fields["jurisdictions"]
    if not isinstance(listed, list):
        raise _STATEMENT.malformed("payload.jurisdictions", "a list")
    return SiteCertificate(
        site=_STATEMENT.text(fields["site"], "payload.site"),
        region=_STATEMENT.text(fields["region"], "payload.region"),
        jurisdictions=tuple(
            _STATEMENT.text(one, "payload.jurisdictions") for one in listed
        ),
        not_before=_moment(fields, "not_before"),
        not_after=_moment(fields, "not_after"),
        retention=_read_retention(fields["retention"]) if named else None,
    )


def _read_retention(value: Any) -> Retention:  # noqa: ANN401 - JSON
    place = "payload.retention"
    fields = _STATEMENT.fields(value, _RETENTION_FIELDS, place)
    listed = fields["presets"]
    if not isinstance(listed, list):
        raise _STATEMENT.malformed(f"{place}.presets", "a list")
    for name in ("bodies_days", "records_days"):
        if type(fields[name]) is not int:
            raise _STATEMENT.malformed(f"{place}.{name}", "a number")
    return Retention(
        presets=tuple(_STATEMENT.text(one, f"{place}.presets") for one in listed),
        records_days=fields["records_days"],
        bodies_days=fields["bodies_days"],
    )


def _check(certificate: SiteCertificate) -> None:
    for name, token in (("site", certificate.site), ("region", certificate.region)):
        if not TOKEN.fullmatch(token):
            raise _STATEMENT.malformed(
                f"payload.{name}", "1 to 32 of a-z, 0-9 and -, not starting with -"
            )
    codes = certificate.jurisdictions
    if not 1 <= len(codes) <= MAX_JURISDICTIONS or list(codes) != sorted(set(codes)):
        raise _STATEMENT.malformed(
            "payload.jurisdictions",
            f"1 to {MAX_JURISDICTIONS} codes, sorted, each once",
        )
    if not all(JURISDICTION.fullmatch(code) for code in codes):
        raise _STATEMENT.malformed(
            "payload.jurisdictions", "ISO 3166 codes such as IN or US-CA"
        )
    if not certificate.not_before < certificate.not_after:
        raise _STATEMENT.malformed("payload.not_after", "a time after not_before")
    if certificate.retention is not None:
        _check_retention(certificate.retention)


def _check_retention(retention: Retention) -> None:
    """Check the form alone: a newer preset is for the host to say that it lacks."""
    names = list(retention.presets)
    if not 1 <= len(names) <= MAX_PRESETS or names != sorted(set(names)):
        raise _STATEMENT.malformed(
            "payload.retention.presets", f"1 to {MAX_PRESETS} names, sorted, each once"
        )
    if not all(TOKEN.fullmatch(name) for name in names):
        raise _STATEMENT.malformed("payload.retention.presets", "names of presets")
    for name in ("bodies_days", "records_days"):
        if not 0 <= getattr(retention, name) <= MAX_DAYS:
            raise _STATEMENT.malformed(
                f"payload.retention.{name}", f"days from 0 to {MAX_DAYS}"
            )


def _moment(fields: dict[str, Any], name: str) -> dt.datetime:
    text = _STATEMENT.text(fields[name], f"payload.{name}")
    return parse_moment(text, where=f"{_STATEMENT.name}: payload.{name}")
