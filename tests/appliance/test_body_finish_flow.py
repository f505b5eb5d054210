"""Erasures that were cut short: who tells of them, and who finishes them."""

import logging
import signal
import sqlite3
from pathlib import Path

import pytest

from appliance.bodies import vault as vault_module
from appliance.bodies.vault import read_mark
from appliance.body_finish_flow import Finisher, find_unfinished, finish
from appliance.cli import main
from appliance.compose import open_host
from appliance.errors import AuditUnavailableError
from appliance.host import OpenHost
from tests.appliance.test_body_erase_flow import ERASE, killed_while_erasing, sealed
from tests.support.kept_bodies import Archive, filled, keep_call
from tests.support.publisher import Keys

FINISH = ("audit", "body", "finish")
NOT_DESTROYED = ("DELETE FROM body", 0)
AFTER_THE_RECORD = (
    NOT_DESTROYED,
    ("COMMIT", 1),
    ("PRAGMA wal_checkpoint", 0),
    ("INSERT OR REPLACE INTO destroyed", 0),
    ("COMMIT", 2),
)
"""Where an eraser is killed whose records are durable: before which statement."""


def calls(host: OpenHost) -> None:
    for name in ("r-1", "r-2", "r-3"):
        keep_call(host, name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Keys]:
    return filled(tmp_path_factory.mktemp("archive"), calls)


@pytest.fixture
def archive(
    tmp_path: Path, made: tuple[Path, Keys], capsys: pytest.CaptureFixture[str]
) -> Archive:
    return Archive.copied(made, tmp_path, capsys)


def interrupt(archive: Archive, at: str, points: int) -> list[bytes]:
    """Have an erasure of two calls killed; return what is to be found nowhere."""
    approval = Path(archive.approved(*ERASE, "r-1", "r-2")).read_bytes()
    blobs = [blob for name in ("r-1", "r-2") for blob in sealed(archive.home, name)]
    status = killed_while_erasing(archive.home, approval, at=at, points=points)
    assert status == -signal.SIGKILL
    return [blob[:12] for blob in blobs]


def check_gone(archive: Archive, blobs: list[bytes]) -> None:
    data = b"".join(archive.files().values())
    assert not any(blob in data for blob in blobs)
    assert {name for name, _ in archive.rows()} == {"r-3"}
    assert archive.run("audit", "status")[1]["unfinished_erasures"] is None


def shown(archive: Archive) -> list[str]:
    """What a person is shown of erasures by the status."""
    archive.capture.readouterr()
    assert main(["--home", str(archive.home), "audit", "status"]) == 0
    lines = archive.capture.readouterr().out.splitlines()
    return [line for line in lines if line.startswith("erasures")]


@pytest.mark.parametrize(("at", "points"), AFTER_THE_RECORD)
def test_the_status_tells_of_an_erasure_that_was_cut_short_and_what_to_do(
    archive: Archive, at: str, points: int
) -> None:
    assert shown(archive) == ["erasures       all carried out"]
    blobs = interrupt(archive, at, points)
    erased = [int(record["seq"]) for record in archive.records("body.erased")]
    left = archive.run("audit", "status")[1]["unfinished_erasures"]
    advice = left.pop("next")
    assert left == {"calls": 2, "first_record": erased[0], "last_record": erased[1]}
    (line,) = shown(archive)
    assert line.endswith("run: sallyport audit body finish")
    assert line.endswith(advice)
    status, done = archive.run(*FINISH)
    gone_before = 0 if (at, points) in AFTER_THE_RECORD[2:] else 4
    assert (status, done) == (0, {"calls": 2, "bodies": gone_before})
    check_gone(archive, blobs)
    assert archive.run(*FINISH) == (0, {"calls": 0, "bodies": 0})
    # It was decided once: nothing more is on record, and the ledger holds.
    assert len(archive.records("body.erased")) == 2
    assert archive.run("audit", "fsck")[0] == 0


