"""The writer answers only what is durable, and refuses everything when it cannot."""

import asyncio
import datetime as dt
import json
import resource
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import OperationalError

from appliance.db.session import connect
from appliance.errors import AuditUnavailableError
from appliance.ledger.log.append import Receipt
from appliance.ledger.records.events import Draft, Event
from appliance.ledger.recover import fsck
from appliance.ledger.writer import LedgerWriter
from tests.support.ledgers import (
    NOW,
    FixedClock,
    Ledger,
    refusal,
    release,
    request,
    response,
    writer_of,
)

PATIENCE_S = 20


@pytest.fixture
def writer(ledger: Ledger) -> Iterator[LedgerWriter]:
    made = writer_of(ledger)
    yield made
    made.close()


class Disk:
    """Limits the pages a connection may use, as a full disk would."""

    def __init__(self, engine: Engine) -> None:
        self.full = False
        event.listen(engine, "begin", self._on_begin)

    def _on_begin(self, connection: Any) -> None:
        limit = 1 if self.full else 2**30
        connection.exec_driver_sql(f"PRAGMA max_page_count={limit}")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def _refused(future: "Future[Receipt]") -> bool:
    return isinstance(future.exception(PATIENCE_S), AuditUnavailableError)


def _events(ledger: Ledger) -> list[str]:
    with ledger.engine.connect() as connection:
        found = connection.execute(text("SELECT event FROM record ORDER BY seq"))
        return list(found.scalars())


def _fields(ledger: Ledger, name: str) -> dict[str, Any]:
    """Return the newest record of an event."""
    with ledger.engine.connect() as connection:
        found = connection.execute(
            text("SELECT bytes FROM record WHERE event = :name ORDER BY seq DESC"),
            {"name": name},
        )
        value: dict[str, Any] = json.loads(found.scalars().first() or b"{}")
    return value


def _trigger(connection: Connection, name: str) -> str:
    found = connection.execute(
        text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": name}
    )
    return str(found.scalar_one())


def _fill(ledger: Ledger) -> None:
    """Append small records until the last page holds no further one."""

    def append_forever() -> None:
        while True:
            ledger.append([refusal()])

    with pytest.raises(OperationalError, match="full"):
        append_forever()


