"""Where this host stands: the site certificates it was given.

A certificate is stored as it was signed and verified again each time it is
used, so that a key that is no longer trusted, or an edited row, counts for
nothing. Functions take a connection in a transaction and do not commit.
"""

import datetime as dt
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, insert, select

from appliance.clock import rfc3339
from appliance.db.tables import SiteCertificateRow
from bundleformat.errors import (
    EquivocationError,
    ExpiredError,
    RefusalError,
    RollbackError,
)
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.site_certificate import SiteCertificate, parse
from bundleformat.trust import ComplianceKeys


def install(
    connection: Connection,
    envelope: bytes,
    *,
    keys: Sequence[ComplianceKeys],
    now: dt.datetime,
    limits: Limits = DEFAULT_LIMITS,
) -> SiteCertificate:
    """Store a certificate; it counts from its first day of validity on.

    Installing the newest one again changes nothing.

    Raises:
        SignatureError: No compliance key signed it.
        MalformedError: It is not a site certificate.
        LimitExceededError: It is larger than a site certificate can be.
        ExpiredError: Its validity is over.
        RollbackError: Its validity begins before that of the newest one here.
        EquivocationError: It begins with the newest one and says otherwise.
    """
    certificate = parse(envelope, keys=keys, limits=limits)
    if certificate.not_after <= now:
        raise ExpiredError(
            "the site certificate has expired",
            where="not_after",
            actual=rfc3339(certificate.not_after),
            hint="Check this machine's clock; else have a new one issued.",
        )
    newest = next(_newest_first(connection, keys=keys, limits=limits), None)
    if newest is not None:
        if newest[0] == envelope:
            return certificate
        _check_later(certificate, newest[1])
    connection.execute(
        insert(SiteCertificateRow).values(envelope=envelope, installed_ts=rfc3339(now))
    )
    return certificate


def _check_later(certificate: SiteCertificate, newest: SiteCertificate) -> None:
    """Raise unless a certificate begins after the newest one installed."""
    if certificate.not_before < newest.not_before:
        raise RollbackError(
            "older than the site certificate already installed",
            where="not_before",
            expected=f"later than {rfc3339(newest.not_before)}",
            actual=rfc3339(certificate.not_before),
            hint="The newer one counts: sallyport site show",
        )
    if certificate.not_before == newest.not_before:
        raise EquivocationError(
            "another site certificate begins at the same second",
            where="not_before",
            actual=rfc3339(certificate.not_before),
            hint="Have the correction issued again; it then begins later.",
        )


def current(
    connection: Connection,
    *,
    keys: Sequence[ComplianceKeys],
    now: dt.datetime,
    limits: Limits = DEFAULT_LIMITS,
) -> SiteCertificate | None:
    """Return the certificate that counts now, or None if none can be relied upon.

    That is the last installed one whose validity has begun; failing that, the
    last installed. It may have expired: the caller MUST check its dates, which
    the core policies do.
    """
    found = current_signed(connection, keys=keys, now=now, limits=limits)
    return None if found is None else found[1]


def current_signed(
    connection: Connection,
    *,
    keys: Sequence[ComplianceKeys],
    now: dt.datetime,
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[bytes, SiteCertificate] | None:
    """Return what ``current`` does, with the envelope in which it was signed."""
    newest = None
    for found in _newest_first(connection, keys=keys, limits=limits):
        if found[1].not_before <= now:
            return found
        newest = newest or found
    return newest


def _newest_first(
    connection: Connection, *, keys: Sequence[ComplianceKeys], limits: Limits
) -> Iterator[tuple[bytes, SiteCertificate]]:
    """Yield the stored certificates that today's compliance keys stand behind."""
    envelopes = connection.scalars(
        select(SiteCertificateRow.envelope).order_by(SiteCertificateRow.id.desc())
    ).all()
    for envelope in envelopes:
        try:
            yield envelope, parse(envelope, keys=keys, limits=limits)
        except RefusalError:
            continue
