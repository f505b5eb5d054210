"""Stored bodies: what is in their file, who reads it, and what a crash leaves."""

import asyncio
import datetime as dt
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.bodies.keeper import BodyKeeper
from appliance.bodies.vault import Body, Mark, Part, Vault
from appliance.clock import SystemClock
from appliance.errors import BodiesUnavailableError, HostNotReadyError
from bundleformat.errors import DigestMismatchError, StorageFaultError

CANARY = b"canary-93ad"
PARTS: tuple[Part, ...] = ("request", "response")
NOVEMBER = dt.datetime(2026, 11, 30, 23, 59, tzinfo=dt.UTC)
BODY = Body(
    team="claims", request_id="r-1", part="request", salt=b"s" * 32, data=CANARY * 9
)


def opened(folder: Path, *, origin: str = "sallyport/audit/1") -> Vault:
    return Vault(
        folder / "bodies.db", key_path=folder / "keys" / "bodies.key", origin=origin
    )


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    made = opened(tmp_path)
    yield made
    made.close()


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "bodies.db") as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


def change(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "bodies.db") as connection:
        connection.execute(statement)
    connection.close()


def test_a_file_whose_key_is_gone_is_not_opened(tmp_path: Path, vault: Vault) -> None:
    vault.put([BODY], now=NOVEMBER)
    (tmp_path / "keys" / "bodies.key").unlink()
    with pytest.raises(HostNotReadyError):
        opened(tmp_path)
    assert not (tmp_path / "keys" / "bodies.key").exists()


@pytest.mark.usefixtures("vault")
def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys" / "bodies.key").chmod(0o640)
    with pytest.raises(HostNotReadyError):
        opened(tmp_path)


@pytest.mark.usefixtures("vault")
def test_a_file_of_another_release_is_refused(tmp_path: Path) -> None:
    change(tmp_path, "PRAGMA user_version = 2")
    with pytest.raises(HostNotReadyError):
        opened(tmp_path)


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "bodies.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFaultError):
        opened(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE body SET ct = zeroblob(length(ct))",
        "UPDATE body SET nonce = zeroblob(12)",
        "UPDATE body SET wrapped_dek = zeroblob(60)",
        "UPDATE body SET wrapped_dek = zeroblob(0)",
        "UPDATE kek SET wrapped = zeroblob(60)",
        "UPDATE kek SET team = 'other'",
        "UPDATE kek SET month = '2026-12'",
        "UPDATE body SET part = 'response'",
        "UPDATE body SET request_id = 'r-2'",
    ],
)
def test_a_row_that_was_changed_or_moved_is_not_read(
    tmp_path: Path, vault: Vault, statement: str
) -> None:
    vault.put([BODY], now=NOVEMBER)
    change(tmp_path, statement)
    moved = [(name, part) for name in ("r-1", "r-2") for part in PARTS]
    with pytest.raises(DigestMismatchError):
        assert [vault.get(name, part) for name, part in moved] == []


def test_a_body_of_another_ledger_is_not_read(tmp_path: Path, vault: Vault) -> None:
    vault.put([BODY], now=NOVEMBER)
    other = opened(tmp_path, origin="sallyport/audit/2")
    with pytest.raises(DigestMismatchError):
        other.get("r-1", "request")
    other.close()


def test_a_body_is_read_as_it_was_put_and_no_other_is_there(vault: Vault) -> None:
    answer = replace(BODY, part="response", data=b"")
    vault.put([BODY, answer], now=NOVEMBER)
    assert vault.get("r-1", "request") == BODY
    assert vault.get("r-1", "response") == answer
    assert vault.get("r-2", "request") is None


def test_one_that_is_put_again_is_replaced(vault: Vault) -> None:
    vault.put([BODY], now=NOVEMBER)
    vault.put([replace(BODY, data=b"more")], now=NOVEMBER)
    found = vault.get("r-1", "request")
    assert found is not None
    assert found.data == b"more"


