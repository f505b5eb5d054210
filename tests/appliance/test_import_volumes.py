"""A bundle on several volumes: together, one after the other, in any order."""

import itertools
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.import_steps.host import Observer, Step
from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    MalformedError,
    MissingError,
    StorageFaultError,
    VolumesMissingError,
)
from bundleformat.layout import VOLUME_HINT_PATH, chunk_path
from tests.support.import_volumes import chunks_of, split, write_volume
from tests.support.importing import (
    Host,
    import_bundle,
    inspect_bundle,
    preview_import,
    refuse,
    verify_bundle,
)
from tests.support.publisher import Published, next_version, publish_bundle


@pytest.fixture
def volumes(bundle: Published, tmp_path: Path) -> Sequence[Path]:
    return split(bundle, tmp_path / "split", of=3)


def want(host: Host, *media: Path) -> tuple[int, ...]:
    """Import, expect that a volume is wanted, and return which would do."""
    refused = len(host.events("bundle.refused"))
    trust = host.rows()["trust_file"]
    with pytest.raises(VolumesMissingError) as caught:
        import_bundle(host.parts(), *media)
    assert caught.value.exit_status == 5
    assert len(host.events("bundle.refused")) == refused
    assert host.rows()["trust_file"] == trust
    assert host.active() == {}
    return caught.value.volumes


def test_a_foreign_second_volume_is_refused_and_costs_no_copy(
    host: Host, volumes: Sequence[Path], tmp_path: Path
) -> None:
    want(host, volumes[0])
    copies = host.files()
    stranger = publish_bundle(tmp_path / "stranger", policies=[("p", b"// p\n")])
    with pytest.raises(ConflictError) as caught:
        import_bundle(host.parts(), volumes[0], stranger.folder)
    assert caught.value.where == str(stranger.folder)
    assert host.files() == copies
    (record,) = map(json.loads, host.events("bundle.refused"))
    assert (record["step"], record["code"]) == ("lock", "conflict")
    import_bundle(host.parts(), *volumes[1:])
    assert host.active() == {"main": 1}


def test_a_chunk_that_differs_on_a_later_volume_is_refused_and_leaves_nothing(
    host: Host, bundle: Published, volumes: Sequence[Path]
) -> None:
    want(host, volumes[0])
    (volumes[1] / chunk_path(chunks_of(bundle)[1])).write_bytes(b"x")
    refuse(host, volumes[1], DigestMismatchError)


def test_a_hint_that_breaks_its_format_is_refused(
    host: Host, volumes: Sequence[Path]
) -> None:
    (volumes[0] / VOLUME_HINT_PATH).write_bytes(b'{"volume": 1}')
    refuse(host, volumes[0], MalformedError)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_volumes_one_after_the_other_in_any_order_make_the_bundle(
    host: Host, volumes: Sequence[Path], order: tuple[int, ...]
) -> None:
    first, second, third = order
    assert want(host, volumes[first]) == tuple(sorted((second + 1, third + 1)))
    assert want(host, volumes[second]) == (third + 1,)
    import_bundle(host.parts(), volumes[third])
    assert host.active() == {"main": 1}
    assert list(host.staging.iterdir()) == []
    assert len(host.events("bundle.verified")) == 3
    assert len(host.events("bundle.copied")) == 1


def test_volumes_given_together_make_the_bundle_in_any_order(
    host: Host, volumes: Sequence[Path]
) -> None:
    done = import_bundle(host.parts(), *reversed(volumes))
    assert host.active() == {"main": 1}
    assert done.generation == 1
    (receipt,) = map(json.loads, host.events("bundle.imported"))
    assert receipt["media"] == 3


def test_a_doubled_volume_does_no_harm_and_the_others_stay_wanted(
    host: Host, volumes: Sequence[Path], tmp_path: Path
) -> None:
    double = shutil.copytree(volumes[0], tmp_path / "double")
    assert want(host, volumes[0], double) == (2, 3)
    assert want(host, double) == (2, 3)
    import_bundle(host.parts(), *volumes, double)
    assert host.active() == {"main": 1}


def test_a_finished_volume_is_not_read_again(
    host: Host, bundle: Published, volumes: Sequence[Path]
) -> None:
    want(host, volumes[0])
    shutil.rmtree(volumes[0] / "c")
    assert want(host, volumes[0]) == (2, 3)
    import_bundle(host.parts(), *volumes[1:])
    assert host.active() == {bundle.manifest.channel: 1}


