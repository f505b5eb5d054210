"""Prompts and answers in an export: what refuses them, and what proves them."""

import json
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from appliance.audit_media import open_export
from appliance.bodies.vault import Body
from appliance.body_flow import opened_vault
from appliance.compose import open_host
from appliance.host import OpenHost
from appliance.ledger.exports import verifier
from bundleformat.approval import Act
from tests.support.kept_bodies import (
    ANSWER,
    CANARY,
    PROMPT,
    WHY,
    Archive,
    filled,
    keep_call,
)
from tests.support.publisher import Keys, new_keys


def calls(host: OpenHost) -> None:
    keep_call(host, "r-1")
    keep_call(host, "r-2", team="legal")
    keep_call(host, "r-asked", answer=None)
    keep_call(host, "r-digest", capture="digest")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Keys]:
    return filled(tmp_path_factory.mktemp("archive"), calls)


@pytest.fixture
def archive(
    tmp_path: Path, made: tuple[Path, Keys], capsys: pytest.CaptureFixture[str]
) -> Archive:
    public = open_export.create_key(tmp_path / "auditor.key")
    (tmp_path / "auditor.pub").write_text(public + "\n")
    return Archive.copied(made, tmp_path, capsys)


def full(archive: Archive, *more: str) -> tuple[str, ...]:
    """The command that is asked for, and then done."""
    public = str(archive.home.parent / "auditor.pub")
    level = ("--redact", "full", "--recipient", public)
    return ("audit", "export", *level, "--reason", WHY, *more)


def out(archive: Archive) -> Path:
    return archive.home.parent / "june.age"


def refused(archive: Archive, *command: str, code: str, recorded: bool = True) -> Any:
    """Run what is refused: nothing is exported, and that it was is on record."""
    before = archive.records()
    status, error = archive.run(*command, "--out", str(out(archive)))
    assert (status, error["code"]) == (2 if code == "usage" else 3, code), error
    added = archive.records()[len(before) :]
    expected = [("body.refused", "log.exported", code)] if recorded else []
    said = [(each["event"], each.get("act"), each.get("code")) for each in added]
    assert said == expected
    assert not out(archive).exists()
    assert list(archive.home.glob(".export*")) == []
    return error


@pytest.mark.parametrize(
    ("left_out", "where"),
    [
        (("--recipient",), "--recipient"),
        (("--reason",), "--reason"),
        ((), "--ask"),
    ],
)
def test_prompts_and_answers_need_a_reason_an_auditor_and_two_people(
    archive: Archive, left_out: tuple[str, ...], where: str
) -> None:
    approval = archive.approved(*full(archive))
    words = list(full(archive))
    for option in left_out:
        place = words.index(option)
        del words[place : place + 2]
    leave = ("--approval", approval) if left_out else ()
    error = refused(archive, *words, *leave, code="usage", recorded=False)
    assert error["where"] == where


@pytest.mark.parametrize(
    ("option", "value"), [("--reason", "because"), ("--approval", "x"), ("--ask", "x")]
)
def test_leave_is_asked_for_prompts_and_answers_alone(
    archive: Archive, option: str, value: str
) -> None:
    command = ("audit", "export", option, value)
    error = refused(archive, *command, code="usage", recorded=False)
    assert error["expected"] == "--redact full"


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"act": Act.BODY_READ}, "act"),
        ({"reason": "another reason"}, "reason"),
        ({"asked_by": "uid 4294967294"}, "asked_by"),
        ({"values": {"redaction": "full", "recipient": "0" * 16}}, "recipient"),
        ({"root": "ab" * 32}, "root"),
    ],
)
def test_an_approval_of_something_else_is_refused(
    archive: Archive, changed: dict[str, Any], where: str
) -> None:
    approval = archive.approved(*full(archive), **changed)
    command = (*full(archive), "--approval", approval)
    error = refused(archive, *command, code="approval-unsuitable")
    assert error["where"] == where


