"""Importing an active bundle again repairs what the store has lost of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import AuditUnavailableError
from appliance.import_steps.host import Observer, Step
from bundleformat.digest import sha256_of
from bundleformat.errors import (
    DigestMismatchError,
    StorageFaultError,
)
from tests.support.importing import Host, import_bundle, middle_chunk, preview_import
from tests.support.publisher import Published, next_version, publish_bundle
from tests.support.real_host import commission, serving


def test_a_stored_file_that_decayed_is_copied_again(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    model = host.store.path_of(bundle.manifest.artifacts[0].sha256)
    model.chmod(0o600)
    model.write_bytes(b"decayed")
    import_bundle(host.parts(), next_version(bundle, tmp_path / "newer").folder)
    assert host.active() == {"main": 2}


def stored(host: Host, bundle: Published, index: int = 0) -> Path:
    """Return where the store keeps the model, or another artifact."""
    return host.store.path_of(bundle.manifest.artifacts[index].sha256)


def decay(path: Path) -> None:
    """Flip one bit of a stored file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def replace_by_a_link_in_a_circle(path: Path) -> None:
    """Have reading answer an error, as a broken sector does."""
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize("damage", [decay, Path.unlink, replace_by_a_link_in_a_circle])
@pytest.mark.parametrize("index", [0, 1])
def test_a_damaged_file_of_the_active_bundle_is_repaired_and_recorded(
    host: Host, bundle: Published, index: int, damage: Callable[[Path], None]
) -> None:
    first = import_bundle(host.parts(), bundle.folder)
    damage(stored(host, bundle, index))
    rows = host.rows()
    seen: list[Step] = []
    again = import_bundle(
        host.parts(), bundle.folder, observer=Observer(on_step=seen.append)
    )
    lost = bundle.manifest.artifacts[index]
    assert (again.already_active, again.repaired) == (True, (lost.name,))
    assert again.generation == first.generation
    new_only = {
        Step.CHECK_POLICIES,
        Step.INSTALL_ENVIRONMENTS,
        Step.TRIAL_LOAD,
        Step.ACTIVATE,
    }
    assert seen == [step for step in Step if step not in new_only]
    # ``active`` reads every stored byte again.
    assert host.active() == {"main": 1}
    assert list(host.staging.iterdir()) == []
    for table in ("trust_file", "trust_floor", "generation"):
        assert host.rows()[table] == rows[table]
    (record,) = map(json.loads, host.events("bundle.repaired"))
    assert record["artifacts"] == [
        {
            "kind": lost.kind,
            "name": lost.name,
            "sha256": lost.sha256,
            "size_bytes": lost.size_bytes,
        }
    ]
    assert record["generation"] == first.generation
    assert record["operator_uid"] == 1000
    assert len(host.events("bundle.imported")) == 1


def test_a_repaired_bundle_has_nothing_left_to_repair(
    host: Host, bundle: Published
) -> None:
    import_bundle(host.parts(), bundle.folder)
    decay(stored(host, bundle))
    import_bundle(host.parts(), bundle.folder)
    rows, files = host.rows(), host.files()
    assert import_bundle(host.parts(), bundle.folder).repaired == ()
    assert (host.rows(), host.files()) == (rows, files)


def test_a_damaged_medium_repairs_nothing(host: Host, bundle: Published) -> None:
    import_bundle(host.parts(), bundle.folder)
    path = stored(host, bundle)
    decay(path)
    decayed = path.read_bytes()
    middle_chunk(bundle).write_bytes(b"x")
    with pytest.raises(DigestMismatchError):
        import_bundle(host.parts(), bundle.folder)
    assert path.read_bytes() == decayed
    assert list(host.staging.iterdir()) == []
    assert host.events("bundle.repaired") == []
    assert len(host.events("bundle.refused")) == 1