def test_a_copy_that_decayed_between_runs_is_wanted_again(
    host: Host, bundle: Published, volumes: Sequence[Path]
) -> None:
    want(host, volumes[0])
    model = bundle.manifest.artifacts[0]
    part = host.staging / f"{model.sha256}.part"
    data = bytearray(part.read_bytes())
    data[0] ^= 1
    part.write_bytes(data)
    assert want(host, volumes[1]) == (3,)
    assert want(host, volumes[2]) == (1, 2)
    import_bundle(host.parts(), volumes[0])
    assert host.active() == {"main": 1}


def test_another_bundle_clears_an_unfinished_copy_only_when_it_is_verified(
    host: Host, bundle: Published, volumes: Sequence[Path], tmp_path: Path
) -> None:
    want(host, volumes[0])
    copies = host.files()
    newer = next_version(bundle, tmp_path / "newer")
    (newer.folder / "targets" / "manifest.json").write_bytes(b"{}")
    with pytest.raises(DigestMismatchError):
        import_bundle(host.parts(), newer.folder)
    assert host.files() == copies
    other = publish_bundle(
        tmp_path / "other",
        policies=[("p", b"// p\n")],
        version=2,
        keys=bundle.keys,
        roots=bundle.roots,
    )
    import_bundle(host.parts(), other.folder)
    assert host.active() == {"main": 2}
    assert list(host.staging.iterdir()) == []


def test_a_volume_swapped_at_the_drive_goes_on_in_the_same_run(
    host: Host, volumes: Sequence[Path], tmp_path: Path
) -> None:
    drive = tmp_path / "drive"
    drive.symlink_to(volumes[1])
    rest = [volumes[2], volumes[0]]
    asked: list[tuple[int, ...]] = []

    def swap(wanted: VolumesMissingError) -> bool:
        asked.append(wanted.volumes)
        drive.unlink()
        drive.symlink_to(rest.pop(0))
        return True

    progress: list[tuple[int, int]] = []
    observer = Observer(
        next_volume=swap, on_progress=lambda *pair: progress.append(pair)
    )
    import_bundle(host.parts(), drive, observer=observer)
    assert asked == [(1, 3), (1,)]
    assert host.active() == {"main": 1}
    assert progress[-1][0] == progress[-1][1]
    (receipt,) = map(json.loads, host.events("bundle.imported"))
    assert receipt["media"] == 3
    total = sum(each["size_bytes"] for each in receipt["artifacts"])
    assert receipt["copied_bytes"] == total


def test_another_bundle_at_the_drive_in_the_same_run_is_refused_and_costs_no_copy(
    host: Host, bundle: Published, volumes: Sequence[Path], tmp_path: Path
) -> None:
    drive = tmp_path / "drive"
    drive.symlink_to(volumes[0])
    newer = next_version(bundle, tmp_path / "newer")

    def swap(_: VolumesMissingError) -> bool:
        drive.unlink()
        drive.symlink_to(newer.folder)
        return True

    with pytest.raises(ConflictError):
        import_bundle(host.parts(), drive, observer=Observer(next_volume=swap))
    (record,) = map(json.loads, host.events("bundle.refused"))
    assert record["step"] == "verify"
    assert list(host.staging.glob("*.part")) != []
    import_bundle(host.parts(), *volumes[1:])
    assert host.active() == {"main": 1}


def test_a_volume_pulled_out_while_it_is_copied_is_a_fault_or_a_refusal_and_resumes(
    host: Host, volumes: Sequence[Path], tmp_path: Path
) -> None:
    def pull_out(step: Step) -> None:
        if step is Step.COPY:
            (volumes[0] / "c").rename(tmp_path / "pulled-out")

    wanted = VolumesMissingError
    with pytest.raises(wanted):
        import_bundle(host.parts(), volumes[0], observer=Observer(on_step=pull_out))
    (tmp_path / "pulled-out").rename(volumes[0] / "c")
    import_bundle(host.parts(), *volumes)
    assert host.active() == {"main": 1}


def test_a_volume_that_lacks_its_own_chunk_is_wanted_again_and_no_other_instead(
    host: Host, bundle: Published, volumes: Sequence[Path]
) -> None:
    lost = volumes[0] / chunk_path(chunks_of(bundle)[0])
    kept = lost.read_bytes()
    lost.unlink()
    assert want(host, volumes[0]) == (1,)
    assert want(host, volumes[2]) == (1, 2)
    # Whatever else is put in, the damaged volume stays the one that is asked for.
    assert want(host, volumes[1]) == (1,)
    with pytest.raises(MissingError) as caught:
        import_bundle(host.parts(), *volumes)
    assert caught.value.where == chunk_path(chunks_of(bundle)[0])
    lost.write_bytes(kept)
    import_bundle(host.parts(), *volumes)
    assert host.active() == {"main": 1}


