"""Reading a kept body: everything that refuses it, and what is on record of it."""

import datetime as dt
import json
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from appliance.bodies.vault import Vault
from appliance.cli import main
from appliance.clock import SystemClock
from appliance.compose import open_host
from appliance.host import OpenHost
from bundleformat.approval import Act, parse_ask
from bundleformat.limits import DEFAULT_LIMITS
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

NOW = SystemClock().now().replace(microsecond=0)
READ = ("audit", "body", "read", "r-1", "--reason", WHY)


def calls(host: OpenHost) -> None:
    keep_call(host, "r-1")
    keep_call(host, "r-2")
    keep_call(host, "r-asked", answer=None)
    keep_call(host, "r-digest", capture="digest")
    keep_call(host, "r-plain", capture="metadata")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Keys]:
    return filled(tmp_path_factory.mktemp("archive"), calls)


@pytest.fixture
def archive(
    tmp_path: Path, made: tuple[Path, Keys], capsys: pytest.CaptureFixture[str]
) -> Archive:
    return Archive.copied(made, tmp_path, capsys)


def refused(archive: Archive, *arguments: str, code: str, status: int = 3) -> Any:
    """Run what is refused; the refusal is the one new record, and nothing was read."""
    before = archive.records()
    found, error = archive.run(*arguments)
    assert (found, error["code"]) == (status, code), error
    added = archive.records()[len(before) :]
    assert [(each["event"], each["code"]) for each in added] == [("body.refused", code)]
    assert CANARY not in json.dumps(error)
    return error


@pytest.mark.parametrize(
    ("request_id", "part", "code"),
    [
        ("r-none", (), "missing"),
        ("no id at all", (), "missing"),
        ("r-digest", (), "body-not-kept"),
        ("r-plain", (), "body-not-kept"),
        ("r-asked", ("--part", "response"), "body-not-kept"),
    ],
)
def test_what_was_never_kept_is_neither_asked_for_nor_read(
    archive: Archive, request_id: str, part: tuple[str, ...], code: str
) -> None:
    command = ("audit", "body", "read", request_id, "--reason", WHY, *part)
    ask = archive.home.parent / "ask.json"
    refused(archive, *command, "--ask", str(ask), code=code)
    assert not ask.exists()
    # An approval of something that is there does not help.
    approval = archive.approved(*READ)
    refused(archive, *command, "--approval", approval, code=code)


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"log": "sallyport/audit/another"}, "log"),
        ({"root": "ab" * 32}, "root"),
        ({"size": "999"}, "root"),
        ({"act": Act.BODY_ERASED}, "act"),
        ({"values": {"request_id": "r-2", "parts": "request response"}}, "request_id"),
        ({"values": {"request_id": "r-1", "parts": "request"}}, "parts"),
        ({"values": {"request_id": "r-1", "parts": "request other"}}, "parts"),
        ({"values": {"request_id": "r-1"}}, "parts"),
        ({"values": {}}, "parts"),
        ({"reason": "another reason"}, "reason"),
        ({"asked_by": "uid 4294967294"}, "asked_by"),
    ],
)
def test_an_approval_of_something_else_is_refused(
    archive: Archive, changed: dict[str, Any], where: str
) -> None:
    approval = archive.approved(*READ, **changed)
    named = () if changed.get("values", {}).get("parts") != "request" else ("response",)
    part = tuple(word for each in named for word in ("--part", each))
    error = refused(
        archive, *READ, *part, "--approval", approval, code="approval-unsuitable"
    )
    assert error["where"] == where


def test_an_approval_by_another_key_is_refused(archive: Archive) -> None:
    for signer in (archive.keys.release, new_keys().compliance):
        approval = archive.approved(*READ, signer=signer)
        refused(archive, *READ, "--approval", approval, code="signature-invalid")


def test_an_approval_that_expired_or_comes_from_the_future_is_refused(
    archive: Archive,
) -> None:
    past: dict[str, Any] = {
        "asked": NOW - dt.timedelta(days=4),
        "expires": NOW - dt.timedelta(days=1),
    }
    approval = archive.approved(*READ, **past)
    refused(archive, *READ, "--approval", approval, code="expired")
    archive.approved(*READ)
    ask = parse_ask(
        (archive.home.parent / "ask.json").read_bytes(), limits=DEFAULT_LIMITS
    )
    approval = archive.sign(ask, issued=NOW + dt.timedelta(days=1))
    error = refused(archive, *READ, "--approval", approval, code="approval-unsuitable")
    assert error["where"] == "issued"


def test_what_is_no_approval_is_refused(archive: Archive) -> None:
    ask = archive.home.parent / "ask.json"
    assert archive.run(*READ, "--ask", str(ask))[0] == 0
    refused(archive, *READ, "--approval", str(ask), code="malformed")


def test_an_approval_is_good_for_one_reading(archive: Archive) -> None:
    approval = archive.approved(*READ)
    assert archive.run(*READ, "--approval", approval)[0] == 0
    refused(archive, *READ, "--approval", approval, code="approval-used")
    # Signed once more, perhaps by another key, the ask is still the same.
    ask = parse_ask(
        (archive.home.parent / "ask.json").read_bytes(), limits=DEFAULT_LIMITS
    )
    again = archive.sign(ask, issued=NOW - dt.timedelta(seconds=1))
    refused(archive, *READ, "--approval", again, code="approval-used")
    assert len(archive.records("body.read")) == 1


