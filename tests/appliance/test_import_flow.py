"""The import flow: what it makes visible, all at once or not at all."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import AuditUnavailableError, HostNotReadyError
from appliance.import_steps.host import Observer, Step
from appliance.intake.examine import examine_model
from appliance.intake.lock import hold_import_lock
from appliance.registry import catalogue
from bundleformat.digest import sha256_of
from bundleformat.errors import (
    ConflictError,
    FaultError,
    StorageFaultError,
)
from tests.support.importing import Host, import_bundle
from tests.support.publisher import Published, next_version, publish_bundle


def test_import_activates_the_bundle_and_records_one_receipt(
    host: Host, bundle: Published, tiny: Path
) -> None:
    seen: list[Step] = []
    progress: list[tuple[int, int]] = []
    done = import_bundle(
        host.parts(examine=examine_model),
        bundle.folder,
        observer=Observer(
            on_step=seen.append, on_progress=lambda *pair: progress.append(pair)
        ),
    )
    total = sum(each.size_bytes for each in bundle.manifest.artifacts)
    assert seen == list(Step)
    assert progress[-1] == (total, total)
    assert sorted(progress) == progress
    assert not done.already_active
    assert done.facts["tiny"].architecture == "llama"
    assert host.active() == {"main": 1}
    assert list(host.staging.iterdir()) == []
    with host.database.begin() as connection:
        (model,) = catalogue.active_models(connection)
        (policy,) = catalogue.active_policies(connection)
    assert (model.name, model.generation) == ("tiny", done.generation)
    assert host.store.path_of(model.sha256).read_bytes() == tiny.read_bytes()
    assert policy.name == "local"
    (record,) = host.events("bundle.imported")
    fields = json.loads(record)
    assert fields["manifest_sha256"] == sha256_of(done.bundle.manifest_bytes)
    assert fields["generation"] == done.generation
    assert [each["name"] for each in fields["artifacts"]] == ["tiny", "local"]


def test_importing_the_active_version_again_changes_nothing_and_says_so(
    host: Host, bundle: Published
) -> None:
    first = import_bundle(host.parts(), bundle.folder)
    rows, files = host.rows(), host.files()
    again = import_bundle(host.parts(), bundle.folder)
    assert again.already_active
    assert again.generation == first.generation
    assert (host.rows(), host.files()) == (rows, files)


def test_a_newer_version_replaces_the_active_one_and_shares_its_files(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    stored = sorted(host.home.glob("store/sha256/*"))
    newer = next_version(bundle, tmp_path / "newer")
    import_bundle(host.parts(), newer.folder)
    assert host.active() == {"main": 2}
    assert sorted(host.home.glob("store/sha256/*")) == stored
    with host.database.begin() as connection:
        old = catalogue.find_generation(connection, channel="main", version=1)
    assert old is not None
    assert not old.active


def test_a_second_import_at_the_same_time_is_turned_away(
    host: Host, bundle: Published
) -> None:
    rows = host.rows()
    with hold_import_lock(host.staging), pytest.raises(HostNotReadyError):
        import_bundle(host.parts(), bundle.folder)
    assert host.rows() == rows
    import_bundle(host.parts(), bundle.folder)


def test_a_ledger_that_cannot_write_undoes_the_activation(
    host: Host, bundle: Published
) -> None:
    def fail(_connection: object, _drafts: object) -> None:
        raise AuditUnavailableError("the ledger cannot write")

    rows = host.rows()
    with pytest.raises(AuditUnavailableError):
        import_bundle(replace(host.parts(), append_records=fail), bundle.folder)
    assert host.rows() == rows
    import_bundle(host.parts(), bundle.folder)
    assert host.active() == {"main": 1}


def test_trust_that_changes_during_an_import_stops_it(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    other = publish_bundle(tmp_path / "other", policies=[("p", b"// p\n")])

    def interfere(step: Step) -> None:
        if step is Step.ADMIT:
            host.trust(other)

    with pytest.raises(ConflictError):
        import_bundle(host.parts(), bundle.folder, observer=Observer(on_step=interfere))
    assert host.active() == {}


def test_too_little_room_is_a_fault_before_the_first_byte(
    host: Host, bundle: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = os.statvfs(host.staging)
    full = os.statvfs_result((*free[:3], 0, 0, *free[5:10], free.f_fsid))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    rows, files = host.rows(), host.files()
    with pytest.raises(StorageFaultError) as caught:
        import_bundle(host.parts(), bundle.folder)
    assert caught.value.actual == "0"
    assert (host.rows(), host.files()) == (rows, files)
    assert isinstance(caught.value, FaultError)