def test_verifying_a_medium_that_lacks_its_own_chunk_is_refused(
    host: Host, bundle: Published, volumes: Sequence[Path]
) -> None:
    rows, files = host.rows(), host.files()
    (volumes[1] / chunk_path(chunks_of(bundle)[1])).unlink()
    with pytest.raises(MissingError) as caught:
        verify_bundle(host.parts(), volumes[1])
    assert caught.value.where == chunk_path(chunks_of(bundle)[1])
    assert (host.rows(), host.files()) == (rows, files)


def test_a_bad_chunk_is_named_with_its_artifact_and_its_medium(
    host: Host, bundle: Published, volumes: Sequence[Path]
) -> None:
    bad = volumes[1] / chunk_path(chunks_of(bundle)[1])
    bad.write_bytes(bad.read_bytes()[:-1] + b"?")
    for look in (import_bundle, verify_bundle):
        with pytest.raises(DigestMismatchError) as caught:
            look(host.parts(), *volumes)
        assert caught.value.where == chunk_path(chunks_of(bundle)[1])
        assert str(volumes[1]) in caught.value.hint
        assert bundle.manifest.artifacts[0].name in caught.value.hint


def test_verifying_one_volume_alone_says_what_it_covers(
    host: Host, bundle: Published, volumes: Sequence[Path]
) -> None:
    rows, files = host.rows(), host.files()
    found = verify_bundle(host.parts(), volumes[1])
    assert not found.whole
    assert found.volumes_wanted == (1, 3)
    assert 0 < found.chunks < found.chunks_of == len(chunks_of(bundle))
    assert found.size_bytes < found.size_bytes_of
    assert verify_bundle(host.parts(), *volumes).whole
    assert inspect_bundle(host.parts(), volumes[2]).manifest == bundle.manifest
    (volumes[1] / chunk_path(chunks_of(bundle)[1])).write_bytes(b"x")
    with pytest.raises(DigestMismatchError):
        verify_bundle(host.parts(), volumes[1])
    assert (host.rows(), host.files()) == (rows, files)


def test_a_preview_of_one_volume_says_which_others_are_wanted(
    host: Host, volumes: Sequence[Path]
) -> None:
    rows, files = host.rows(), host.files()
    plan = preview_import(host.parts(), volumes[0])
    assert (plan.volumes, plan.volumes_wanted) == (3, (2, 3))
    assert preview_import(host.parts(), *volumes).volumes_wanted == ()
    assert (host.rows(), host.files()) == (rows, files)


def test_a_single_volume_that_lacks_a_chunk_asks_for_no_other(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    lacking = write_volume(bundle, tmp_path / "lacking", chunks_of(bundle)[1:])
    error = refuse(host, lacking, MissingError)
    assert error.where == chunk_path(chunks_of(bundle)[0])


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it likes")
def test_a_folder_that_cannot_be_written_is_enough_to_import_from(
    host: Host, bundle: Published
) -> None:
    for path in (bundle.folder, *bundle.folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    import_bundle(host.parts(), bundle.folder)
    assert host.active() == {"main": 1}


def test_the_medium_is_as_it_was_after_an_import(host: Host, bundle: Published) -> None:
    def state() -> list[tuple[str, int, int, int]]:
        found = ((path, path.lstat()) for path in bundle.folder.rglob("*"))
        return sorted(
            (str(path), each.st_size, each.st_mtime_ns, each.st_ctime_ns)
            for path, each in found
        )

    before = state()
    import_bundle(host.parts(), bundle.folder)
    assert state() == before


def test_a_disk_too_full_for_the_next_volume_keeps_what_was_copied(
    host: Host, volumes: Sequence[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    want(host, volumes[0])
    files = host.files()
    free = os.statvfs(host.staging)
    full = os.statvfs_result((*free[:3], 0, 0, *free[5:10], free.f_fsid))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    with pytest.raises(StorageFaultError):
        import_bundle(host.parts(), volumes[1])
    assert host.files() == files
    monkeypatch.undo()
    import_bundle(host.parts(), *volumes[1:])
    assert host.active() == {"main": 1}


def test_a_known_generation_without_its_chunks_on_the_medium_costs_no_copy(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    newer = next_version(bundle, tmp_path / "newer")
    shutil.rmtree(newer.folder / "c")
    (newer.folder / "c").mkdir()
    import_bundle(host.parts(), newer.folder)
    assert host.active() == {"main": 2}
    receipt = json.loads(host.events("bundle.imported")[-1])
    assert (receipt["copied_bytes"], receipt["reused_bytes"]) == (0, 0)