def test_no_text_and_no_salt_is_in_any_file_which_only_its_owner_reads(
    tmp_path: Path, vault: Vault
) -> None:
    vault.put([BODY], now=NOVEMBER)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"bodies.db", "bodies.key"}
    for path in files:
        data = path.read_bytes()
        assert CANARY not in data, path
        assert BODY.salt not in data, path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_each_team_and_month_has_a_key_and_each_body_its_own(
    tmp_path: Path, vault: Vault
) -> None:
    other = replace(BODY, team="other", request_id="r-2")
    later = replace(BODY, request_id="r-3")
    again = replace(BODY, part="response")
    vault.put([BODY, other, again], now=NOVEMBER)
    vault.put([later], now=NOVEMBER + dt.timedelta(minutes=1))
    assert sorted(rows(tmp_path, "SELECT team, month FROM kek")) == [
        ("claims", "2026-11"),
        ("claims", "2026-12"),
        ("other", "2026-11"),
    ]
    sealed = rows(tmp_path, "SELECT nonce, wrapped_dek FROM body")
    assert len({nonce for nonce, _ in sealed}) == len(sealed) == 4


def test_a_sweep_removes_what_has_no_record_and_looks_only_once(
    vault: Vault,
) -> None:
    vault.put([BODY, replace(BODY, request_id="r-2")], now=NOVEMBER)
    looked: list[str] = []

    def is_recorded(request_id: str, part: Part) -> bool:
        looked.append(f"{request_id} {part}")
        return request_id == "r-1"

    assert vault.sweep(is_recorded) == 1
    assert vault.sweep(is_recorded) == 0
    assert looked == ["r-1 request", "r-2 request"]
    assert vault.get("r-2", "request") is None
    assert vault.get("r-1", "request") == BODY


def test_a_file_from_before_there_was_anything_to_destroy_is_used_as_it_is(
    tmp_path: Path, vault: Vault
) -> None:
    vault.put([BODY], now=NOVEMBER)
    vault.close()
    change(tmp_path, "DROP TABLE destroyed")
    again = opened(tmp_path)
    assert (again.get("r-1", "request"), again.destroyed_up_to()) == (BODY, None)
    again.close()


def test_what_is_destroyed_is_gone_with_its_key_and_noted_once_it_is(
    vault: Vault,
) -> None:
    other = replace(BODY, request_id="r-2", team="legal")
    vault.put([BODY, replace(BODY, part="response"), other], now=NOVEMBER)
    assert list(vault.names(team="legal")) == [("r-2", "request")]
    mark = Mark(seq=7, leaf=bytes(32))
    assert vault.destroy(["r-1", "r-9"], mark=mark) == 2
    assert vault.destroy(["r-1"], mark=replace(mark, seq=8)) == 0
    assert list(vault.names()) == [("r-2", "request")]
    assert vault.destroyed_up_to() == replace(mark, seq=8)


HOLD_THE_CHECKPOINT_LOCK = """
import fcntl, sys, time
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX, 1, 121)
    print("held", flush=True)
    time.sleep(0.2)
"""
"""Another process that copies the log just then. Source: SQLite, "WAL-mode File
Format", section 2.2: WAL_CKPT_LOCK."""


def test_what_is_destroyed_while_another_process_copies_the_log_is_gone_as_well(
    tmp_path: Path, vault: Vault
) -> None:
    vault.put([BODY], now=NOVEMBER)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_CHECKPOINT_LOCK, tmp_path / "bodies.db-shm"],
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    assert vault.destroy(["r-1"], mark=Mark(seq=1, leaf=bytes(32))) == 1
    assert (tmp_path / "bodies.db-wal").stat().st_size < 10_000
    assert other.wait() == 0
    other.stdout.close()


def test_a_keeper_says_when_the_file_cannot_be_written_and_goes_on_when_it_can(
    tmp_path: Path,
) -> None:
    tmp_path.joinpath("bodies.db").mkdir()
    keeper = BodyKeeper(lambda: opened(tmp_path), clock=SystemClock())

    async def play() -> None:
        with pytest.raises(BodiesUnavailableError):
            await keeper.keep(BODY)
        tmp_path.joinpath("bodies.db").rmdir()
        many = [replace(BODY, request_id=f"r-{number}") for number in range(50)]
        await asyncio.gather(*(keeper.keep(body) for body in many))

    asyncio.run(play())
    keeper.close()
    assert rows(tmp_path, "SELECT count(*) FROM body") == [(50,)]