@pytest.mark.parametrize(
    ("more", "where"),
    [
        (("--to", "999"), "last"),
        (("--to", "2"), "last"),
        (("--from", "1"), "first"),
        (("--team", "claims"), "team"),
        (("--event", "llm.request"), "event"),
    ],
)
def test_other_records_than_those_approved_are_refused(
    archive: Archive, more: tuple[str, str], where: str
) -> None:
    approval = archive.approved(*full(archive))
    command = (*full(archive, *more), "--approval", approval)
    error = refused(archive, *command, code="approval-unsuitable")
    assert error["where"] == where


def test_nobody_approves_of_records_that_are_not_there_yet(archive: Archive) -> None:
    ask = archive.home.parent / "ask.json"
    command = full(archive, "--to", "999")
    status, error = archive.run(*command, "--ask", str(ask))
    assert (status, error["code"], error["where"]) == (3, "missing", "--to")
    assert not ask.exists()
    assert archive.records()[-1]["event"] == "body.refused"


def test_a_day_that_went_on_since_ends_as_it_was_approved(archive: Archive) -> None:
    day = archive.records()[-1]["ts"][:10]
    approval = archive.approved(*full(archive, "--to", day))
    host = open_host(archive.home)
    keep_call(host, "r-later")
    host.database.dispose()
    command = (*full(archive, "--to", day), "--approval", approval)
    status, value = archive.run(*command, "--out", str(out(archive)))
    assert status == 0, value
    selection = archive.records()[-1]["selection"]
    newest = int(archive.records("approval.asked")[0]["seq"])
    assert selection == {"last": str(newest - 1)}
    earlier = (*full(archive, "--to", "2020-01-01"), "--approval", approval)
    out(archive).unlink()
    refused(archive, *earlier, code="missing")


def test_another_auditors_key_than_the_approved_one_is_refused(
    archive: Archive,
) -> None:
    approval = archive.approved(*full(archive))
    other = open_export.create_key(archive.home.parent / "other.key")
    (archive.home.parent / "auditor.pub").write_text(other)
    command = (*full(archive), "--approval", approval)
    error = refused(archive, *command, code="approval-unsuitable")
    assert error["where"] == "recipient"


def test_an_approval_by_another_key_or_of_another_kind_is_refused(
    archive: Archive,
) -> None:
    approval = archive.approved(*full(archive), signer=new_keys().compliance)
    command = (*full(archive), "--approval", approval)
    refused(archive, *command, code="signature-invalid")
    Path(approval).write_text("{}")
    refused(archive, *command, code="malformed")


def test_a_halted_ledger_gives_no_bodies(archive: Archive) -> None:
    approval = archive.approved(*full(archive))
    (archive.home / "ledger.halted").touch()
    before = len(archive.records())
    command = (*full(archive), "--approval", approval, "--out", str(out(archive)))
    status, error = archive.run(*command)
    assert (status, error["code"]) == (4, "audit-unavailable")
    assert len(archive.records()) == before
    assert not out(archive).exists()


def test_a_body_that_is_not_the_one_of_the_call_stops_the_export(
    archive: Archive,
) -> None:
    approval = archive.approved(*full(archive))
    with sqlite3.connect(archive.home / "bodies.db") as bodies:
        bodies.execute("DELETE FROM body WHERE request_id = 'r-1'")
    host = open_host(archive.home)
    body = Body(
        team="claims",
        request_id="r-1",
        part="response",
        salt=bytes(32),
        data=b"another",
    )
    with opened_vault(host) as vault:
        vault.put([body], now=host.clock.now())
    host.database.dispose()
    command = (*full(archive), "--approval", approval, "--out", str(out(archive)))
    status, error = archive.run(*command)
    assert (status, error["code"]) == (3, "digest-mismatch")
    events = [each["event"] for each in archive.records()[-2:]]
    assert events == ["log.exported", "body.refused"]
    assert not out(archive).exists()
    assert list(archive.home.glob(".export*")) == []