def test_two_channels_that_lost_a_policy_each_can_both_be_repaired(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    other = publish_bundle(
        tmp_path / "other", policies=[("second", b"// another\n")], channel="extra"
    )
    host.trust(other)
    import_bundle(host.parts(), bundle.folder, channel="main")
    import_bundle(host.parts(), other.folder, channel="extra")
    stored(host, bundle, 1).unlink()
    stored(host, other).unlink()
    for published, channel in ((bundle, "main"), (other, "extra")):
        done = import_bundle(host.parts(), published.folder, channel=channel)
        assert len(done.repaired) == 1
    assert host.active() == {"extra": 1, "main": 1}


def test_a_ledger_that_cannot_write_leaves_the_store_as_it_was(
    host: Host, bundle: Published
) -> None:
    def fail(_connection: object, _drafts: object) -> None:
        raise AuditUnavailableError("the ledger cannot write")

    import_bundle(host.parts(), bundle.folder)
    path = stored(host, bundle)
    path.unlink()
    with pytest.raises(AuditUnavailableError):
        import_bundle(replace(host.parts(), append_records=fail), bundle.folder)
    assert not path.exists()
    assert import_bundle(host.parts(), bundle.folder).repaired == ("tiny",)


def test_a_disk_that_refuses_the_repair_leaves_no_record_of_it(
    host: Host, bundle: Published
) -> None:
    import_bundle(host.parts(), bundle.folder)
    path = stored(host, bundle)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageFaultError):
        import_bundle(host.parts(), bundle.folder)
    assert host.events("bundle.repaired") == []
    path.rmdir()
    assert import_bundle(host.parts(), bundle.folder).repaired == ("tiny",)


def test_what_an_interrupted_repair_brought_back_is_on_record_afterwards(
    host: Host, bundle: Published
) -> None:
    import_bundle(host.parts(), bundle.folder)
    # What is left where power fails between the last file and the record's commit.
    (host.staging / f"{stored(host, bundle).name}.journal").write_text("0\n")
    done = import_bundle(host.parts(), bundle.folder)
    assert (done.already_active, done.repaired) == (True, ("tiny",))
    assert len(host.events("bundle.repaired")) == 1
    assert list(host.staging.iterdir()) == []
    assert import_bundle(host.parts(), bundle.folder).repaired == ()


def test_a_preview_of_an_active_bundle_says_what_is_damaged_and_repairs_nothing(
    host: Host, bundle: Published
) -> None:
    done = import_bundle(host.parts(), bundle.folder)
    assert preview_import(host.parts(), bundle.folder).damaged == ()
    stored(host, bundle).unlink()
    rows, files = host.rows(), host.files()
    plan = preview_import(host.parts(), bundle.folder)
    assert (plan.active_generation, plan.damaged) == (done.generation, ("tiny",))
    assert plan.copy_bytes == bundle.manifest.artifacts[0].size_bytes
    assert (host.rows(), host.files()) == (rows, files)


@pytest.mark.system
@pytest.mark.parametrize("damage", [decay, Path.unlink])
def test_the_hint_of_a_server_that_finds_damage_leads_to_its_repair(
    tmp_path: Path, demo_model: Path, damage: Callable[[Path], None]
) -> None:
    real = commission(tmp_path, models=[("demo", demo_model)])
    (artifact,) = real.bundle.manifest.artifacts
    place = real.home / "store" / "sha256" / artifact.sha256
    damage(place)
    refused = real.run("serve", "--port", "0")
    assert refused.returncode == 3
    assert "sallyport: refused: digest-mismatch: " in refused.stderr
    assert "hint: Run: sallyport store repair --generation 1 MEDIUM" in refused.stderr
    medium = str(real.bundle.folder)
    planned = real.run("bundle", "import", medium, "--dry-run", "--json")
    assert json.loads(planned.stdout)["damaged"] == ["demo"]
    done = real.run("store", "repair", "--generation", "1", medium, "--json")
    assert done.returncode == 0, done.stderr
    assert [each["name"] for each in json.loads(done.stdout)["repaired"]] == ["demo"]
    assert sha256_of(place.read_bytes()) == artifact.sha256
    assert place.stat().st_mode & 0o777 == 0o444
    assert [r["artifacts"][0]["name"] for r in real.records("store.repaired")] == [
        "demo"
    ]
    with serving(real):
        assert real.url
