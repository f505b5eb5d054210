"""An import from three volumes that is killed, or runs out of disk, anywhere."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from appliance.import_steps.host import Observer, Step
from appliance.ledger.recover import fsck
from bundleformat.errors import StorageFaultError, VolumesMissingError
from tests.support.gguf_writer import TinyModel, write_model
from tests.support.import_volumes import split
from tests.support.importing import import_bundle, new_host, open_host
from tests.support.killing import FILE_EVENTS, SURVIVED, Countdown, die, in_child
from tests.support.publisher import Published, publish_bundle
from tests.support.small_disk import small_disk

CHUNK_BYTES = 48 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A host that trusts a publisher, and a bundle on three volumes."""

    home: Path
    bundle: Published
    volumes: Sequence[Path]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    models = [
        write_model(
            folder / f"{name}.gguf", TinyModel(name=name, seed=seed, weights="q8_0")
        )
        for seed, name in enumerate(("one", "two"))
    ]
    bundle = publish_bundle(
        folder / "bundle",
        models=[(path.stem, path, None) for path in models],
        policies=[("local", b"// a policy\n")],
        chunk_bytes=CHUNK_BYTES,
    )
    new_host(folder / "home", bundle).close()
    return Scene(
        home=folder / "home",
        bundle=bundle,
        volumes=split(bundle, folder / "volumes", of=3),
    )


@pytest.fixture
def home(scene: Scene, tmp_path: Path) -> Path:
    return shutil.copytree(scene.home, tmp_path / "home")


def feed(home: Path, scene: Scene, *, order: Sequence[int] = (0, 1, 2)) -> None:
    """Import volume after volume, each in a run of its own, until one completes."""
    host = open_host(home)
    try:
        for number in order:
            try:
                import_bundle(host.parts(), scene.volumes[number])
            except VolumesMissingError:
                assert host.active() == {}
    finally:
        host.close()


def check_whole(home: Path, scene: Scene) -> None:
    """Check that all is as if nothing had ever happened."""
    host = open_host(home)
    assert host.active() == {"main": 1}
    assert list(host.staging.iterdir()) == []
    assert len(host.events("bundle.imported")) == 1
    assert host.events("bundle.refused") == []
    wanted = {artifact.sha256 for artifact in scene.bundle.manifest.artifacts}
    assert {path.name for path in host.home.glob("store/sha256/*")} == wanted
    with host.database.begin() as connection:
        fsck(connection, log=host.log)
    host.close()


def check_nothing_half_done(home: Path) -> None:
    """Check what anybody can see after a crash."""
    host = open_host(home)
    assert len(host.events("bundle.imported")) == len(host.active())
    assert host.events("bundle.refused") == []
    host.close()


REACHED = (Step.LOCK, Step.VERIFY, Step.PREFLIGHT, Step.COPY)
"""The steps that a run begins while volumes are lacking."""


@pytest.mark.parametrize(
    ("number", "at"),
    [*itertools.product((0, 1), REACHED), *((2, step) for step in Step)],
)
def test_killed_at_any_step_of_any_volume_it_completes_when_run_again(
    home: Path, scene: Scene, at: Step, number: int
) -> None:
    feed(home, scene, order=range(number))

    def deed() -> int:
        host = open_host(home)

        def watch(step: Step) -> None:
            if step is at:
                die()

        observer = Observer(on_step=watch)
        import_bundle(host.parts(), scene.volumes[number], observer=observer)
        return SURVIVED

    assert in_child(deed) == -signal.SIGKILL
    check_nothing_half_done(home)
    feed(home, scene)
    check_whole(home, scene)


@pytest.mark.parametrize("first_point", range(3))
def test_killed_at_changes_of_the_disk_it_completes_when_run_again(
    scene: Scene, tmp_path: Path, first_point: int
) -> None:
    _kill_at_points(scene, tmp_path, range(first_point, 10_000, 67))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_every_change_of_the_disk_it_completes_when_run_again(
    scene: Scene, tmp_path: Path
) -> None:
    _kill_at_points(scene, tmp_path, range(10_000))


