"""After a crash every request gets an outcome; fsck finds whatever was changed."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from appliance.db.session import open_database
from appliance.errors import AuditUnavailableError
from appliance.ledger.log.commission import open_ledger
from appliance.ledger.log.head import read_verified_head
from appliance.ledger.recover import abort_open_requests, fsck
from bundleformat.errors import (
    DigestMismatchError,
    Error,
    MissingError,
    SignatureError,
)
from tests.support.ledgers import NOW, Ledger, ledger_in, refusal, request, response


def _fill(ledger: Ledger) -> None:
    ledger.append([request("r1"), response("r1", parent=1)])
    ledger.append([request("r2")])
    ledger.append([refusal()])


def _abort(ledger: Ledger) -> int:
    with ledger.engine.begin() as connection:
        return len(
            abort_open_requests(connection, log=ledger.log, keys=ledger.keys, now=NOW)
        )


def test_every_open_request_is_aborted_once(ledger: Ledger) -> None:
    _fill(ledger)
    assert _abort(ledger) == 1
    assert _abort(ledger) == 0
    with ledger.engine.connect() as connection:
        newest = connection.execute(
            text("SELECT event, outcome, team, request_id FROM record WHERE seq = 5")
        ).one()
        assert tuple(newest) == ("llm.aborted", "aborted", "claims", "r2")
        assert fsck(connection, log=ledger.log).open_requests == 0


def test_fsck_finds_an_untouched_ledger_whole(ledger: Ledger) -> None:
    _fill(ledger)
    with ledger.engine.connect() as connection:
        report = fsck(connection, log=ledger.log)
    assert (report.records, report.checkpoints, report.open_requests) == (5, 4, 1)


RECORD = "UPDATE record SET"
CHECKPOINT = "UPDATE checkpoint SET"
ANOTHER_NOTE = "note = (SELECT note FROM checkpoint WHERE size = 1)"
EDITED_NOTE = "note = replace(note, char(10) || '3', char(10) || '2')"


@pytest.mark.parametrize(
    ("change", "error", "where"),
    [
        (f"{RECORD} bytes = x'7b7d' WHERE seq = 1", DigestMismatchError, "record 1"),
        (
            f"{RECORD} leaf = zeroblob(32) WHERE seq = 2",
            DigestMismatchError,
            "record 2",
        ),
        (f"{RECORD} team = 'other' WHERE seq = 3", DigestMismatchError, "record 3"),
        (f"{RECORD} outcome = 'ok' WHERE seq = 4", DigestMismatchError, "record 4"),
        (f"{RECORD} ts = 'x' WHERE seq = 0", DigestMismatchError, "record 0"),
        ("DELETE FROM record WHERE seq = 1", MissingError, "record 1"),
        ("DELETE FROM record WHERE seq = 4", MissingError, "ledger"),
        (
            f"{CHECKPOINT} root = zeroblob(32) WHERE size = 3",
            DigestMismatchError,
            "checkpoint 3",
        ),
        (
            f"{CHECKPOINT} {ANOTHER_NOTE} WHERE size = 3",
            DigestMismatchError,
            "checkpoint 3",
        ),
        (f"{CHECKPOINT} {EDITED_NOTE} WHERE size = 3", SignatureError, None),
        ("DELETE FROM checkpoint WHERE size = 5", MissingError, "ledger"),
        ("DELETE FROM open_request", DigestMismatchError, "open_request"),
        (
            f"{CHECKPOINT} root = zeroblob(32) WHERE size = 5",
            AuditUnavailableError,
            "ledger",
        ),
    ],
)
def test_fsck_finds_what_was_changed_around_the_triggers(
    ledger: Ledger, change: str, error: type[Error], where: str | None
) -> None:
    _fill(ledger)
    with ledger.engine.begin() as connection:
        for table in ("record", "checkpoint"):
            for verb in ("update", "delete"):
                connection.execute(text(f"DROP TRIGGER {table}_no_{verb}"))
        connection.execute(text(change))
    with ledger.engine.connect() as connection, pytest.raises(error) as caught:
        fsck(connection, log=ledger.log)
    assert where in (None, caught.value.where)


def _run_until_killed(home: Path, delay_s: float) -> dict[int, str]:
    """Start the child, kill it under load, return what it said was durable."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.ledger_load", str(home)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    with child.stdout as stdout:
        assert stdout.readline() == "ready\n"
        try:
            child.wait(delay_s)
        except subprocess.TimeoutExpired:
            child.kill()
        lines = stdout.read().splitlines(keepends=True)
    assert child.wait() == -signal.SIGKILL
    whole = (line.split() for line in lines if line.endswith("\n"))
    return {int(seq): leaf for seq, leaf in whole}


@pytest.mark.timeout(120)
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(
    tmp_path: Path,
) -> None:
    with ledger_in(tmp_path):
        pass
    chance = random.Random(2026)  # noqa: S311 - a repeatable choice of moments
    acknowledged: dict[int, str] = {}
    for _ in range(10):
        acknowledged |= _run_until_killed(tmp_path, chance.uniform(0.0, 0.3))
        engine = open_database(tmp_path / "sallyport.db")
        with engine.connect() as connection:
            log, _ = open_ledger(connection, key_path=tmp_path / "keys" / "ledger.key")
            report = fsck(connection, log=log)
            assert report.root == read_verified_head(connection, log=log).root()
            kept = connection.execute(text("SELECT seq, hex(leaf) FROM record"))
            stored = {seq: leaf.lower() for seq, leaf in kept}
        engine.dispose()
        assert acknowledged.items() <= stored.items()
    assert len(acknowledged) > 100
    with open_database(tmp_path / "sallyport.db").begin() as connection:
        log, keys = open_ledger(connection, key_path=tmp_path / "keys" / "ledger.key")
        abort_open_requests(connection, log=log, keys=keys, now=NOW)
        assert fsck(connection, log=log).open_requests == 0
        connection.engine.dispose()
