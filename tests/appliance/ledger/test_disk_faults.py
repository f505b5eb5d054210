"""A writer whose disk fails, fills up or loses power at any one call there is.

Whatever the call: what was acknowledged is in the ledger, what was refused halted it
for good, and a release lets it go on.
"""

import errno
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from appliance.ledger.log.halt import find_halt
from appliance.ledger.recover import abort_open_requests, fsck
from tests.support.faults.disk import Disk, Mode, Outcome, failing_disk
from tests.support.ledgers import Ledger, guard_of, ledger_at, ledger_in, release

WAYS = {
    "an error": (Mode.ONCE, errno.EIO),
    "a full disk": (Mode.FULL, errno.ENOSPC),
    "one call without room": (Mode.ONCE, errno.ENOSPC),
    "a power cut": (Mode.DIE, 0),
    "an error in reading": (Mode.READS, errno.EIO),
}
"""How a disk fails; the last counts what reads as well as what changes something."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    with failing_disk(tmp_path_factory.mktemp("disk")) as disk:
        yield disk


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger that nobody has open."""
    home = tmp_path_factory.mktemp("ledger") / "home"
    home.mkdir()
    with ledger_in(home):
        pass
    return home


@pytest.mark.parametrize("way", WAYS)
def test_what_was_acknowledged_is_recorded_wherever_the_disk_fails(
    disk: Disk, home: Path, tmp_path: Path, way: str
) -> None:
    # A few calls of the commit itself, where the disk is asked most.
    mode, _ = WAYS[way]
    calls = range(0, 600, 37) if mode & Mode.READS else range(0, 120, 9)
    assert strike_at(disk, home, tmp_path, way=way, calls=calls) > 3


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("way", WAYS)
def test_what_was_acknowledged_is_recorded_whichever_call_fails(
    disk: Disk, home: Path, tmp_path: Path, way: str
) -> None:
    struck = strike_at(disk, home, tmp_path, way=way, calls=itertools.count())
    assert struck > 20


def strike_at(
    disk: Disk, home: Path, folder: Path, *, way: str, calls: Iterable[int]
) -> int:
    """Serve once for each of ``calls``, which fails; return how many did."""
    mode, error = WAYS[way]
    struck = 0
    for nth in calls:
        place = folder / "host" / "home"
        shutil.copytree(home, place)
        outcome = disk.do("write_records", place, nth=nth, error=error, mode=mode)
        if not outcome.killed and not outcome.struck:
            shutil.rmtree(place.parent)
            break
        struck += 1
        check(place, outcome, nth=nth)
        shutil.rmtree(place.parent)
    return struck


def check(home: Path, outcome: Outcome, *, nth: int) -> None:
    """Look at what is left with a sound disk."""
    told = f"call {nth}: {outcome}"
    assert outcome.error != "bug", told
    assert outcome.exit_status in {0, 4}, told
    said = [
        json.loads(line)
        for line in (home.parent / "said").read_text().splitlines()
        if line.strip()
    ]
    acknowledged = {each["seq"] for each in said if "seq" in each}
    refused = [each for each in said if "refused" in each]
    with ledger_at(home) as ledger:
        guard = guard_of(ledger.engine, log=ledger.log, keys=ledger.keys)
        halt = guard.examine()
        with ledger.engine.connect() as connection:
            report = fsck(connection, log=ledger.log)
        assert acknowledged <= set(range(report.records)), told
        assert events_at(ledger, acknowledged) <= {"llm.request", "llm.response"}, told
        if refused:
            assert halt is not None, told
        # It is never closed but by a release, and then it goes on.
        guard.begin()
        if halt is not None:
            release(ledger, guard=guard)
        go_on(ledger)


def events_at(ledger: Ledger, numbers: set[int]) -> set[str]:
    with ledger.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT seq, event FROM record").all()
    return {event for seq, event in found if seq in numbers}


def go_on(ledger: Ledger) -> None:
    """End what was left open and find the ledger whole."""
    with ledger.engine.begin() as connection:
        abort_open_requests(
            connection, log=ledger.log, keys=ledger.keys, now=ledger.now
        )
    with ledger.engine.connect() as connection:
        assert find_halt(connection) is None
        assert fsck(connection, log=ledger.log).open_requests == 0