def test_what_is_asked_tells_the_officer_how_much_leaves_and_for_whom(
    archive: Archive,
) -> None:
    ask = archive.home.parent / "ask.json"
    status, value = archive.run(*full(archive, "--team", "claims"), "--ask", str(ask))
    assert status == 0
    assert value["act"] == "log.exported"
    size = 2 * len(PROMPT) + len(ANSWER)
    assert value["facts"] == {"bodies": "3", "size_bytes": str(size)}
    newest = archive.records("approval.asked")[0]["seq"]
    assert value["values"] == {
        "last": str(int(newest) - 1),
        "team": "claims",
        "redaction": "full",
        "recipient": _key_id(archive),
    }
    assert CANARY not in ask.read_text()


def _key_id(archive: Archive) -> str:
    seed = open_export.read_seed(archive.home.parent / "auditor.key")
    return open_export.key_id(open_export.public_bytes(seed))


def test_the_approved_export_opens_for_the_auditor_and_every_text_is_proven(
    archive: Archive, tmp_path: Path
) -> None:
    approval = archive.approved(*full(archive))
    archive.run("audit", "body", "read", "r-none", "--reason", WHY, "--ask", "x")
    command = (*full(archive), "--approval", approval, "--out", str(out(archive)))
    status, value = archive.run(*command)
    assert status == 0, value
    said = archive.records()[-1]
    assert (said["event"], said["redaction"]) == ("log.exported", "full")
    assert (said["reason"], said["recipient"]) == (WHY, _key_id(archive))
    assert said["approval"]["ask"] == archive.records("approval.asked")[0]["ask"]
    assert CANARY.encode() not in out(archive).read_bytes()
    assert list(archive.home.glob(".export*")) == []

    seed = open_export.read_seed(tmp_path / "auditor.key")
    open_export.open_sealed(out(archive), seed, tmp_path / "june.tar")
    with tarfile.open(tmp_path / "june.tar") as file:
        file.extractall(tmp_path / "there", filter="data")
    folder = tmp_path / "there" / "june"
    verdict = verifier.verify(folder, key=value["vkey"])
    assert verdict.status == verifier.OK
    assert any("verify_bodies.py" in gap for gap in verdict.not_proved)
    done = subprocess.run(
        [
            *(sys.executable, "-I", folder / "verify_bodies.py", folder),
            *("--extract", tmp_path / "texts"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "  holds: 5 bodies of" in done.stdout
    texts = [path.read_bytes() for path in (tmp_path / "texts").iterdir()]
    assert sorted(texts) == sorted([PROMPT, ANSWER, PROMPT, ANSWER, PROMPT])
    # What came after it was asked is not in it.
    with (folder / "records.jsonl").open() as lines:
        events = {json.loads(line)["event"] for line in lines}
    assert not events & {"approval.asked", "body.refused", "log.exported"}

    out(archive).unlink()
    refused(archive, *full(archive), "--approval", approval, code="approval-used")


def test_an_erased_body_is_not_there_and_its_record_is(
    archive: Archive, tmp_path: Path
) -> None:
    erase = ("audit", "body", "erase", "r-2", "--basis", WHY)
    status, _ = archive.run(*erase, "--approval", archive.approved(*erase))
    assert status == 0
    command = full(archive, "--to", "9")
    approval = archive.approved(*command)
    status, value = archive.run(
        *command, "--approval", approval, "--out", str(out(archive))
    )
    assert status == 0, value
    seed = open_export.read_seed(tmp_path / "auditor.key")
    open_export.open_sealed(out(archive), seed, tmp_path / "june.tar")
    with tarfile.open(tmp_path / "june.tar") as file:
        bodies = file.extractfile("june/bodies.jsonl")
        records = file.extractfile("june/records.jsonl")
        assert bodies is not None
        assert records is not None
        numbers = {json.loads(line)["seq"] for line in bodies}
        calls = [json.loads(line) for line in records]
    erased = {each["seq"] for each in calls if each.get("request_id") == "r-2"}
    assert len(erased) == 2
    assert not erased & numbers
