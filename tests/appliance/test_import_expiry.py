"""Expired bundles: refused, within the grace of the settings, or for a reason."""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Connection

from appliance.errors import AuditUnavailableError
from appliance.import_steps.host import ImportHost
from appliance.ledger.records.events import Draft
from appliance.settings import ImportSettings
from bundleformat.errors import DigestMismatchError, ExpiredError
from tests.support.importing import (
    Host,
    import_bundle,
    middle_chunk,
    preview_import,
    refuse,
)
from tests.support.publisher import BUNDLE_EXPIRES, Published

REASON = "ordered by A. Rao, ticket 42"


def late(host: Host, *, days: int) -> None:
    """Set the clock to so many days after the bundle's expiry."""
    host.clock.moment = BUNDLE_EXPIRES + dt.timedelta(days=days)


def graceful(host: Host, *, days: int) -> ImportHost:
    """Return the host with days of grace in its settings."""
    settings = ImportSettings(expiry="grace", grace_days=days)
    return replace(host.parts(), settings=settings)


def test_an_expired_bundle_is_refused(host: Host, bundle: Published) -> None:
    late(host, days=1)
    refuse(host, bundle.folder, ExpiredError)
    assert host.events("bundle.expiry_accepted") == []


def test_a_bundle_beyond_its_grace_is_refused(host: Host, bundle: Published) -> None:
    late(host, days=14)
    refuse(host, bundle.folder, ExpiredError, graceful(host, days=14))


def test_grace_in_the_settings_takes_an_expired_bundle_and_says_so_on_record(
    host: Host, bundle: Published
) -> None:
    late(host, days=13)
    parts = graceful(host, days=14)
    assert preview_import(parts, bundle.folder).bundle.expired
    done = import_bundle(parts, bundle.folder)
    assert done.bundle.expired
    assert host.active() == {"main": 1}
    (record,) = map(json.loads, host.events("bundle.expiry_accepted"))
    assert record["grace_days"] == 14
    assert "reason" not in record
    assert record["version"] == 1


def test_grace_says_nothing_of_a_bundle_that_has_not_expired(
    host: Host, bundle: Published
) -> None:
    done = import_bundle(graceful(host, days=14), bundle.folder)
    assert not done.bundle.expired
    assert host.events("bundle.expiry_accepted") == []


def test_a_person_takes_an_expired_bundle_once_for_a_reason_that_is_on_record(
    host: Host, bundle: Published
) -> None:
    late(host, days=900)
    import_bundle(host.parts(), bundle.folder, accept_expired=REASON)
    assert host.active() == {"main": 1}
    (record,) = map(json.loads, host.events("bundle.expiry_accepted"))
    assert (record["reason"], record["operator_uid"]) == (REASON, 1000)
    assert record["expired"] == f"{BUNDLE_EXPIRES:%Y-%m-%dT%H:%M:%SZ}"
    assert "grace_days" not in record
    seqs = [int(json.loads(each)["seq"]) for each in host.events("bundle.imported")]
    assert seqs == [int(record["seq"]) + 1]


def test_an_expired_bundle_that_is_accepted_is_checked_as_any_other(
    host: Host, bundle: Published
) -> None:
    late(host, days=900)
    middle_chunk(bundle).write_bytes(b"x")
    with pytest.raises(DigestMismatchError):
        import_bundle(host.parts(), bundle.folder, accept_expired=REASON)
    assert host.active() == {}
    assert host.events("bundle.expiry_accepted") == []


def test_a_ledger_that_cannot_record_the_acceptance_undoes_the_activation(
    host: Host, bundle: Published
) -> None:
    def append(connection: Connection, drafts: Sequence[Draft]) -> object:
        if len(drafts) > 1:
            raise AuditUnavailableError("the ledger cannot write")
        return host.append(connection, drafts)

    late(host, days=900)
    parts = replace(host.parts(), append_records=append)
    with pytest.raises(AuditUnavailableError):
        import_bundle(parts, bundle.folder, accept_expired=REASON)
    assert host.active() == {}
    assert host.events("bundle.imported") == []


def lose_the_model(host: Host, bundle: Published) -> None:
    host.store.path_of(bundle.manifest.artifacts[0].sha256).unlink()


def test_an_expired_bundle_repairs_nothing_unless_its_expiry_is_accepted(
    host: Host, bundle: Published
) -> None:
    import_bundle(host.parts(), bundle.folder)
    lose_the_model(host, bundle)
    late(host, days=900)
    with pytest.raises(ExpiredError):
        import_bundle(host.parts(), bundle.folder)
    assert host.events("bundle.repaired") == []
    assert host.events("bundle.expiry_accepted") == []


def test_a_repair_with_an_expired_bundle_says_on_record_why_it_was_accepted(
    host: Host, bundle: Published
) -> None:
    import_bundle(host.parts(), bundle.folder)
    lose_the_model(host, bundle)
    late(host, days=900)
    done = import_bundle(host.parts(), bundle.folder, accept_expired=REASON)
    assert done.repaired == ("tiny",)
    (accepted,) = map(json.loads, host.events("bundle.expiry_accepted"))
    (repaired,) = map(json.loads, host.events("bundle.repaired"))
    assert (accepted["reason"], accepted["version"]) == (REASON, 1)
    assert int(repaired["seq"]) == int(accepted["seq"]) + 1


def test_an_expired_bundle_that_changes_nothing_leaves_no_record(
    host: Host, bundle: Published
) -> None:
    import_bundle(host.parts(), bundle.folder)
    late(host, days=900)
    rows = host.rows()
    done = import_bundle(host.parts(), bundle.folder, accept_expired=REASON)
    assert done.already_active
    assert host.rows() == rows