def test_a_receipt_is_given_for_what_another_connection_can_read(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    receipt = writer.submit(request("r1")).result(PATIENCE_S)
    assert (receipt.seq, receipt.size) == (1, 2)
    assert _events(ledger) == ["log.created", "llm.request"]


def test_waiting_drafts_are_committed_in_groups_and_in_order(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    blocker = connect(Path(str(ledger.engine.url.database)))
    with blocker.begin():
        futures = [writer.submit(refusal(f"n{n}")) for n in range(50)]
        assert not any(future.done() for future in futures)
    blocker.dispose()
    receipts = [future.result(PATIENCE_S) for future in futures]
    assert [receipt.seq for receipt in receipts] == list(range(1, 51))
    assert ledger.count("checkpoint") <= 4


def test_sixteen_threads_append_one_unbroken_ledger(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    def work(name: int) -> None:
        for number in range(10):
            opened = writer.submit(request(f"{name}-{number}")).result(PATIENCE_S)
            ended = response(f"{name}-{number}", parent=opened.seq)
            writer.submit(ended).result(PATIENCE_S)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.engine.connect() as connection:
        report = fsck(connection, log=ledger.log)
    assert (report.records, report.open_requests) == (321, 0)


def test_another_process_may_append_between_two_groups(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    writer.submit(refusal()).result(PATIENCE_S)
    ledger.append([refusal("from-the-command-line")])
    assert writer.submit(refusal()).result(PATIENCE_S).seq == 3


def test_a_draft_that_contradicts_the_ledger_fails_alone(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    blocker = connect(Path(str(ledger.engine.url.database)))
    with blocker.begin():
        before = writer.submit(refusal())
        wrong = writer.submit(response("never-opened", parent=0))
        after = writer.submit(refusal())
    blocker.dispose()
    assert before.result(PATIENCE_S).seq < after.result(PATIENCE_S).seq
    assert isinstance(wrong.exception(PATIENCE_S), ValueError)
    assert writer.healthy
    assert ledger.count() == 3


def test_a_full_disk_refuses_everything_until_it_is_released(ledger: Ledger) -> None:
    disk = Disk(ledger.engine)
    writer = writer_of(ledger)
    opened = writer.submit(request("r1")).result(PATIENCE_S)
    disk.full = True
    _fill(ledger)
    written = ledger.count()
    assert _refused(writer.submit(response("r1", parent=opened.seq)))
    assert not writer.healthy
    assert _refused(writer.submit(request("r2")))
    assert ledger.count() == written

    disk.full = False
    _until(lambda: "log.halted" in _events(ledger))
    assert _refused(writer.submit(request("r3")))
    release(ledger)
    _until(lambda: writer.healthy)
    assert writer.submit(refusal()).result(PATIENCE_S).seq > written
    writer.close()
    expected = ["log.halted", "log.released", "log.resumed", "llm.aborted"]
    assert _events(ledger)[written : written + 4] == expected
    with ledger.engine.connect() as connection:
        assert fsck(connection, log=ledger.log).open_requests == 0
    assert _fields(ledger, "log.halted")["cause"] == "disk-full"
    resumed = _fields(ledger, "log.resumed")
    assert (resumed["cause"], resumed["refused"]) == ("disk-full", 3)


def test_an_io_error_refuses_and_leaves_a_whole_ledger(ledger: Ledger) -> None:
    writer = writer_of(ledger)
    writer.submit(refusal()).result(PATIENCE_S)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wal = ledger.home / "sallyport.db-wal"
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size, hard))
    try:
        failed = writer.submit(refusal("lost"))
        assert _refused(failed)
        assert not writer.healthy
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    _until(lambda: "log.halted" in _events(ledger))
    assert not writer.healthy
    release(ledger)
    _until(lambda: writer.healthy)
    writer.submit(refusal("after")).result(PATIENCE_S)
    writer.close()
    assert _fields(ledger, "log.halted")["error"] == "SQLITE_IOERR_WRITE"
    with ledger.engine.connect() as connection:
        fsck(connection, log=ledger.log)
        lost = text("SELECT 1 FROM record WHERE CAST(bytes AS TEXT) LIKE '%lost%'")
        assert connection.execute(lost).first() is None


def test_who_keeps_the_database_too_long_is_waited_for_and_halts_nothing(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    opened = writer.submit(request("r1")).result(PATIENCE_S)
    event.listen(ledger.engine, "begin", _be_busy)
    assert _refused(writer.submit(response("r1", parent=opened.seq)))
    assert writer.healthy
    event.remove(ledger.engine, "begin", _be_busy)
    writer.submit(refusal()).result(PATIENCE_S)
    # The outcome that was refused is not lost: the request is recorded as aborted.
    assert _events(ledger)[-2:] == ["llm.refused", "llm.aborted"]


def _be_busy(connection: Any) -> None:
    connection.exec_driver_sql("ROLLBACK")
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    raise OperationalError("BEGIN IMMEDIATE", (), busy)


def test_a_ledger_rolled_back_under_the_writer_halts_it(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    writer.submit(refusal()).result(PATIENCE_S)
    triggers = ("record_no_delete", "checkpoint_no_delete")
    with ledger.engine.begin() as connection:
        made = {name: _trigger(connection, name) for name in triggers}
        for name in triggers:
            connection.execute(text(f"DROP TRIGGER {name}"))
        connection.execute(text("DELETE FROM record WHERE seq = 1"))
        connection.execute(text("DELETE FROM checkpoint WHERE size = 2"))
        # Put back within the transaction: nobody ever sees that they were gone.
        for sql in made.values():
            connection.execute(text(sql))
    assert _refused(writer.submit(refusal()))
    assert writer.standing.cause == "not-continuing"
    _until(lambda: "log.halted" in _events(ledger))
    assert _refused(writer.submit(refusal()))
    assert _events(ledger) == ["log.created", "log.halted"]


def test_a_rewritten_head_stops_the_writer_from_starting(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER checkpoint_no_update"))
        connection.execute(text("UPDATE checkpoint SET note = 'x'"))
    with pytest.raises(AuditUnavailableError):
        writer_of(ledger)


class Calendar(FixedClock):
    """A clock whose day is set by hand."""

    def __init__(self) -> None:
        self.day = 0

    def now(self) -> dt.datetime:
        return NOW + dt.timedelta(days=self.day)


def test_a_new_day_begins_with_a_new_key_also_when_nothing_is_recorded(
    ledger: Ledger,
) -> None:
    clock = Calendar()
    writer = writer_of(ledger, clock=clock)
    writer.submit(refusal()).result(PATIENCE_S)
    clock.day = 1
    _until(lambda: ledger.count("epoch_key") == 2)
    clock.day = 3
    writer.submit(refusal()).result(PATIENCE_S)
    writer.close()
    assert [name for name in _events(ledger) if name != "clock.step"] == [
        *("log.created", "llm.refused", "key.rotate"),
        *("key.rotate", "llm.refused"),
    ]
    assert [path.name for path in (ledger.home / "keys").iterdir()] == ["ledger.2.key"]
    with ledger.engine.connect() as connection:
        assert fsck(connection, log=ledger.log).epochs == 3


def test_a_key_that_cannot_be_made_halts_the_writer_until_its_release(
    ledger: Ledger,
) -> None:
    clock = Calendar()
    writer = writer_of(ledger, clock=clock)
    writer.submit(refusal()).result(PATIENCE_S)
    kept = ledger.home / "kept"
    (ledger.home / "keys").rename(kept)
    (ledger.home / "keys").write_bytes(b"in the way")
    clock.day = 1
    _until(lambda: not writer.healthy)
    assert _refused(writer.submit(refusal()))
    (ledger.home / "keys").unlink()
    kept.rename(ledger.home / "keys")
    _until(lambda: "log.halted" in _events(ledger))
    release(ledger)
    _until(lambda: writer.healthy)
    writer.submit(refusal()).result(PATIENCE_S)
    writer.close()
    assert "key.rotate" in _events(ledger)
    with ledger.engine.connect() as connection:
        fsck(connection, log=ledger.log)


def test_a_closed_writer_commits_what_waits_and_refuses_the_rest(
    ledger: Ledger,
) -> None:
    writer = writer_of(ledger)
    futures = [writer.submit(refusal()) for _ in range(300)]
    writer.close()
    assert [future.result(0).seq for future in futures] == list(range(1, 301))
    assert _refused(writer.submit(refusal()))
    assert not writer.healthy
    writer.close()
    assert ledger.count() == 301


async def _cancelled(writer: LedgerWriter, draft: Draft, *, blocked: Engine) -> None:
    """Await ``draft`` and give up while another process holds the database."""
    with blocked.begin():
        task = asyncio.create_task(writer.append(draft))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_a_request_whose_caller_went_away_is_recorded_as_aborted(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    blocker = connect(Path(str(ledger.engine.url.database)))
    asyncio.run(_cancelled(writer, request("r1"), blocked=blocker))
    blocker.dispose()
    _until(lambda: Event.LLM_ABORTED in _events(ledger))
    assert ledger.count("open_request") == 0


def test_an_outcome_is_recorded_though_its_caller_went_away(
    ledger: Ledger, writer: LedgerWriter
) -> None:
    opened = writer.submit(request("r1")).result(PATIENCE_S)
    blocker = connect(Path(str(ledger.engine.url.database)))
    ended = response("r1", parent=opened.seq)
    asyncio.run(_cancelled(writer, ended, blocked=blocker))
    blocker.dispose()
    _until(lambda: Event.LLM_RESPONSE in _events(ledger))
    assert ledger.count("open_request") == 0


def test_awaiting_gives_the_receipt(writer: LedgerWriter) -> None:
    assert asyncio.run(writer.append(refusal())).seq == 1
