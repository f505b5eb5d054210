"""Erasing kept bodies: what refuses it, what is left of them, and a kill anywhere."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance import body_erase_flow
from appliance.bodies import vault as vault_module
from appliance.body_erase_flow import Selection, erase_bodies
from appliance.body_flow import carry_out, open_vault
from appliance.compose import open_host
from appliance.host import OpenHost
from bundleformat.approval import Act
from tests.support.kept_bodies import CANARY, Archive, filled, keep_call
from tests.support.killing import SURVIVED, Countdown, in_child
from tests.support.publisher import Keys

BASIS = "GDPR 17(1)(b), ticket 991"
ERASE = ("audit", "body", "erase", "--basis", BASIS)
KEPT = {
    (name, part)
    for name in ("r-1", "r-2", "r-legal")
    for part in ("request", "response")
} | {("r-open", "request"), ("r-open", "response")}


def calls(host: OpenHost) -> None:
    keep_call(host, "r-1")
    keep_call(host, "r-2")
    keep_call(host, "r-legal", team="legal")
    keep_call(host, "r-digest", capture="digest")
    keep_call(host, "r-open", ended=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Keys]:
    return filled(tmp_path_factory.mktemp("archive"), calls)


@pytest.fixture
def archive(
    tmp_path: Path, made: tuple[Path, Keys], capsys: pytest.CaptureFixture[str]
) -> Archive:
    return Archive.copied(made, tmp_path, capsys)


def erased(archive: Archive, *chosen: str) -> tuple[int, dict[str, Any]]:
    approval = archive.approved(*ERASE, *chosen)
    return archive.run(*ERASE, *chosen, "--approval", approval)


@pytest.mark.parametrize(
    ("chosen", "code"),
    [
        (("r-none",), "missing"),
        (("r-1", "r-none"), "missing"),
        (("r-1", "r-digest"), "body-not-kept"),
        (("r-1", "r-open"), "conflict"),
        (("--subject", "nobody"), "missing"),
        (("--team", "nobody"), "missing"),
        (("--team", "claims", "--before", "2020-01-01"), "missing"),
    ],
)
def test_what_is_not_there_whole_is_not_erased(
    archive: Archive, chosen: tuple[str, ...], code: str
) -> None:
    ask = archive.home.parent / "ask.json"
    status, error = archive.run(*ERASE, *chosen, "--ask", str(ask))
    assert (status, error["code"]) == (3, code)
    assert not ask.exists()
    assert archive.rows() == KEPT
    assert archive.records()[-1]["event"] == "body.refused"
    assert archive.records()[-1]["code"] == code


@pytest.mark.parametrize(
    "chosen",
    [
        (),
        ("r-1", "--team", "claims"),
        ("--subject", "k", "--team", "claims"),
        ("r-1", "--before", "2026-11-22"),
        ("--team", "claims", "--before", "yesterday"),
    ],
)
def test_a_selection_that_is_not_clear_is_a_usage_error(
    archive: Archive, chosen: tuple[str, ...]
) -> None:
    before = archive.records()
    ask = archive.home.parent / "ask.json"
    status, error = archive.run(*ERASE, *chosen, "--ask", str(ask))
    assert (status, error["code"]) == (2, "usage")
    assert archive.records() == before


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"act": Act.BODY_READ}, "act"),
        ({"values": {"requests": "r-2"}}, "requests"),
        ({"values": {"requests": "r-1 r-2"}}, "requests"),
        ({"values": {"team": "claims"}}, "requests"),
        ({"values": {"requests": "r-1", "team": "claims"}}, "team"),
        ({"reason": "another basis"}, "reason"),
    ],
)
def test_an_approval_of_something_else_erases_nothing(
    archive: Archive, changed: dict[str, Any], where: str
) -> None:
    approval = archive.approved(*ERASE, "r-1", **changed)
    status, error = archive.run(*ERASE, "r-1", "--approval", approval)
    assert (status, error["code"]) == (3, "approval-unsuitable")
    assert error["where"] == where
    assert archive.rows() == KEPT
    assert archive.records("body.erased") == []


def test_more_requests_than_one_approval_may_name_are_refused(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_erase_flow, "MAX_REQUESTS", 1)
    ask = archive.home.parent / "ask.json"
    status, error = archive.run(*ERASE, "--team", "claims", "--ask", str(ask))
    assert (status, error["code"]) == (3, "limit-exceeded")


def test_an_erased_body_is_refused_by_every_command_and_stays_on_record(
    archive: Archive,
) -> None:
    read = ("audit", "body", "read", "r-1", "--reason", "a look")
    to_read = archive.approved(*read)
    kept = Path(to_read).read_bytes()
    status, value = erased(archive, "r-1")
    assert (status, value["requests"], value["bodies"]) == (0, ["r-1"], 2)
    Path(to_read).write_bytes(kept)
    for command in ((*read, "--approval", to_read), (*ERASE, "r-1", "--ask", "never")):
        status, error = archive.run(*command)
        assert (status, error["code"]) == (3, "body-erased")
    (record,) = archive.records("body.erased")
    assert (record["request_id"], record["team"]) == ("r-1", "claims")
    assert (record["parts"], record["basis"]) == (["request", "response"], BASIS)
    assert CANARY not in json.dumps(archive.records())


def sealed(home: Path, request_id: str) -> list[bytes]:
    """The wrapped keys and texts of a request, as they lie in the file."""
    with sqlite3.connect(home / "bodies.db") as connection:
        rows = connection.execute(
            "SELECT nonce, ct, wrapped_dek FROM body WHERE request_id = ?",
            (request_id,),
        ).fetchall()
    connection.close()
    return [blob for row in rows for blob in row]


def test_neither_text_nor_key_is_left_in_any_file_of_the_bodies(
    archive: Archive,
) -> None:
    host = open_host(archive.home)
    # Of every size: within a page, at its edge, over several.
    answers = [b"%d " % n * n for n in (1, 30, 600, 990, 1_400, 5_000)]
    for number, answer in enumerate(answers):
        keep_call(host, f"a-{number}", answer=answer)
    host.database.dispose()
    doomed = [f"a-{number}" for number in (0, 2, 3, 5)]
    blobs = [blob for name in doomed for blob in sealed(archive.home, name)]
    assert len(blobs) == 3 * 2 * len(doomed)
    before = b"".join(archive.files().values())
    assert all(blob[:12] in before for blob in blobs)
    assert erased(archive, *doomed)[0] == 0
    files = archive.files()
    assert (
        {"bodies.db"} <= files.keys() <= {"bodies.db", "bodies.db-wal", "bodies.db-shm"}
    )
    windows = {
        blob[at : at + 12] for blob in blobs for at in range(0, len(blob) - 11, 12)
    }
    data = b"".join(files.values())
    found = {data[at : at + 12] for at in range(len(data))} & windows
    assert found == set()
    assert {name for name, _ in archive.rows()} == {
        *(name for name, _ in KEPT),
        "a-1",
        "a-4",
    }


def test_a_teams_bodies_are_erased_up_to_when_it_was_asked(archive: Archive) -> None:
    approval = archive.approved(*ERASE, "--team", "claims")
    host = open_host(archive.home)
    keep_call(host, "r-later")
    host.database.dispose()
    status, value = archive.run(*ERASE, "--team", "claims", "--approval", approval)
    assert (status, value["requests"]) == (0, ["r-1", "r-2"])
    assert {name for name, _ in archive.rows()} == {"r-legal", "r-open", "r-later"}


def test_all_bodies_of_an_api_key_are_erased_whatever_its_team(
    archive: Archive,
) -> None:
    status, value = erased(archive, "--subject", "W1sF0wRy")
    assert (status, value["requests"]) == (0, ["r-1", "r-2", "r-legal"])
    assert {name for name, _ in archive.rows()} == {"r-open"}


def test_ledger_and_exports_verify_after_an_erasure(archive: Archive) -> None:
    folder = archive.home.parent
    earlier = folder / "earlier"
    key = archive.run("audit", "key")[1]["vkey"]
    assert archive.run("audit", "export", "--out", str(earlier))[0] == 0
    assert erased(archive, "r-1")[0] == 0
    later = folder / "later"
    assert archive.run("audit", "export", "--out", str(later))[0] == 0
    assert archive.run("audit", "fsck")[0] == 0
    for export in (earlier, later):
        done = subprocess.run(
            [
                sys.executable,
                "-I",
                str(export / "verify.py"),
                str(export),
                "--key",
                key,
            ],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_an_old_copy_of_the_file_that_is_put_back_is_erased_again(
    archive: Archive,
) -> None:
    copies = archive.files()
    assert erased(archive, "r-1")[0] == 0
    for path in archive.home.glob("bodies.db*"):
        path.unlink()
    for name, data in copies.items():
        (archive.home / name).write_bytes(data)
    assert archive.rows() == KEPT
    host = open_host(archive.home)
    assert carry_out(host) == 2
    assert carry_out(host) == 0
    host.database.dispose()
    assert {name for name, _ in archive.rows()} == {"r-2", "r-legal", "r-open"}


def test_a_mark_of_another_history_keeps_nothing_from_being_erased(
    archive: Archive,
) -> None:
    # An older ledger was put back and accepted: numbers come a second time.
    assert erased(archive, "r-2")[0] == 0
    with sqlite3.connect(archive.home / "bodies.db") as connection:
        connection.execute("UPDATE destroyed SET seq = 9999, leaf = zeroblob(32)")
    connection.close()
    assert erased(archive, "r-1")[1]["bodies"] == 2
    assert {name for name, _ in archive.rows()} == {"r-legal", "r-open"}


def test_a_reader_that_holds_on_to_the_file_is_a_fault_and_the_next_call_finishes(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_module, "BUSY_TIMEOUT_S", 0.05)
    approval = archive.approved(*ERASE, "r-1")
    reader = sqlite3.connect(archive.home / "bodies.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM body").fetchone()
    blobs = [blob[:12] for blob in sealed(archive.home, "r-1")]
    status, error = archive.run(*ERASE, "r-1", "--approval", approval)
    assert (status, error["code"]) == (4, "storage-fault")
    assert len(archive.records("body.erased")) == 1
    reader.close()
    host = open_host(archive.home)
    carry_out(host)
    vault = open_vault(host)
    mark = vault.destroyed_up_to()
    assert mark is not None
    assert mark.seq == int(archive.records("body.erased")[0]["seq"])
    vault.close()
    host.database.dispose()
    data = b"".join(archive.files().values())
    assert not any(blob in data for blob in blobs)


def killed_while_erasing(
    home: Path,
    envelope: bytes,
    *,
    at: str,
    points: int,
    of: tuple[str, ...] = ("r-1", "r-2"),
    basis: str = BASIS,
) -> int:
    """Erase in a child, killed before a statement: of those that begin so, the nth."""

    def deed() -> int:
        host = open_host(home)
        host.database.dispose()
        countdown = Countdown(points)

        def pass_statement(text: str) -> None:
            if text.startswith(at):
                countdown.pass_point()

        connect = sqlite3.connect

        def traced(*given: Any, **options: Any) -> sqlite3.Connection:
            made: sqlite3.Connection = connect(*given, **options)
            made.set_trace_callback(pass_statement)
            return made

        # This is a child of its own: whatever it opens from here on is counted.
        vars(sqlite3)["connect"] = vars(sqlite3.dbapi2)["connect"] = traced
        chosen = Selection(request_ids=of)
        erase_bodies(host, chosen, basis=basis, envelope=envelope)
        return SURVIVED

    return in_child(deed)


def check_whole_or_finished(archive: Archive, blobs: list[bytes]) -> bool:
    """Check what a restart makes of a crash; return whether the bodies are gone."""
    on_record = [record["request_id"] for record in archive.records("body.erased")]
    assert on_record in ([], ["r-1", "r-2"])
    host = open_host(archive.home)
    carry_out(host)
    vault = open_vault(host)
    for name in ("r-1", "r-2"):
        assert (vault.get(name, "request") is None) == bool(on_record)
    assert vault.get("r-legal", "request") is not None
    vault.close()
    host.database.dispose()
    data = b"".join(archive.files().values())
    assert all((blob[:12] in data) == (not on_record) for blob in blobs)
    return bool(on_record)


@pytest.mark.parametrize(
    ("at", "points", "gone"),
    [
        ("INSERT INTO record", 0, False),
        ("COMMIT", 0, False),
        ("DELETE FROM body", 0, True),
        ("COMMIT", 1, True),
        ("PRAGMA wal_checkpoint", 0, True),
        ("INSERT OR REPLACE INTO destroyed", 0, True),
        ("COMMIT", 2, True),
    ],
)
def test_killed_within_an_erasure_the_body_is_whole_or_the_restart_finishes_it(
    archive: Archive, at: str, points: int, *, gone: bool
) -> None:
    approval = Path(archive.approved(*ERASE, "r-1", "r-2")).read_bytes()
    blobs = [blob for name in ("r-1", "r-2") for blob in sealed(archive.home, name)]
    status = killed_while_erasing(archive.home, approval, at=at, points=points)
    assert status == -signal.SIGKILL
    assert check_whole_or_finished(archive, blobs) is gone


@pytest.mark.slow
def test_killed_at_any_statement_of_an_erasure_it_is_whole_or_finished(
    archive: Archive, tmp_path: Path
) -> None:
    approval = Path(archive.approved(*ERASE, "r-1", "r-2")).read_bytes()
    blobs = [blob for name in ("r-1", "r-2") for blob in sealed(archive.home, name)]
    outcomes, points = [], 0
    while True:
        home = shutil.copytree(archive.home, tmp_path / f"home-{points}")
        status = killed_while_erasing(home, approval, at="", points=points)
        here = Archive(home=home, keys=archive.keys, capture=archive.capture)
        outcomes.append(check_whole_or_finished(here, blobs))
        if status == SURVIVED:
            break
        assert status == -signal.SIGKILL
        points += 1
    assert outcomes == sorted(outcomes)
    assert {False, True} == set(outcomes)
