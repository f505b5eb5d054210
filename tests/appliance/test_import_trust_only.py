"""A bundle that delivers nothing but whom to trust."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import AuditUnavailableError
from appliance.import_steps.host import Observer, Step
from appliance.intake import trust_state
from bundleformat.errors import RollbackError, SignatureError
from tests.support.importing import Host, import_bundle, preview_import, refuse
from tests.support.publisher import Published, next_root, republish


@pytest.fixture
def news(bundle: Published, tmp_path: Path) -> Published:
    """Version 2 of the channel: a newer root and no artifact."""
    second = next_root(bundle.root, signers=bundle.keys.root)
    manifest = replace(bundle.manifest, version=2, artifacts=(), purpose="trust")
    return republish(
        bundle, tmp_path / "news", manifest=manifest, roots=(bundle.root, second)
    )


def trust_of(host: Host) -> trust_state.ChannelTrust:
    with host.database.begin() as connection:
        return trust_state.load(connection, "main")


def test_a_trust_only_bundle_of_other_keys_is_refused(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    stranger = next_root(bundle.root, signers=(bundle.keys.bundler,))
    manifest = replace(bundle.manifest, version=3, artifacts=(), purpose="trust")
    forged = republish(
        bundle, tmp_path / "forged", manifest=manifest, roots=(bundle.root, stranger)
    )
    before = trust_of(host)
    refuse(host, forged.folder, SignatureError)
    assert trust_of(host) == before


def test_a_trust_only_bundle_changes_the_trust_and_no_generation(
    host: Host, bundle: Published, news: Published
) -> None:
    import_bundle(host.parts(), bundle.folder)
    rows, files = host.rows(), host.files()
    seen: list[Step] = []
    done = import_bundle(
        host.parts(), news.folder, observer=Observer(on_step=seen.append)
    )
    assert seen == [Step.LOCK, Step.VERIFY, Step.PREFLIGHT, Step.ACTIVATE, Step.DONE]
    assert (done.generation, done.trust_updated) == (None, True)
    assert done.withdrawn == ()
    assert host.active() == {"main": 1}
    assert host.files() == files
    assert host.rows()["generation"] == rows["generation"]
    trust = trust_of(host)
    assert trust.floor is not None
    assert (trust.floor.root_version, trust.floor.bundle_version) == (2, 2)
    (record,) = map(json.loads, host.events("trust.updated"))
    assert (record["root_version"], record["operator_uid"]) == (2, 1000)
    assert host.rows()["record"][:-1] == rows["record"]


def test_a_trust_only_bundle_works_on_a_host_that_has_nothing_yet(
    host: Host, news: Published
) -> None:
    assert preview_import(host.parts(), news.folder).updates_trust
    done = import_bundle(host.parts(), news.folder)
    assert done.trust_updated
    assert host.active() == {}


def test_a_trust_only_bundle_imported_again_changes_nothing(
    host: Host, news: Published
) -> None:
    import_bundle(host.parts(), news.folder)
    rows = host.rows()
    assert not preview_import(host.parts(), news.folder).updates_trust
    assert not import_bundle(host.parts(), news.folder).trust_updated
    assert host.rows() == rows


def test_after_a_trust_only_bundle_an_older_one_is_refused(
    host: Host, bundle: Published, news: Published
) -> None:
    import_bundle(host.parts(), news.folder)
    refuse(host, bundle.folder, RollbackError)


def test_a_ledger_that_cannot_write_leaves_the_trust_as_it_was(
    host: Host, news: Published
) -> None:
    def fail(_connection: object, _drafts: object) -> None:
        raise AuditUnavailableError("the ledger cannot write")

    before, rows = trust_of(host), host.rows()
    with pytest.raises(AuditUnavailableError):
        import_bundle(replace(host.parts(), append_records=fail), news.folder)
    assert trust_of(host) == before
    assert host.rows() == rows
    import_bundle(host.parts(), news.folder)
