import datetime as dt

import pytest
from sqlalchemy import Connection, func, select, update

from appliance.db.tables import SiteCertificateRow
from appliance.identity import site
from bundleformat.errors import (
    EquivocationError,
    ExpiredError,
    MalformedError,
    RefusalError,
    RollbackError,
    SignatureError,
)
from bundleformat.site_certificate import SiteCertificate, issue
from tests.support.compliance import (
    START,
    YEAR,
    certificate,
    compliance_key,
    compliance_signer,
)

KEYS = [compliance_key()]
NOW = START + dt.timedelta(days=30)
LATER = START + dt.timedelta(days=60)


def signed(one: SiteCertificate, *, seed: int = 0) -> bytes:
    return issue(one, compliance_signer(seed))


def install(
    connection: Connection, envelope: bytes, *, now: dt.datetime = NOW
) -> SiteCertificate:
    return site.install(connection, envelope, keys=KEYS, now=now)


def current(
    connection: Connection, *, now: dt.datetime = NOW
) -> SiteCertificate | None:
    return site.current(connection, keys=KEYS, now=now)


def rows(connection: Connection) -> int:
    count = connection.scalar(select(func.count()).select_from(SiteCertificateRow))
    return count or 0


def test_host_without_a_certificate_stands_nowhere(connection: Connection) -> None:
    assert current(connection) is None


def test_installed_certificate_counts(connection: Connection) -> None:
    assert install(connection, signed(certificate())) == certificate()
    assert current(connection) == certificate()


def test_installing_the_same_one_again_changes_nothing(connection: Connection) -> None:
    for _ in range(2):
        install(connection, signed(certificate()))
    assert rows(connection) == 1


def test_newer_certificate_takes_over(connection: Connection) -> None:
    install(connection, signed(certificate()))
    newer = certificate(not_before=NOW, region="eu-fra")
    install(connection, signed(newer))
    assert current(connection) == newer


def test_certificate_installed_early_takes_over_when_it_begins(
    connection: Connection,
) -> None:
    install(connection, signed(certificate()))
    coming = certificate(not_before=LATER, not_after=LATER + YEAR, region="eu-fra")
    install(connection, signed(coming))
    assert current(connection, now=LATER - dt.timedelta(seconds=1)) == certificate()
    assert current(connection, now=LATER) == coming


def test_certificate_that_has_not_begun_is_still_returned(
    connection: Connection,
) -> None:
    coming = certificate(not_before=LATER)
    install(connection, signed(coming))
    assert current(connection) == coming


def test_certificate_that_expired_after_it_was_installed_is_still_returned(
    connection: Connection,
) -> None:
    install(connection, signed(certificate()))
    assert current(connection, now=START + 2 * YEAR) == certificate()


@pytest.mark.parametrize(
    ("envelope", "refusal"),
    [
        (signed(certificate(), seed=1), SignatureError),
        (signed(certificate(not_after=NOW)), ExpiredError),
        (signed(certificate(not_before=START - YEAR)), RollbackError),
        (signed(certificate(region="eu-fra")), EquivocationError),
        (b"{}", MalformedError),
    ],
)
def test_refused_certificate_changes_nothing(
    connection: Connection, envelope: bytes, refusal: type[RefusalError]
) -> None:
    install(connection, signed(certificate()))
    with pytest.raises(refusal) as caught:
        install(connection, envelope)
    assert caught.value.exit_status == 3
    assert rows(connection) == 1
    assert current(connection) == certificate()


def test_certificate_counts_for_nothing_once_its_key_is_not_trusted(
    connection: Connection,
) -> None:
    install(connection, signed(certificate()))
    assert site.current(connection, keys=[compliance_key(1)], now=NOW) is None
    assert site.current(connection, keys=[], now=NOW) is None


def test_certificate_of_an_untrusted_key_does_not_stand_in_the_way(
    connection: Connection,
) -> None:
    install(connection, signed(certificate(not_before=LATER)))
    keys = [compliance_key(1)]
    site.install(connection, signed(certificate(), seed=1), keys=keys, now=NOW)
    assert site.current(connection, keys=keys, now=NOW) == certificate()


def test_edited_row_counts_for_nothing(connection: Connection) -> None:
    install(connection, signed(certificate()))
    edited = signed(certificate()).replace(b"site-certificate", b"site-certificatf")
    connection.execute(update(SiteCertificateRow).values(envelope=edited))
    assert current(connection) is None
