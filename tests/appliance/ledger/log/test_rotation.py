"""The ledger goes on under a new key, and whoever has the new one has no other."""

import datetime as dt
import json
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text

from appliance.db.session import open_database
from appliance.errors import HostNotReadyError
from appliance.ledger.exports import receipt_verifier, verifier
from appliance.ledger.exports.export import export
from appliance.ledger.exports.receipt_export import Selection, export_receipts
from appliance.ledger.log.commission import open_ledger
from appliance.ledger.log.head import read_open_epoch, read_verified_head
from appliance.ledger.log.keys import LedgerKeys, create_key, load_key
from appliance.ledger.log.rotation import destroy_closed_keys, read_epochs, rotate
from appliance.ledger.recover import fsck
from bundleformat.errors import (
    Error,
    RollbackError,
    SignatureError,
    StorageFaultError,
)
from tests.support.killing import FILE_EVENTS, SURVIVED, Countdown, in_child
from tests.support.ledgers import NOW, TOOL, Ledger, refusal, request, response


def _keys(ledger: Ledger) -> list[str]:
    return sorted(path.name for path in (ledger.home / "keys").iterdir())


def _export(ledger: Ledger, folder: Path) -> Path:
    return export(
        ledger.engine, folder, log=ledger.log, keys=ledger.keys, now=NOW, tool=TOOL
    ).folder


def test_a_key_that_was_put_in_the_place_of_the_next_signs_nothing(
    ledger: Ledger,
) -> None:
    ledger.rotate()
    path = ledger.home / "keys" / "ledger.1.key"
    path.unlink()
    create_key(path)
    with ledger.engine.connect() as connection, pytest.raises(SignatureError):
        open_ledger(connection, key_path=ledger.home / "keys" / "ledger.key")


def test_without_the_open_key_nothing_is_appended(ledger: Ledger) -> None:
    ledger.rotate()
    (ledger.home / "keys" / "ledger.1.key").unlink()
    fresh = LedgerKeys(ledger.home / "keys" / "ledger.key")
    with ledger.engine.connect() as connection, pytest.raises(HostNotReadyError):
        fresh.signer(read_open_epoch(connection))


def test_a_database_that_was_put_back_has_no_key_any_more(
    ledger: Ledger, tmp_path: Path
) -> None:
    ledger.engine.dispose()
    with closing(sqlite3.connect(ledger.home / "sallyport.db")) as whole:
        whole.execute(f"VACUUM INTO '{tmp_path / 'old.db'}'")
    ledger.rotate()
    ledger.engine.dispose()
    for path in ledger.home.glob("sallyport.db*"):
        path.unlink()
    shutil.copy(tmp_path / "old.db", ledger.home / "sallyport.db")
    old = open_database(ledger.home / "sallyport.db")
    with old.connect() as connection, pytest.raises(RollbackError):
        open_ledger(connection, key_path=ledger.home / "keys" / "ledger.key")
    old.dispose()


def test_after_a_rotation_the_old_key_is_gone_and_the_ledger_is_whole(
    ledger: Ledger,
) -> None:
    ledger.append([request("r1")])
    before = ledger.signer.public_key().public_bytes_raw()
    ledger.rotate()
    ledger.append([response("r1", parent=1)])
    assert _keys(ledger) == ["ledger.1.key"]
    after = load_key(ledger.home / "keys" / "ledger.1.key").public_key()
    assert after.public_bytes_raw() != before
    with ledger.engine.connect() as connection:
        report = fsck(connection, log=ledger.log)
        first, second = read_epochs(connection)
    assert (report.records, report.epochs, report.open_requests) == (4, 2, 0)
    assert (first.from_size, first.to_size, second.from_size) == (0, 3, 3)
    assert (first.vkey, second.rotate_seq) == (ledger.log.vkey, 2)
    assert first.destroyed_ts is not None
    assert (second.to_size, second.destroyed_ts) == (None, None)


