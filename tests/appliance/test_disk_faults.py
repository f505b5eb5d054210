"""Operations whose disk fails, fills up or loses power at any one call there is.

SQLite's calls are counted like all others. Whatever the call: the answer is one
fault of the storage or none, nothing is seen half done, and the same operation
completes when it is done again on a sound disk.
"""

import errno
import itertools
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.faults.disk import Disk, Mode, Outcome, failing_disk
from tests.support.faults.scenes import SCENES, Scene, Stage, copy, finish, look

READING = "an error in reading"

WAYS = {
    "an error": (Mode.ONCE, errno.EIO),
    "a full disk": (Mode.FULL, errno.ENOSPC),
    "a power cut": (Mode.DIE, 0),
    READING: (Mode.READS, errno.EIO),
}
"""How a disk fails; the last counts what reads as well as what changes something."""

SAMPLE = ("an error", "a full disk", "a power cut")
"""The ways of which a few are tried every time."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    with failing_disk(tmp_path_factory.mktemp("disk")) as disk:
        yield disk


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.mark.parametrize(
    "name",
    # Installing an environment takes seconds each time.
    [
        pytest.param(n, marks=pytest.mark.slow) if n == "environment" else n
        for n in SCENES
    ],
)
def test_a_call_that_fails_here_and_there_leaves_nothing_half_done(
    disk: Disk, stage: Stage, name: str, tmp_path: Path
) -> None:
    scene = stage.scene(name)
    home = copy(scene.home, tmp_path / "whole")
    whole = disk.do(scene.deed, home, scene.media, below=scene.below)
    assert (whole.error, whole.struck) == ("", "")
    for number, way in enumerate(SAMPLE):
        call = whole.done_at * (number + 1) // 4
        assert strike_at(disk, scene, tmp_path / way, way=way, calls=[call]) == 1


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SCENES)
def test_a_call_that_fails_anywhere_leaves_nothing_half_done(
    disk: Disk, stage: Stage, name: str, way: str, tmp_path: Path
) -> None:
    scene = stage.scene(name)
    struck = strike_at(disk, scene, tmp_path, way=way, calls=itertools.count())
    assert struck > 20


def strike_at(
    disk: Disk, scene: Scene, folder: Path, *, way: str, calls: Iterable[int]
) -> int:
    """Do the deed once for each of ``calls``, which fails; return how many did."""
    mode, error = WAYS[way]
    folder.mkdir(exist_ok=True)
    for struck, nth in enumerate(calls):
        home = copy(scene.home, folder / "home")
        outcome = disk.do(
            *(scene.deed, home, scene.media),
            below=scene.below,
            nth=nth,
            error=error,
            mode=mode,
        )
        if not outcome.killed and not outcome.struck:
            return struck
        check_outcome(outcome, nth=nth, way=way)
        check_sight(home, scene, outcome)
        finish(home, scene)
        shutil.rmtree(home)
    return struck + 1


def check_outcome(outcome: Outcome, *, nth: int, way: str) -> None:
    """Check that a failing call was a fault, or did not matter."""
    if outcome.killed:
        return
    call, _, place = outcome.struck.partition(" ")
    if way == READING and outcome.code == "missing":
        # A stored file that cannot be read is lost, and any medium brings it back.
        assert place.startswith("store/")
        return
    if outcome.error:
        assert outcome.exit_status == 4, f"{outcome.struck}\n{outcome.trace}"
        # A mark of a halt that cannot be read counts as a halt, which has no place.
        assert outcome.where or outcome.error == "AuditUnavailableError"
        # A key that cannot be read is a host that is not ready.
        assert way == READING or outcome.error == "StorageFaultError"
        return
    # What may fail in silence: to make a folder that is there, to link a wheel, which
    # is then copied, SQLite's tidying up after the last commit, which the next process
    # does again, and to read what is then copied anew.
    tidying = nth >= outcome.done_at and place.startswith("sallyport.db")
    harmless = call in {"mkdir", "link"} or way == READING
    assert tidying or harmless, outcome.struck


def check_sight(home: Path, scene: Scene, outcome: Outcome) -> None:
    """Check that what is seen is what was there before, or all that comes after."""
    sight = look(home)
    seen = [scene.before, scene.after]
    if outcome.killed:
        # An environment is in its place before the generation that names it.
        seen.append(replace(scene.before, environments=scene.after.environments))
    assert sight in seen
    if not outcome.killed and not outcome.error:
        assert sight == scene.after