def test_an_erasure_that_was_killed_before_its_record_is_none(archive: Archive) -> None:
    interrupt(archive, "COMMIT", 0)
    assert archive.run("audit", "status")[1]["unfinished_erasures"] is None
    assert archive.run(*FINISH) == (0, {"calls": 0, "bodies": 0})
    assert {name for name, _ in archive.rows()} == {"r-1", "r-2", "r-3"}


def test_a_server_leaves_it_to_the_command_at_first_and_then_finishes_it(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    blobs = interrupt(archive, *NOT_DESTROYED)
    host = open_host(archive.home)
    finisher = Finisher(host)
    finisher.look()
    assert find_unfinished(host) is not None
    with caplog.at_level(logging.WARNING, logger="appliance.body_finish_flow"):
        finisher.look()
        finisher.look()
    assert [record.getMessage() for record in caplog.records] == [
        "destroyed what a command left: 4 bodies of 2 calls"
    ]
    host.database.dispose()
    check_gone(archive, blobs)


def test_a_server_says_once_what_keeps_it_from_finishing_and_tries_again(
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(vault_module, "BUSY_TIMEOUT_S", 0.05)
    blobs = interrupt(archive, *NOT_DESTROYED)
    reader = sqlite3.connect(archive.home / "bodies.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM body").fetchone()
    assert archive.run(*FINISH)[1]["code"] == "storage-fault"
    host = open_host(archive.home)
    finisher = Finisher(host)
    for _ in range(3):
        finisher.look()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "in use" in caplog.text
    reader.close()
    finisher.look()
    host.database.dispose()
    check_gone(archive, blobs)


def test_nothing_is_finished_beside_a_halted_ledger(archive: Archive) -> None:
    interrupt(archive, *NOT_DESTROYED)
    (archive.home / "ledger.halted").touch()
    host = open_host(archive.home)
    assert host.guard.begin() is not None
    with pytest.raises(AuditUnavailableError):
        finish(host)
    finisher = Finisher(host)
    finisher.look()
    finisher.look()
    host.database.dispose()
    status, error = archive.run(*FINISH)
    assert (status, error["code"]) == (4, "audit-unavailable")
    value = archive.run("audit", "status")[1]
    assert value["state"] == "HALTED"
    assert value["unfinished_erasures"]["next"].startswith("release the ledger first")
    assert {name for name, _ in archive.rows()} == {"r-1", "r-2", "r-3"}


def test_the_status_tells_of_it_without_the_key_of_the_bodies(archive: Archive) -> None:
    interrupt(archive, *NOT_DESTROYED)
    (archive.home / "keys" / "bodies.key").unlink()
    assert archive.run("audit", "status")[1]["unfinished_erasures"]["calls"] == 2
    assert archive.run(*FINISH)[1]["code"] == "host-not-ready"


@pytest.mark.parametrize("version", [None, 9])
def test_the_status_is_shown_where_the_bodies_cannot_be_read(
    archive: Archive, version: int | None
) -> None:
    path = archive.home / "bodies.db"
    if version is None:
        for each in archive.home.glob("bodies.db*"):
            each.unlink()
        path.write_bytes(b"no database at all" * 100)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
    status, value = archive.run("audit", "status")
    assert (status, value["state"]) == (0, "OK")
    assert value["unfinished_erasures"].keys() == {"problem", "next"}
    (line,) = shown(archive)
    assert line.startswith("erasures       not known whether all are carried out: ")
    assert archive.run(*FINISH)[0] == 4


def test_a_host_that_keeps_no_bodies_has_nothing_to_finish(archive: Archive) -> None:
    for path in archive.home.glob("bodies.db*"):
        path.unlink()
    assert shown(archive) == ["erasures       all carried out"]
    assert archive.run(*FINISH) == (0, {"calls": 0, "bodies": 0})
    assert not (archive.home / "bodies.db").exists()


def test_a_file_that_never_heard_of_erasures_has_no_mark(archive: Archive) -> None:
    path = archive.home / "bodies.db"
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE destroyed")
    connection.close()
    assert read_mark(path) is None