def test_the_record_of_a_rotation_names_the_next_key_under_the_old_one(
    ledger: Ledger,
) -> None:
    ledger.rotate()
    with ledger.engine.connect() as connection:
        record, note = connection.execute(
            text("SELECT bytes, note FROM record, checkpoint WHERE seq=1 AND size=2")
        ).one()
        opened = read_open_epoch(connection)
    said = json.loads(record)
    assert (said["event"], said["epoch"], said["vkey"]) == (
        "key.rotate",
        1,
        opened.vkey,
    )
    key = verifier.parse_key(ledger.log.vkey)
    assert verifier.open_note(note.encode(), [key], "note")[0].split("\n")[1] == "2"


def test_another_process_goes_on_under_the_key_that_a_server_made(
    ledger: Ledger,
) -> None:
    other = LedgerKeys(ledger.home / "keys" / "ledger.key")
    with ledger.engine.connect() as connection:
        other.signer(read_open_epoch(connection))
    rotate(ledger.engine, log=ledger.log, keys=other, now=NOW, reason="start")
    ledger.append([refusal()])
    with ledger.engine.connect() as connection:
        assert fsck(connection, log=ledger.log).epochs == 2


def test_every_rotation_is_verified_from_the_first_key(
    ledger: Ledger, tmp_path: Path
) -> None:
    held = []
    for number in range(5):
        ledger.append([request(f"r{number}")])
        folder = _export(ledger, tmp_path / f"out{number}")
        held.append(folder / "checkpoint.txt")
        ledger.rotate()
    last = _export(ledger, tmp_path / "last")
    verdict = verifier.verify(last, key=ledger.log.vkey, held=tuple(held))
    assert (verdict.status, verdict.size) == (verifier.OK, 17)
    assert "by key 5, new in record 15" in verdict.proved[0]
    lines = (last / "epoch-keys.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4, 5]


def test_receipts_of_imports_are_verified_from_the_first_key(
    ledger: Ledger, tmp_path: Path
) -> None:
    from tests.appliance.ledger.exports.test_receipts import refused  # noqa: PLC0415

    for _ in range(3):
        ledger.append([refused()])
        ledger.rotate()
    folder = tmp_path / "out"
    export_receipts(
        ledger.engine,
        folder,
        selection=Selection(),
        log=ledger.log,
        keys=ledger.keys,
        now=NOW,
        tool=TOOL,
        account={},
    )
    receipt_verifier.verify(folder, ledger.log.vkey)
    path = folder / "epoch-keys.jsonl"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(receipt_verifier.CheckError) as caught:
            receipt_verifier.verify(folder, ledger.log.vkey)
        assert caught.value.args[0] == receipt_verifier.CHAIN


class _Points:
    """Kills this process at the next change to the disk or the database."""

    def __init__(self, engine: Engine, countdown: Countdown) -> None:
        event.listen(engine, "before_cursor_execute", countdown.pass_point)
        event.listen(engine, "commit", countdown.pass_point)
        event.listen(engine, "begin", countdown.pass_point)

        def on_audit(name: str, _arguments: object) -> None:
            if name in FILE_EVENTS | {"os.link"}:
                countdown.pass_point()

        sys.addaudithook(on_audit)


def _rotate_and_die(home: Path, points: int) -> int:
    def deed() -> int:
        engine = open_database(home / "sallyport.db")
        with engine.connect() as connection:
            log, keys = open_ledger(connection, key_path=home / "keys" / "ledger.key")
        _Points(engine, Countdown(points))
        rotate(engine, log=log, keys=keys, now=NOW, reason="start")
        return SURVIVED

    return in_child(deed)


def _moments(ledger: Ledger) -> Iterator[int]:
    """Kill rotations ever later, until one survives."""
    ledger.engine.dispose()
    for points in range(200):
        status = _rotate_and_die(ledger.home, points)
        yield points
        if status == SURVIVED:
            return
        assert status == -signal.SIGKILL
    pytest.fail("a rotation never came to its end")


def test_a_rotation_that_is_killed_anywhere_leaves_a_ledger_that_verifies(
    ledger: Ledger, tmp_path: Path
) -> None:
    ledger.append([request("r1")])
    rotations = set()
    for points in _moments(ledger):
        engine = open_database(ledger.home / "sallyport.db")
        with engine.connect() as connection:
            path = ledger.home / "keys" / "ledger.key"
            log, keys = open_ledger(connection, key_path=path)
            report = fsck(connection, log=log)
            read_verified_head(connection, log=log)
        rotations.add(report.epochs)
        folder = tmp_path / f"out{points}"
        export(engine, folder, log=log, keys=keys, now=NOW, tool=TOOL)
        assert verifier.verify(folder, key=log.vkey).status == verifier.OK
        # What the next start of a server does.
        rotate(engine, log=log, keys=keys, now=NOW, reason="start")
        with engine.connect() as connection:
            fsck(connection, log=log)
            *closed, opened = read_epochs(connection)
        assert all(epoch.destroyed_ts for epoch in closed)
        assert _keys(ledger) == [f"ledger.{opened.number}.key"]
        engine.dispose()
    assert len(rotations) > 20


def test_a_closed_key_that_could_not_be_unlinked_goes_the_next_time(
    ledger: Ledger, tmp_path: Path
) -> None:
    old = shutil.copy(ledger.home / "keys" / "ledger.key", tmp_path / "kept")
    ledger.rotate()
    shutil.copy(old, ledger.home / "keys" / "ledger.key")
    with ledger.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER epoch_key_close_only"))
        connection.execute(text("UPDATE epoch_key SET destroyed_ts = NULL"))
    destroy_closed_keys(ledger.engine, keys=ledger.keys, now=NOW)
    assert _keys(ledger) == ["ledger.1.key"]


def test_a_closed_key_that_cannot_be_removed_is_a_fault_until_it_is(
    ledger: Ledger,
) -> None:
    ledger.rotate()
    with ledger.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER epoch_key_close_only"))
        connection.execute(text("UPDATE epoch_key SET destroyed_ts = NULL"))
    in_the_way = ledger.home / "keys" / "ledger.key"
    in_the_way.mkdir()
    with pytest.raises(StorageFaultError):
        destroy_closed_keys(ledger.engine, keys=ledger.keys, now=NOW)
    with ledger.engine.connect() as connection:
        assert read_epochs(connection)[0].destroyed_ts is None
    in_the_way.rmdir()
    destroy_closed_keys(ledger.engine, keys=ledger.keys, now=NOW)
    with ledger.engine.connect() as connection:
        assert read_epochs(connection)[0].destroyed_ts is not None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE epoch_key SET vkey = (SELECT vkey FROM log_meta) WHERE epoch = 1",
        "UPDATE epoch_key SET to_size = 3, from_size = 0 WHERE epoch = 0",
        "UPDATE epoch_key SET rotate_seq = 0 WHERE epoch = 1",
        "DELETE FROM epoch_key WHERE epoch = 0",
        "DELETE FROM checkpoint WHERE size = 2",
    ],
)
def test_fsck_finds_a_chain_of_keys_that_was_changed(
    ledger: Ledger, change: str
) -> None:
    ledger.rotate()
    ledger.append([refusal()])
    with ledger.engine.begin() as connection:
        for name in ("no_delete", "close_only"):
            connection.execute(text(f"DROP TRIGGER epoch_key_{name}"))
        connection.execute(text("DROP TRIGGER checkpoint_no_delete"))
        connection.execute(text(change))
    with ledger.engine.connect() as connection, pytest.raises(Error):
        fsck(connection, log=ledger.log)


def test_a_rotation_of_the_next_day_is_said_with_its_time(ledger: Ledger) -> None:
    ledger.rotate(now=NOW + dt.timedelta(days=1))
    with ledger.engine.connect() as connection:
        first, _ = read_epochs(connection)
    assert first.destroyed_ts == "2026-11-23T08:04:29.123456Z"
