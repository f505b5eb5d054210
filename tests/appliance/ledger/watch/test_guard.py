"""OK, LOW, HALTED: what halts the ledger, while it is written and when it is opened."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from appliance.db.session import connect, create_database, restore_triggers
from appliance.errors import AuditUnavailableError
from appliance.ledger.log.halt import Halt, check_not_halted, find_halt
from appliance.ledger.log.objects import EXPECTED, check_objects, read_objects
from appliance.ledger.recover import fsck
from appliance.ledger.watch.guard import LedgerGuard, State
from appliance.ledger.writer import LedgerWriter
from bundleformat.errors import DigestMismatchError, StorageFaultError
from bundleformat.ledger_release import Cause
from tests.support.clocks import SteppingClock
from tests.support.ledgers import (
    Ledger,
    guard_of,
    refusal,
    release,
    request,
    response,
    writer_of,
)
from tests.support.small_disk import filled, small_disk

PATIENCE_S = 20


def guard(ledger: Ledger, **changed: Any) -> LedgerGuard:
    return guard_of(ledger.engine, log=ledger.log, keys=ledger.keys, **changed)


def halt_of(ledger: Ledger) -> Halt | None:
    with ledger.engine.connect() as connection:
        return find_halt(connection)


def records(ledger: Ledger, event: str) -> list[dict[str, Any]]:
    with ledger.engine.connect() as connection:
        found = connection.execute(
            text("SELECT bytes FROM record WHERE event = :e ORDER BY seq"), {"e": event}
        )
        return [json.loads(each) for each in found.scalars()]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def refused(writer: LedgerWriter, name: str) -> AuditUnavailableError:
    error = writer.submit(request(name)).exception(PATIENCE_S)
    assert isinstance(error, AuditUnavailableError)
    return error


def drop(ledger: Ledger, trigger: str = "record_no_delete") -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text(f"DROP TRIGGER {trigger}"))


def test_what_is_expected_of_the_tables_is_what_the_migrations_make(
    tmp_path: Path,
) -> None:
    fresh = create_database(tmp_path / "sallyport.db")
    with fresh.connect() as connection:
        assert read_objects(connection) == dict(EXPECTED)
    fresh.dispose()


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DROP TRIGGER record_no_update", "trigger:record_no_update"),
        ("DROP INDEX ix_record_team_ts", "index:ix_record_team_ts"),
        (
            "CREATE TRIGGER mine AFTER INSERT ON open_request BEGIN SELECT 1; END",
            "trigger:mine",
        ),
        (
            'CREATE TRIGGER "two words" AFTER INSERT ON record BEGIN SELECT 1; END',
            "sha256:",
        ),
        ("ALTER TABLE record ADD COLUMN note VARCHAR", "table:record"),
    ],
)
def test_what_was_changed_of_the_tables_is_named(
    ledger: Ledger, statement: str, named: str
) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text(statement))
    with (
        ledger.engine.connect() as connection,
        pytest.raises(AuditUnavailableError) as caught,
    ):
        check_objects(connection)
    assert caught.value.cause == Cause.CHANGED_TRIGGERS
    assert named in caught.value.actual


def test_a_trigger_dropped_while_it_runs_halts_the_writer(ledger: Ledger) -> None:
    writer = writer_of(ledger, tick_s=30)
    writer.submit(refusal()).result(PATIENCE_S)
    drop(ledger)
    assert "changed-triggers" in refused(writer, "r1").problem
    assert writer.standing.state is State.HALTED
    writer.close()
    (said,) = records(ledger, "log.halted")
    assert (said["cause"], said["halt"]) == ("changed-triggers", 1)
    assert said["changed"] == ["trigger:record_no_delete"]
    assert not records(ledger, "llm.request")


def test_a_trigger_dropped_while_nobody_asks_halts_an_idle_writer(
    ledger: Ledger,
) -> None:
    writer = writer_of(ledger)
    drop(ledger)
    until(lambda: not writer.healthy)
    writer.close()
    assert records(ledger, "log.halted")


def test_a_trigger_dropped_while_nothing_runs_halts_the_next_who_opens(
    ledger: Ledger,
) -> None:
    drop(ledger)
    halt = guard(ledger).examine()
    assert halt is not None
    assert (halt.cause, halt.recorded) == (Cause.CHANGED_TRIGGERS, True)
    with pytest.raises(AuditUnavailableError):
        ledger.append([refusal()])
    # Looking again is no second halt.
    assert guard(ledger).examine() == halt


def test_changed_triggers_are_not_released_before_they_are_restored(
    ledger: Ledger,
) -> None:
    drop(ledger)
    guard(ledger).examine()
    with pytest.raises(AuditUnavailableError) as caught:
        release(ledger)
    assert caught.value.cause == Cause.CHANGED_TRIGGERS
    assert halt_of(ledger) is not None
    assert restore_triggers(ledger.home / "sallyport.db") == ("record_no_delete",)
    release(ledger)
    assert halt_of(ledger) is None
    with ledger.engine.connect() as connection:
        fsck(connection, log=ledger.log)


def test_restoring_takes_away_a_trigger_that_no_migration_made(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(
            text('CREATE TRIGGER "a ""b" AFTER INSERT ON record BEGIN SELECT 1; END')
        )
    assert restore_triggers(ledger.home / "sallyport.db") == ('a "b',)
    with ledger.engine.connect() as connection:
        check_objects(connection)


def test_a_clock_that_goes_back_halts(ledger: Ledger) -> None:
    clock = SteppingClock()
    writer = writer_of(ledger, clock=clock, tick_s=30)
    writer.submit(request("r1")).result(PATIENCE_S)
    clock.go(10)
    clock.step(-5.5)
    assert "clock-back" in refused(writer, "r2").problem
    writer.close()
    (said,) = records(ledger, "log.halted")
    assert (said["cause"], said["behind_ms"]) == ("clock-back", 5_500)
    assert len(records(ledger, "llm.request")) == 1


def test_a_clock_that_is_corrected_by_seconds_halts_nothing(ledger: Ledger) -> None:
    clock = SteppingClock()
    writer = writer_of(ledger, clock=clock, tick_s=30)
    for number in range(3):
        clock.go(60)
        clock.step(-4.5)
        opened = writer.submit(request(f"r{number}")).result(PATIENCE_S)
        writer.submit(response(f"r{number}", parent=opened.seq)).result(PATIENCE_S)
    assert writer.healthy
    writer.close()
    assert not records(ledger, "clock.step")


def test_a_clock_that_creeps_back_is_caught_by_the_newest_record(
    ledger: Ledger,
) -> None:
    clock = SteppingClock()
    writer = writer_of(ledger, clock=clock, tick_s=30)
    writer.submit(request("r1")).result(PATIENCE_S)
    clock.step(-4)
    writer.submit(request("r2")).result(PATIENCE_S)
    clock.step(-4)
    assert "clock-back" in refused(writer, "r3").problem
    writer.close()


def test_a_clock_that_jumps_ahead_is_on_record_and_halts_nothing(
    ledger: Ledger,
) -> None:
    clock = SteppingClock()
    writer = writer_of(ledger, clock=clock, tick_s=30)
    clock.go(3_600)
    writer.submit(refusal()).result(PATIENCE_S)
    clock.step(7.25)
    writer.submit(refusal()).result(PATIENCE_S)
    writer.submit(refusal()).result(PATIENCE_S)
    assert writer.healthy
    writer.close()
    (said,) = records(ledger, "clock.step")
    assert said["ahead_ms"] == 7_250
    assert said["to"] > said["from"]


def test_a_jump_ahead_is_recorded_although_nobody_asks(ledger: Ledger) -> None:
    clock = SteppingClock()
    writer = writer_of(ledger, clock=clock)
    clock.step(60)
    until(lambda: records(ledger, "clock.step"))
    writer.close()


def test_a_clock_behind_the_newest_record_halts_whoever_opens(ledger: Ledger) -> None:
    clock = SteppingClock()
    clock.step(-6)
    halt = guard(ledger, clock=clock).examine()
    assert halt is not None
    assert halt.cause is Cause.CLOCK_BACK


def test_an_older_database_halts_and_both_heads_are_on_record(
    ledger: Ledger, tmp_path: Path
) -> None:
    writer = writer_of(ledger)
    writer.submit(refusal()).result(PATIENCE_S)
    writer.close()
    yesterday = tmp_path / "yesterday"
    shutil.copytree(ledger.home, yesterday)
    writer = writer_of(ledger)
    opened = writer.submit(request("r1")).result(PATIENCE_S)
    writer.submit(response("r1", parent=opened.seq)).result(PATIENCE_S)
    writer.close()
    put_back(ledger, yesterday)
    assert ledger.count() == 2
    halt = guard(ledger).examine()
    assert halt is not None
    assert halt.cause is Cause.ROLLED_BACK
    (said,) = records(ledger, "log.halted")
    assert (said["kept_size"], said["found_size"]) == ("4", "2")
    assert said["kept_root"] != said["found_root"]
    release(ledger)
    (let_go,) = records(ledger, "log.released")
    assert let_go["kept_root"] == said["kept_root"]
    # The head that was given up is missed no more, even if its copy stayed.
    assert guard(ledger).examine() is None


def put_back(ledger: Ledger, folder: Path) -> None:
    """Replace the database by that of another time, all of its files."""
    ledger.engine.dispose()
    for ending in ("", "-wal", "-shm"):
        (ledger.home / f"sallyport.db{ending}").unlink(missing_ok=True)
        old = folder / f"sallyport.db{ending}"
        if old.exists():
            shutil.copy2(old, ledger.home)


def test_an_older_database_that_grew_again_is_no_other(
    ledger: Ledger, tmp_path: Path
) -> None:
    writer = writer_of(ledger)
    writer.close()
    yesterday = tmp_path / "yesterday"
    shutil.copytree(ledger.home, yesterday)
    for number in range(3):
        ledger.append([refusal(f"n{number}")])
    writer = writer_of(ledger)
    writer.close()
    put_back(ledger, yesterday)
    for number in range(5):
        ledger.append([refusal(f"other{number}")])
    halt = guard(ledger).examine()
    assert halt is not None
    assert halt.cause is Cause.ROLLED_BACK


def test_a_release_cut_off_before_the_copy_of_the_head_is_whole(
    ledger: Ledger, tmp_path: Path
) -> None:
    writer = writer_of(ledger)
    writer.close()
    shutil.copytree(ledger.home, tmp_path / "yesterday")
    ledger.append([refusal()])
    writer = writer_of(ledger)
    writer.close()
    put_back(ledger, tmp_path / "yesterday")
    guard(ledger).examine()
    kept = (ledger.home / "ledger.head").read_bytes()
    release(ledger)
    (ledger.home / "ledger.head").write_bytes(kept)
    assert guard(ledger).examine() is None


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"no note\n"])
def test_a_copy_of_the_head_that_cannot_be_read_halts_nothing(
    ledger: Ledger, content: bytes
) -> None:
    (ledger.home / "ledger.head").write_bytes(content)
    assert guard(ledger).examine() is None


def test_a_copy_of_the_head_that_cannot_be_written_halts_nothing(
    ledger: Ledger,
) -> None:
    (ledger.home / "ledger.head").mkdir()
    writer = writer_of(ledger)
    writer.submit(refusal()).result(PATIENCE_S)
    writer.close()
    assert halt_of(ledger) is None
    assert [p.name for p in ledger.home.glob("*.partial")] == []


def test_room_below_the_limit_is_said_once_and_once_when_it_is_over(
    ledger: Ledger, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", size="8m") as disk:
        watched = disk / "home"
        ledger.engine.dispose()
        shutil.copytree(ledger.home, watched)
        engine = connect(watched / "sallyport.db")
        moved = Ledger(engine=engine, log=ledger.log, keys=ledger.keys, home=watched)
        low = guard(moved, low_percent=50)
        writer = writer_of(moved, guard=low)
        with filled(disk, room_bytes=2 * 2**20):
            until(lambda: writer.standing.state is State.LOW)
            until(lambda: records(moved, "log.low"))
            writer.close()
            # The next writer knows that it has been said.
            writer = writer_of(moved, guard=guard(moved, low_percent=50))
            writer.submit(refusal()).result(PATIENCE_S)
        until(lambda: records(moved, "log.recovered"))
        assert writer.standing.state is State.OK
        writer.close()
        (said,) = records(moved, "log.low")
        assert said["free_bytes"] < said["limit_bytes"]
        assert len(records(moved, "log.recovered")) == 1
        engine.dispose()


def test_a_full_disk_is_on_record_by_the_room_that_was_kept_back(
    ledger: Ledger, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", size="8m") as disk:
        home = disk / "home"
        ledger.engine.dispose()
        shutil.copytree(ledger.home, home)
        engine = connect(home / "sallyport.db")
        moved = Ledger(engine=engine, log=ledger.log, keys=ledger.keys, home=home)
        watch = guard(moved, ballast_bytes=2**20)
        watch.begin()
        assert (home / "ledger.ballast").stat().st_blocks * 512 >= 2**20
        writer = writer_of(moved, guard=watch, tick_s=30)
        acknowledged = []
        with filled(disk, room_bytes=128 * 1024):
            for number in range(10_000):
                future = writer.submit(request(f"r{number}"))
                if future.exception(PATIENCE_S) is not None:
                    break
                acknowledged.append(future.result().seq)
            assert writer.standing.cause == "disk-full"
            # It is on record although the disk is as full as before.
            assert [r["cause"] for r in records(moved, "log.halted")] == ["disk-full"]
            assert not (home / "ledger.halted").exists()
            assert not (home / "ledger.ballast").exists()
            with pytest.raises(StorageFaultError):
                release(moved, guard=watch)
            assert not (home / "ledger.ballast").exists()
        release(moved, guard=watch)
        assert (home / "ledger.ballast").exists()
        writer.close()
        found = {int(r["seq"]) for r in records(moved, "llm.request")}
        assert set(acknowledged) <= found
        with engine.connect() as connection:
            fsck(connection, log=moved.log)
        engine.dispose()


def test_a_server_does_not_begin_without_room_to_keep_back(ledger: Ledger) -> None:
    with pytest.raises(StorageFaultError) as caught:
        guard(ledger, ballast_bytes=2**40).begin()
    assert caught.value.code == "storage-fault"
    assert list(ledger.home.glob("ledger.ballast*")) == []
    assert halt_of(ledger) is None


def test_a_mark_without_a_record_halts_and_its_release_records_both(
    ledger: Ledger,
) -> None:
    said = {"cause": "disk-full", "halted": "2026-11-22T08:04:29.123456Z"}
    marker = ledger.home / "ledger.halted"
    marker.write_text(json.dumps({**said, "details": {"error": "SQLITE_FULL"}}))
    halt = guard(ledger).examine()
    assert halt is not None
    assert (halt.number, halt.cause, halt.recorded) == (1, Cause.DISK_FULL, False)
    with pytest.raises(AuditUnavailableError):
        ledger.append([refusal()])
    release(ledger)
    assert not marker.exists()
    assert [r["error"] for r in records(ledger, "log.halted")] == ["SQLITE_FULL"]
    assert len(records(ledger, "log.released")) == 1
    ledger.append([refusal()])


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 9_000, b"[]", b'{"cause":1}'])
def test_a_mark_that_cannot_be_read_halts_all_the_same(
    ledger: Ledger, content: bytes
) -> None:
    (ledger.home / "ledger.halted").write_bytes(content)
    halt = guard(ledger).examine()
    assert halt is not None
    assert halt.cause is Cause.IO_ERROR
    release(ledger)
    assert halt_of(ledger) is None


def test_a_server_that_finds_a_mark_puts_it_on_record(ledger: Ledger) -> None:
    (ledger.home / "ledger.halted").touch()
    watch = guard(ledger)
    watch.begin()
    halt = halt_of(ledger)
    assert halt is not None
    assert halt.recorded
    assert not (ledger.home / "ledger.halted").exists()


def test_a_mark_that_is_taken_away_ends_no_halt_of_a_running_writer(
    ledger: Ledger,
) -> None:
    writer = writer_of(ledger, tick_s=30)
    drop(ledger, "halt_no_delete")
    (ledger.home / "ledger.halted").mkdir()
    refused(writer, "r1")
    (ledger.home / "ledger.halted").rmdir()
    assert not writer.healthy
    writer.close()


def test_a_mark_that_is_on_record_already_counts_no_more(ledger: Ledger) -> None:
    (ledger.home / "ledger.halted").touch()
    left = (ledger.home / "ledger.halted").stat().st_mtime_ns
    guard(ledger).begin()
    release(ledger)
    # As if the process had died before it could take the mark away.
    (ledger.home / "ledger.halted").touch()
    os.utime(ledger.home / "ledger.halted", ns=(left, left))
    assert halt_of(ledger) is None
    ledger.append([refusal()])


def test_a_halted_writer_ends_what_a_crash_left_open_when_it_is_released(
    ledger: Ledger,
) -> None:
    ledger.append([request("left-open")])
    drop(ledger)
    guard(ledger).examine()
    writer = writer_of(ledger)
    assert not writer.healthy
    refused(writer, "r1")
    restore_triggers(ledger.home / "sallyport.db")
    release(ledger)
    until(lambda: writer.healthy)
    writer.close()
    (ended,) = records(ledger, "llm.aborted")
    assert ended["request_id"] == "left-open"
    assert records(ledger, "log.resumed")[0]["refused"] == 1


def test_nothing_is_appended_while_the_ledger_is_halted(ledger: Ledger) -> None:
    drop(ledger)
    guard(ledger).examine()
    with (
        ledger.engine.connect() as connection,
        pytest.raises(AuditUnavailableError) as caught,
    ):
        check_not_halted(connection)
    assert "changed-triggers" in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM halt",
        "UPDATE halt SET cause = 'disk-full'",
        "UPDATE halt SET released_seq = halted_seq",
        "UPDATE halt SET released_seq = 0",
        "UPDATE halt SET released_seq = NULL",
        "INSERT INTO halt VALUES (2, 'io-error', 1, 't', NULL)",
        "INSERT OR REPLACE INTO halt VALUES (1, 'io-error', 1, 't', 1)",
    ],
)
def test_the_table_of_halts_refuses_every_change_but_a_release(
    ledger: Ledger, statement: str
) -> None:
    (ledger.home / "ledger.halted").touch()
    guard(ledger).begin()
    with ledger.engine.connect() as connection:
        with pytest.raises(Exception, match=r"halt"):
            connection.execute(text(statement))
        connection.rollback()
    halt = halt_of(ledger)
    assert halt is not None
    assert halt.cause is Cause.IO_ERROR


def test_fsck_finds_a_halt_that_was_closed_without_a_release(ledger: Ledger) -> None:
    (ledger.home / "ledger.halted").touch()
    guard(ledger).begin()
    drop(ledger, "halt_close_only")
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE halt SET released_seq = 1"))
    with ledger.engine.connect() as connection, pytest.raises(DigestMismatchError):
        fsck(connection, log=ledger.log)
