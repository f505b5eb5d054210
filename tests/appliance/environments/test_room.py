"""Room for environments is reserved from what was signed, before a byte is written."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.environments.install import EnvironmentInstaller
from appliance.environments.place import make_removable
from appliance.import_steps.host import ImportHost, Observer, Step
from appliance.intake.environment_room import room_of
from appliance.intake.preflight import RESERVE_BYTES, Need
from bundleformat.digest import Sha256
from bundleformat.errors import StorageFaultError
from bundleformat.layout import chunk_path
from bundleformat.manifest import Manifest
from tests.support.importing import Host, import_bundle, new_host, preview_import
from tests.support.publish_wheels import (
    Delivery,
    environment_of,
    pip_wheel,
    publish_artifacts,
    quick_pip,
    tiny_wheel,
)
from tests.support.publisher import Published

LARGE_BYTES = 15 * 2**20
"""What the large wheel unpacks to; packed it is a thousandth of that."""

ROOM_BYTES = RESERVE_BYTES + 2**21
"""Enough for the copies and the reserve, and not for what is unpacked."""


def reserved(bundle: Published) -> Need:
    locks = [each for each in bundle.manifest.artifacts if each.kind == "lock"]
    return room_of(locks, bundle.manifest)


def publish(folder: Path, *deliveries: Delivery) -> Published:
    return publish_artifacts(folder / "bundle", deliveries)


def stored(bundle: Published) -> dict[Sha256, Path]:
    """Return where each artifact lies whole, as it would in a store."""
    place = bundle.folder.parent / "store"
    place.mkdir()
    for artifact in bundle.manifest.artifacts:
        chunks = (bundle.folder / chunk_path(each.sha256) for each in artifact.chunks)
        whole = b"".join(chunk.read_bytes() for chunk in chunks)
        (place / artifact.sha256).write_bytes(whole)
    return {each.sha256: place / each.sha256 for each in bundle.manifest.artifacts}


def used(folder: Path) -> Need:
    """Return what a folder takes on its disk."""
    found = [folder, *folder.rglob("*")]
    return Need(
        bytes_=sum(path.lstat().st_blocks * 512 for path in found), inodes=len(found)
    )


def many_small_files(folder: Path) -> Path:
    modules = {f"many/m{n}/__init__.py": b"" for n in range(300)}
    return tiny_wheel(folder, "many", contents=modules)


@pytest.mark.parametrize("real", [True, False], ids=["pip", "many small files"])
def test_an_environment_takes_no_more_than_is_reserved_and_not_far_less(
    tmp_path: Path, *, real: bool
) -> None:
    wheels = (
        (pip_wheel(),)
        if real
        else (quick_pip(tmp_path / "wheels"), many_small_files(tmp_path / "wheels"))
    )
    bundle = publish(tmp_path, *environment_of("tools", wheels))
    root = tmp_path / "environments"
    (made,) = EnvironmentInstaller(root).install(bundle.manifest, stored(bundle))
    took, most = used(made.folder), reserved(bundle)
    make_removable(root)
    assert took.bytes_ <= most.bytes_ <= 6 * took.bytes_
    assert took.inodes <= most.inodes <= 6 * took.inodes


def test_each_environment_has_its_own_copy_of_a_wheel(tmp_path: Path) -> None:
    wheels = (quick_pip(tmp_path), tiny_wheel(tmp_path, "helper"))
    one = publish(tmp_path / "one", *environment_of("a", wheels))
    two = publish(
        tmp_path / "two", *environment_of("a", wheels), *environment_of("b", wheels)
    )
    assert reserved(two).bytes_ == 2 * reserved(one).bytes_
    assert reserved(two).inodes == 2 * reserved(one).inodes


def test_where_no_sizes_were_signed_the_most_that_a_wheel_may_take_is_reserved(
    tmp_path: Path,
) -> None:
    bundle = publish(tmp_path, *environment_of("tools", (pip_wheel(),)))
    unsaid = replace(
        bundle.manifest,
        artifacts=tuple(
            replace(each, wheel=None) for each in bundle.manifest.artifacts
        ),
    )
    locks = [each for each in unsaid.artifacts if each.kind == "lock"]
    most, signed = room_of(locks, unsaid), reserved(bundle)
    size_bytes = pip_wheel().stat().st_size
    assert most.bytes_ > 50 * size_bytes
    assert most.bytes_ > signed.bytes_
    assert most.inodes > signed.inodes


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Host, Published, Path]]:
    """A host on a file system of its own, with too little room on it, and a bundle."""
    large = tiny_wheel(
        tmp_path / "wheels", "large", contents={"large/data.bin": bytes(LARGE_BYTES)}
    )
    wheels = (quick_pip(tmp_path / "wheels"), large)
    bundle = publish(tmp_path, *environment_of("tools", wheels))
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ("/bin/mount", "-t", "tmpfs", "-o", "size=120m", "none", str(place)),
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a file system needs privileges")
    host = new_host(place / "home", bundle)
    yield host, bundle, place / "filler"
    host.close()
    subprocess.run(("/bin/umount", str(place)), check=True)


def parts_of(host: Host) -> ImportHost:
    installer = EnvironmentInstaller(host.home / "environments")
    return replace(host.parts(), environments=installer)


def fill(filler: Path, *, room_bytes: int) -> None:
    free = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        size_bytes = free.f_bavail * free.f_frsize - room_bytes
        os.posix_fallocate(file.fileno(), 0, size_bytes)


def test_too_little_room_for_what_is_unpacked_is_told_before_a_byte_is_written(
    small: tuple[Host, Published, Path],
) -> None:
    host, bundle, filler = small
    parts = parts_of(host)
    fill(filler, room_bytes=ROOM_BYTES)
    rows, files = host.rows(), host.files()
    for look in (preview_import, import_bundle):
        with pytest.raises(StorageFaultError) as caught:
            look(parts, bundle.folder)
        assert caught.value.where == str(host.staging)
        assert int(caught.value.expected.split()[0]) > ROOM_BYTES
    assert (host.rows(), host.files()) == (rows, files)

    filler.unlink()
    plan = preview_import(parts, bundle.folder)
    assert plan.unpacked_bytes == reserved(bundle).bytes_ > LARGE_BYTES
    assert plan.needed_bytes == plan.copy_bytes + plan.unpacked_bytes + RESERVE_BYTES
    done = import_bundle(parts, bundle.folder)
    assert done.environments == ("tools",)
    again = preview_import(parts, bundle.folder)
    assert again.unpacked_bytes == 0


def test_a_disk_that_fills_up_while_environments_are_installed_is_a_fault_and_resumes(
    small: tuple[Host, Published, Path],
) -> None:
    host, bundle, filler = small
    parts = parts_of(host)

    def watch(step: Step) -> None:
        if step is Step.INSTALL_ENVIRONMENTS:
            fill(filler, room_bytes=2**20)

    with pytest.raises(StorageFaultError):
        import_bundle(parts, bundle.folder, observer=Observer(on_step=watch))
    assert not (host.home / "environments").exists()
    assert host.active() == {}
    assert host.events("bundle.refused") == []
    filler.unlink()
    assert import_bundle(parts, bundle.folder).environments == ("tools",)
    (record,) = map(json.loads, host.events("bundle.environments_installed"))
    assert record["environments"] == ["tools"]


def test_what_is_installed_already_needs_no_room(
    small: tuple[Host, Published, Path],
) -> None:
    host, bundle, _ = small
    parts = parts_of(host)
    import_bundle(parts, bundle.folder)
    manifest: Manifest = bundle.manifest
    nothing = frozenset[str]()
    assert parts.environments.lacking(manifest, unsuitable=nothing) == ()
    newer = replace(manifest, version=2)
    (lock,) = parts.environments.lacking(newer, unsuitable=nothing)
    assert lock.name == "tools"
    assert parts.environments.lacking(newer, unsuitable=frozenset({"tools"})) == ()