def _kill_at_points(scene: Scene, folder: Path, points: range) -> None:
    """Kill one run that is given a volume after the other at its drive."""
    for point in points:
        home = shutil.copytree(scene.home, folder / f"home-{point}")
        status = in_child(partial(_swap_and_die, home, scene, points=point))
        check_nothing_half_done(home)
        feed(home, scene, order=(2, 0, 1))
        check_whole(home, scene)
        shutil.rmtree(home)
        if status == SURVIVED:
            return
        assert status == -signal.SIGKILL
    raise AssertionError("the import never came to its end")


def _swap_and_die(home: Path, scene: Scene, *, points: int) -> int:
    host = open_host(home)
    drive = home / "drive"
    drive.symlink_to(scene.volumes[0])
    rest = list(scene.volumes[1:])

    def swap(_: VolumesMissingError) -> bool:
        drive.unlink()
        drive.symlink_to(rest.pop(0))
        return True

    countdown = Countdown(points)

    def listen(event: str, _: object) -> None:
        if event in FILE_EVENTS:
            countdown.pass_point()

    sys.addaudithook(listen)
    observer = Observer(
        on_step=countdown.pass_point,
        on_progress=countdown.pass_point,
        next_volume=swap,
    )
    import_bundle(host.parts(), drive, observer=observer)
    return SURVIVED


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which is soon full."""
    with small_disk(tmp_path / "small", size="80m") as place:
        yield place


@pytest.mark.parametrize("number", range(3))
def test_on_a_disk_that_is_full_at_any_write_it_is_a_fault_and_resumes(
    small: Path, scene: Scene, number: int
) -> None:
    _fill_at_rooms(small, scene, number, rooms=range(0, 2**20, 192 * 1024))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_on_a_disk_that_is_full_at_every_page_it_is_a_fault_and_resumes(
    small: Path, scene: Scene
) -> None:
    for number in range(3):
        _fill_at_rooms(small, scene, number, rooms=range(0, 2**20, 4_096))


def _fill_at_rooms(small: Path, scene: Scene, number: int, *, rooms: range) -> None:
    failed = 0
    for room_bytes in rooms:
        home = shutil.copytree(scene.home, small / "home")
        feed(home, scene, order=range(number))
        failed += _import_into_full(home, scene.volumes[number], room_bytes)
        check_nothing_half_done(home)
        feed(home, scene)
        check_whole(home, scene)
        shutil.rmtree(home)
    assert failed > 0


def _import_into_full(home: Path, medium: Path, room_bytes: int) -> int:
    """Import with so much room left when the copying begins; return 1 for a fault."""
    filler = home / "filler"

    def fill(step: Step) -> None:
        if step is Step.COPY:
            free = os.statvfs(home)
            size_bytes = max(4_096, free.f_bavail * free.f_frsize - room_bytes)
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size_bytes)

    host = open_host(home)
    try:
        import_bundle(host.parts(), medium, observer=Observer(on_step=fill))
    except StorageFaultError:
        return 1
    except VolumesMissingError:
        return 0
    finally:
        filler.unlink(missing_ok=True)
        host.close()
    return 0


def test_a_medium_that_cannot_be_written_is_enough(
    home: Path, scene: Scene, tmp_path: Path
) -> None:
    place = tmp_path / "read-only"
    place.mkdir()
    source = str(scene.volumes[0].parent)
    for options in (("--bind", source), ("-o", "remount,bind,ro,noatime")):
        mounted = subprocess.run(
            ("/bin/mount", *options, str(place)), check=False, capture_output=True
        )
        if mounted.returncode != 0:
            subprocess.run(
                ("/bin/umount", str(place)), check=False, capture_output=True
            )
            pytest.skip("mounting a file system needs privileges")
    try:
        host = open_host(home)
        media = [place / path.name for path in scene.volumes]
        import_bundle(host.parts(), *media)
        host.close()
    finally:
        subprocess.run(("/bin/umount", str(place)), check=True)
    check_whole(home, scene)