def test_where_the_ledger_is_halted_nothing_is_read(archive: Archive) -> None:
    approval = archive.approved(*READ)
    (archive.home / "ledger.halted").touch()
    before = archive.records()
    status, error = archive.run(*READ, "--approval", approval)
    assert (status, error["code"]) == (4, "audit-unavailable")
    assert CANARY not in json.dumps(error)
    assert archive.records() == before


@pytest.mark.parametrize(
    ("statement", "code", "status"),
    [
        ("DELETE FROM body WHERE part = 'response'", "body-lost", 4),
        ("UPDATE body SET ct = zeroblob(length(ct))", "digest-mismatch", 3),
    ],
)
def test_a_body_that_is_gone_or_changed_is_not_shown_and_that_is_on_record(
    archive: Archive, statement: str, code: str, status: int
) -> None:
    approval = archive.approved(*READ)
    with sqlite3.connect(archive.home / "bodies.db") as connection:
        connection.execute(statement)
    connection.close()
    found, error = archive.run(*READ, "--approval", approval)
    assert (found, error["code"]) == (status, code)
    assert CANARY not in json.dumps(error)
    # That somebody set out to read it is on record as well: it was durable first.
    assert [r["event"] for r in archive.records()][-2:] == ["body.read", "body.refused"]


def test_another_text_under_the_right_key_is_not_what_the_record_commits_to(
    archive: Archive,
) -> None:
    host = open_host(archive.home)
    vault = Vault(
        host.home.bodies, key_path=host.home.bodies_key, origin=host.log.origin
    )
    kept = vault.get("r-1", "response")
    assert kept is not None
    forged = type(kept)(
        team=kept.team,
        request_id="r-1",
        part="response",
        salt=kept.salt,
        data=b"something else",
    )
    vault.put([forged], now=NOW)
    vault.close()
    host.database.dispose()
    approval = archive.approved(*READ)
    found, error = archive.run(*READ, "--approval", approval)
    assert (found, error["code"]) == (3, "digest-mismatch")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--ask", "{new}", "--approval", "{approval}"),
        ("--ask", "{new}", "--output", "{out}"),
        ("--approval", "{approval}", "--output", "{out}"),
        ("--ask", "{new}", "--part", "both"),
        ("--ask", "{new}", "--valid-days", "31"),
    ],
)
def test_what_is_called_wrongly_leaves_nothing(
    archive: Archive, arguments: tuple[str, ...]
) -> None:
    approval = archive.approved(*READ)
    names = {"new": "new.json", "out": "text"}
    paths = {name: str(archive.home.parent / file) for name, file in names.items()}
    before = archive.records()
    given = [each.format(approval=approval, **paths) for each in arguments]
    status, error = archive.run(*READ, *given)
    assert (status, error["code"]) == (2, "usage")
    assert archive.records() == before
    assert not any(Path(path).exists() for path in paths.values())


def test_no_file_is_overwritten_and_the_approval_not_spent_on_it(
    archive: Archive,
) -> None:
    command = (*READ, "--part", "response")
    approval = archive.approved(*command)
    there = archive.home.parent / "precious"
    there.write_text("precious")
    before = archive.records()
    for arguments in (
        ("--ask", str(there)),
        ("--approval", approval, "--output", str(there)),
    ):
        assert archive.run(*command, *arguments)[1]["code"] == "conflict"
    assert there.read_text() == "precious"
    assert archive.records() == before


def test_both_bodies_are_read_as_they_were_and_who_and_why_is_on_record(
    archive: Archive,
) -> None:
    approval = archive.approved(*READ)
    (asked,) = archive.records("approval.asked")
    assert (asked["act"], asked["request_id"]) == ("body.read", "r-1")
    status, value = archive.run(*READ, "--approval", approval)
    assert status == 0
    assert [body["text"].encode() for body in value["bodies"]] == [PROMPT, ANSWER]
    (record,) = archive.records("body.read")
    assert record["seq"] == str(value["read_as"])
    assert (record["request_id"], record["team"]) == ("r-1", "claims")
    assert (record["parts"], record["reason"]) == (["request", "response"], WHY)
    assert record["approval"]["ask"] == asked["ask"]
    assert record["approval"]["key_ids"] == [archive.keys.compliance.public_key.keyid]
    assert all(CANARY not in json.dumps(each) for each in archive.records())


def test_one_body_goes_to_a_file_for_its_owner_alone(archive: Archive) -> None:
    command = (*READ, "--part", "response")
    approval, out = archive.approved(*command), archive.home.parent / "answer"
    status, value = archive.run(*command, "--approval", approval, "--output", str(out))
    assert (status, value["size_bytes"]) == (0, len(ANSWER))
    assert out.read_bytes() == ANSWER
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_no_text_drives_a_terminal(archive: Archive) -> None:
    approval = archive.approved(*READ)
    archive.capture.readouterr()
    assert main(["--home", str(archive.home), *READ, "--approval", approval]) == 0
    out = archive.capture.readouterr().out
    assert CANARY in out
    assert r"\x1b[2J\u202ein red" in out
    assert all(char.isprintable() or char == "\n" for char in out)
