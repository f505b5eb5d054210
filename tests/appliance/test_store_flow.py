"""The store is checked byte by byte, and loses only what nobody can need."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import generation_flow, model_flow, store_flow
from appliance.errors import HostNotReadyError
from appliance.intake.lock import hold_import_lock
from appliance.registry.catalogue import Reason
from appliance.registry.fsck import Problem
from appliance.store_flow import repair_hint
from bundleformat.digest import sha256_of
from bundleformat.errors import StorageFaultError
from tests.support.generations import Kept, kept_host

ONE = {"model/a": b"model one", "policy/p": b"// shared\n"}
TWO = {"model/a": b"model two", "policy/p": b"// shared\n"}
THREE = {"model/a": b"model three", "policy/p": b"// shared\n"}
MODEL = TWO["model/a"]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = kept_host(tmp_path / "home")
    kept.deliver(1, ONE)
    kept.deliver(2, TWO)
    yield kept
    kept.host.close()


def problems(kept: Kept) -> list[tuple[str, str]]:
    report = store_flow.fsck(kept.parts)
    assert all(repair_hint(each) for each in report.findings)
    return [(str(each.problem), each.path.name) for each in report.findings]


def damage(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"model tvo")
    path.chmod(0o444)


def replace_by_link(path: Path) -> None:
    path.rename(path.parent.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent.parent / "elsewhere")


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (damage, Problem.DAMAGED),
        (Path.unlink, Problem.MISSING),
        (replace_by_link, Problem.NOT_A_FILE),
        (replace_by_pipe, Problem.NOT_A_FILE),
        (lambda path: path.chmod(0o644), Problem.MODE),
    ],
)
def test_fsck_names_what_happened_to_a_file_and_who_needs_it(
    kept: Kept, harm: Callable[[Path], None], problem: Problem
) -> None:
    path = kept.path(MODEL)
    harm(path)
    before, rows = path.lstat() if os.path.lexists(path) else None, kept.host.rows()
    report = store_flow.fsck(kept.parts)
    assert report.damaged
    (finding,) = report.findings
    assert (finding.problem, finding.path) == (problem, path)
    if problem is not Problem.MODE:
        assert finding.needed is not None
        assert finding.needed.names == ("model a",)
        assert finding.needed.generations == (2,)
    assert (path.lstat() if os.path.lexists(path) else None) == before
    assert kept.host.rows() == rows


def test_fsck_names_what_is_not_ours(kept: Kept) -> None:
    (kept.host.store.folder / "notes.txt").write_bytes(b"mine")
    (kept.host.store.folder.parent / "other").mkdir()
    assert sorted(problems(kept)) == [("misnamed", "notes.txt"), ("misnamed", "other")]
    assert store_flow.fsck(kept.parts).damaged


def test_fsck_does_not_follow_a_folder_that_others_may_write(kept: Kept) -> None:
    kept.host.store.folder.chmod(0o777)
    assert problems(kept) == [("mode", "sha256")]


def test_what_is_only_left_over_is_no_damage(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "spare").write_bytes(b"spare")
    kept.host.store.admit(tmp_path / "spare", sha256_of(b"spare"))
    (kept.host.staging / "half.part").write_bytes(b"half")
    report = store_flow.fsck(kept.parts)
    assert not report.damaged
    assert [each.problem for each in report.findings] == ["unneeded", "leftover"]
    assert report.files == 4


def test_fsck_counts_every_byte(kept: Kept) -> None:
    told: list[tuple[int, int]] = []
    report = store_flow.fsck(kept.parts, progress=lambda *each: told.append(each))
    assert told[-1] == (report.size_bytes, report.size_bytes)
    assert report.findings == ()


def test_neither_runs_while_an_import_does(kept: Kept) -> None:
    before = kept.stored()
    with hold_import_lock(kept.host.staging):
        with pytest.raises(HostNotReadyError):
            store_flow.fsck(kept.parts)
        with pytest.raises(HostNotReadyError):
            store_flow.collect(kept.parts, environments=kept.environments, keep=0)
    assert kept.stored() == before


def test_a_collection_keeps_the_active_one_and_the_one_before(kept: Kept) -> None:
    kept.deliver(3, THREE)
    surplus = store_flow.collect(kept.parts, environments=kept.environments)
    assert [file.sha256 for file in surplus.files] == [sha256_of(ONE["model/a"])]
    assert surplus.generations == (1,)
    assert not kept.path(ONE["model/a"]).exists()
    assert kept.path(ONE["policy/p"]).exists()
    assert kept.host.active() == {"main": 3}
    said = json.loads(kept.host.events("store.collected")[-1])
    assert (said["files"], said["size_bytes"]) == (1, len(ONE["model/a"]))
    assert (said["generations"], said["keep"]) == ([1], 1)
    assert said["operator_uid"] == os.getuid()
    assert problems(kept) == []


def test_a_collection_follows_what_was_active_and_not_the_versions(kept: Kept) -> None:
    kept.deliver(3, THREE)
    generation_flow.activate(
        kept.parts,
        1,
        reason=Reason.ACTIVATE,
        environments=kept.environments,
    )
    store_flow.collect(kept.parts, environments=kept.environments)
    assert not kept.path(TWO["model/a"]).exists()
    assert kept.path(ONE["model/a"]).exists()
    assert kept.path(THREE["model/a"]).exists()


def test_every_channel_keeps_its_own(kept: Kept) -> None:
    kept.deliver(1, {"model/x": b"x1"}, channel="extra")
    kept.deliver(2, {"model/x": b"x2"}, channel="extra")
    surplus = store_flow.collect(kept.parts, environments=kept.environments)
    assert not surplus


def test_where_there_is_nothing_to_collect_nothing_is_recorded(kept: Kept) -> None:
    before = kept.host.rows()
    assert not store_flow.collect(kept.parts, environments=kept.environments)
    assert kept.host.rows() == before


def test_a_preview_says_the_same_and_changes_nothing(kept: Kept) -> None:
    before, stored = kept.host.rows(), kept.stored()
    plan = store_flow.preview_collection(
        kept.parts, environments=kept.environments, keep=0
    )
    assert (kept.host.rows(), kept.stored()) == (before, stored)
    assert (
        store_flow.collect(kept.parts, environments=kept.environments, keep=0) == plan
    )
    assert plan.generations == (1,)


def test_what_is_not_ours_is_never_collected(kept: Kept) -> None:
    (kept.host.store.folder / "notes.txt").write_bytes(b"mine")
    link = kept.host.store.folder / ("0" * 64)
    link.symlink_to(kept.path(MODEL))
    store_flow.collect(kept.parts, environments=kept.environments, keep=0)
    assert (kept.host.store.folder / "notes.txt").exists()
    assert link.is_symlink()


def test_the_files_of_a_removed_model_are_collected(kept: Kept) -> None:
    model_flow.remove_model(kept.parts, "a")
    surplus = store_flow.collect(kept.parts, environments=kept.environments)
    assert [file.sha256 for file in surplus.files] == [sha256_of(MODEL)]
    assert surplus.generations == ()
    assert not store_flow.fsck(kept.parts).damaged


def test_environments_go_with_their_generation(kept: Kept) -> None:
    change = generation_flow.find_change(kept.parts, 1)
    for generation in (change.after, change.before):
        assert generation is not None
        inner = kept.environments / generation.manifest_sha256 / "tools" / "bin"
        inner.mkdir(parents=True)
        (inner / "python").symlink_to("/usr/bin/python3")
        inner.chmod(0o555)
        inner.parent.chmod(0o555)
    half = kept.environments / f".removed-{'1' * 64}"
    half.mkdir()
    (kept.environments / ".scratch-x").mkdir()
    (kept.environments / "notes").mkdir()
    surplus = store_flow.collect(kept.parts, environments=kept.environments, keep=0)
    assert len(surplus.environments) == 3
    assert change.before is not None
    assert sorted(path.name for path in kept.environments.iterdir()) == [
        change.before.manifest_sha256,
        "notes",
    ]


def test_a_disk_that_refuses_leaves_a_record_and_the_next_run_goes_on(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(StorageFaultError):
            store_flow.collect(kept.parts, environments=kept.environments, keep=0)
    assert kept.path(ONE["model/a"]).exists()
    assert len(kept.host.events("store.collected")) == 1
    assert store_flow.collect(kept.parts, environments=kept.environments, keep=0)
    assert not kept.path(ONE["model/a"]).exists()
    assert kept.path(MODEL).exists()
