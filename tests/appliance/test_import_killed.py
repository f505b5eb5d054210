"""An import that is killed, or whose disk fills up, at every point there is."""

import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from appliance.import_steps.host import Imported, Observer, Step
from appliance.intake.examine import examine_model
from appliance.ledger.records.events import Draft
from appliance.ledger.recover import fsck
from bundleformat.errors import StorageFaultError
from tests.support.gguf_writer import TinyModel, write_model
from tests.support.importing import (
    Host,
    examine_here,
    import_bundle,
    new_host,
    open_host,
)
from tests.support.killing import FILE_EVENTS, SURVIVED, Countdown, in_child
from tests.support.publisher import Published, publish_bundle
from tests.support.small_disk import small_disk

CHUNK_BYTES = 48 * 1024
REFUSED = 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A host on which version 1 is active, and version 2 on a medium."""

    home: Path
    first: Published
    second: Published


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    shared, old, new = (
        write_model(
            folder / f"{name}.gguf", TinyModel(name=name, seed=seed, weights="q8_0")
        )
        for seed, name in enumerate(("shared", "old", "new"))
    )
    first = publish_bundle(
        folder / "first",
        models=[("shared", shared, None), ("changing", old, None)],
        policies=[("local", b"// one\n")],
        chunk_bytes=CHUNK_BYTES,
    )
    second = publish_bundle(
        folder / "second",
        models=[("shared", shared, None), ("changing", new, None)],
        policies=[("local", b"// two\n")],
        version=2,
        keys=first.keys,
        roots=first.roots,
        chunk_bytes=CHUNK_BYTES,
    )
    host = new_host(folder / "home", first)
    import_bundle(host.parts(), first.folder)
    host.close()
    return Scene(home=folder / "home", first=first, second=second)


@pytest.fixture
def home(scene: Scene, tmp_path: Path) -> Path:
    return shutil.copytree(scene.home, tmp_path / "home")


def import_and_die(home: Path, medium: Path, *, at: Step) -> int:
    """Import in a child that kills itself when ``at`` begins."""

    def deed() -> int:
        host = open_host(home)

        def watch(step: Step) -> None:
            if step is at:
                os.kill(os.getpid(), signal.SIGKILL)

        parts = host.parts(examine=examine_model)
        import_bundle(parts, medium, observer=Observer(on_step=watch))
        return SURVIVED

    return in_child(deed)


def import_and_die_after(home: Path, medium: Path, *, points: int) -> int:
    """Import in a child that kills itself after that many changes to the disk."""

    def deed() -> int:
        host = open_host(home)
        countdown = Countdown(points)

        def listen(event: str, _: object) -> None:
            if event in FILE_EVENTS:
                countdown.pass_point()

        sys.addaudithook(listen)
        parts = host.parts(examine=examine_here)
        observer = Observer(
            on_step=countdown.pass_point, on_progress=countdown.pass_point
        )
        import_bundle(parts, medium, observer=observer)
        return SURVIVED

    return in_child(deed)


def check_nothing_half_done(home: Path) -> dict[str, int]:
    """Check what anybody can see after a crash, and return what is active."""
    host = open_host(home)
    active = host.active()
    assert active in ({"main": 1}, {"main": 2})
    assert len(host.events("bundle.imported")) == active["main"]
    assert host.events("bundle.refused") == []
    host.close()
    return active


def complete(home: Path, scene: Scene) -> Imported:
    """Import again as an operator would, and check that all is as if never killed."""
    host = open_host(home)
    done = import_bundle(host.parts(), scene.second.folder)
    assert host.active() == {"main": 2}
    assert list(host.staging.iterdir()) == []
    assert len(host.events("bundle.imported")) == 2
    _check_store(host, scene)
    with host.database.begin() as connection:
        fsck(connection, log=host.log)
    host.close()
    return done


def _check_store(host: Host, scene: Scene) -> None:
    wanted = {
        artifact.sha256
        for bundle in (scene.first, scene.second)
        for artifact in bundle.manifest.artifacts
    }
    assert {path.name for path in host.home.glob("store/sha256/*")} == wanted


@pytest.mark.parametrize("at", list(Step))
def test_import_killed_at_any_step_completes_when_run_again(
    home: Path, scene: Scene, at: Step
) -> None:
    status = import_and_die(home, scene.second.folder, at=at)
    assert status == -signal.SIGKILL
    active = check_nothing_half_done(home)
    assert active == ({"main": 2} if at is Step.DONE else {"main": 1})
    assert complete(home, scene).already_active is (at is Step.DONE)


def test_import_killed_before_its_transaction_commits_left_no_trace_of_it(
    home: Path, scene: Scene
) -> None:
    def deed() -> int:
        host = open_host(home)

        def append_and_die(connection: Connection, drafts: Sequence[Draft]) -> None:
            host.append(connection, drafts)
            os.kill(os.getpid(), signal.SIGKILL)

        parts = replace(host.parts(), append_records=append_and_die)
        import_bundle(parts, scene.second.folder)
        return SURVIVED

    assert in_child(deed) == -signal.SIGKILL
    assert check_nothing_half_done(home) == {"main": 1}
    assert not complete(home, scene).already_active


@pytest.mark.parametrize("first_point", range(6))
def test_import_killed_at_changes_of_the_disk_completes_when_run_again(
    scene: Scene, tmp_path: Path, first_point: int
) -> None:
    _kill_at_points(scene, tmp_path, range(first_point, 10_000, 42))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_import_killed_at_every_change_of_the_disk_completes_when_run_again(
    scene: Scene, tmp_path: Path
) -> None:
    _kill_at_points(scene, tmp_path, range(10_000))


def _kill_at_points(scene: Scene, folder: Path, points: range) -> None:
    for point in points:
        home = shutil.copytree(scene.home, folder / f"home-{point}")
        status = import_and_die_after(home, scene.second.folder, points=point)
        check_nothing_half_done(home)
        complete(home, scene)
        shutil.rmtree(home)
        if status == SURVIVED:
            return
        assert status == -signal.SIGKILL
    raise AssertionError("the import never came to its end")


def test_import_killed_again_and_again_while_it_resumes_completes_in_the_end(
    home: Path, scene: Scene
) -> None:
    steps = (Step.COPY, Step.EXAMINE, Step.ADMIT, Step.COPY, Step.ACTIVATE)
    for at in steps:
        assert import_and_die(home, scene.second.folder, at=at) == -signal.SIGKILL
        assert check_nothing_half_done(home) == {"main": 1}
    complete(home, scene)


def test_import_on_a_disk_that_takes_no_more_is_a_fault_and_resumes(
    home: Path, scene: Scene
) -> None:
    def deed() -> int:
        host = open_host(home)
        soft = CHUNK_BYTES + 1_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
        try:
            import_bundle(host.parts(), scene.second.folder)
        except StorageFaultError as error:
            return REFUSED if error.where.endswith(".part") else 1
        return SURVIVED

    assert in_child(deed) == REFUSED
    assert check_nothing_half_done(home) == {"main": 1}
    left = {path.suffix: path.stat().st_size for path in home.glob("staging/*")}
    assert left[".part"] <= CHUNK_BYTES + 1_000
    assert left[".journal"] == len("0\n")
    assert not complete(home, scene).already_active


def test_import_on_a_disk_with_no_room_for_the_ledger_is_a_fault_and_resumes(
    home: Path, scene: Scene
) -> None:
    def deed() -> int:
        host = open_host(home)

        def fill(step: Step) -> None:
            if step is Step.ACTIVATE:
                limits = (1_000, resource.RLIM_INFINITY)
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        try:
            import_bundle(
                host.parts(), scene.second.folder, observer=Observer(on_step=fill)
            )
        except StorageFaultError as error:
            return REFUSED if error.where.endswith("sallyport.db") else 1
        return SURVIVED

    assert in_child(deed) == REFUSED
    assert check_nothing_half_done(home) == {"main": 1}
    assert not complete(home, scene).already_active


@pytest.fixture
def small_home(scene: Scene, tmp_path: Path) -> Iterator[Path]:
    """A copy of the home on a file system of its own, which is soon full."""
    with small_disk(tmp_path / "small", size="80m") as place:
        yield shutil.copytree(scene.home, place / "home")


@pytest.mark.parametrize(
    ("at", "room_bytes"),
    [(Step.COPY, 0), (Step.COPY, 20_000), (Step.COPY, 100_000), (Step.ACTIVATE, 0)],
)
def test_import_on_a_file_system_that_fills_up_is_a_fault_and_resumes(
    small_home: Path, scene: Scene, at: Step, room_bytes: int
) -> None:
    filler = small_home / "filler"

    def fill(step: Step) -> None:
        if step is at:
            free = os.statvfs(small_home)
            size_bytes = free.f_bavail * free.f_frsize - room_bytes
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size_bytes)

    host = open_host(small_home)
    with pytest.raises(StorageFaultError):
        import_bundle(
            host.parts(), scene.second.folder, observer=Observer(on_step=fill)
        )
    host.close()
    filler.unlink()
    assert check_nothing_half_done(small_home) == {"main": 1}
    complete(small_home, scene)


def test_import_with_no_room_for_it_is_a_fault_that_changes_nothing(
    small_home: Path, scene: Scene
) -> None:
    host = open_host(small_home)
    with (small_home / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 40 * 2**20)
    rows, files = host.rows(), host.files()
    with pytest.raises(StorageFaultError) as caught:
        import_bundle(host.parts(), scene.second.folder)
    assert caught.value.where == str(host.staging)
    assert (host.rows(), host.files()) == (rows, files)
    host.close()
