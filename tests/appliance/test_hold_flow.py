"""Holds: an operator places one at once, and it takes two people to lift it."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import SystemClock
from appliance.host import OpenHost
from bundleformat.approval import Act
from tests.support.kept_bodies import Archive, filled, keep_call
from tests.support.publisher import Keys, new_keys

LIFT = ("audit", "hold", "lift", "1", "--reason", "the claim is settled")
ERASE = ("audit", "body", "erase", "--basis", "GDPR 17(1)(b)")
PLACE = ("audit", "hold", "place", "--reason", "claim 7")


def calls(host: OpenHost) -> None:
    keep_call(host, "r-1")
    keep_call(host, "r-legal", team="legal")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Keys]:
    return filled(tmp_path_factory.mktemp("archive"), calls)


@pytest.fixture
def archive(
    tmp_path: Path, made: tuple[Path, Keys], capsys: pytest.CaptureFixture[str]
) -> Archive:
    return Archive.copied(made, tmp_path, capsys)


@pytest.mark.parametrize(
    ("chosen", "status", "code"),
    [
        (("--event", "llm.nothing"), 2, "usage"),
        (("--team", "two words"), 2, "usage"),
        (("--request", "x" * 201), 2, "usage"),
        (("--to", "2999-01-01"), 2, "usage"),
        (("--from", "3", "--to", "2"), 2, "usage"),
        (("--from", "yesterday"), 2, "usage"),
        (("--from", "2999-01-01"), 3, "missing"),
    ],
)
def test_what_names_no_records_is_not_held(
    archive: Archive, chosen: tuple[str, ...], status: int, code: str
) -> None:
    found, error = archive.run(*PLACE, *chosen)
    assert (found, error["code"]) == (status, code)
    assert archive.records("hold.placed") == []
    assert archive.run("audit", "hold", "list")[1] == {"holds": []}


def test_a_hold_without_a_reason_is_refused(archive: Archive) -> None:
    assert archive.run("audit", "hold", "place", "--reason", " ")[0] == 2
    assert archive.records("hold.placed") == []


def test_one_person_lifts_nothing(archive: Archive) -> None:
    archive.run(*PLACE)
    assert archive.run(*LIFT)[0] == 2
    stranger = archive.approved(*LIFT, signer=new_keys().compliance)
    status, error = archive.run(*LIFT, "--approval", stranger)
    assert (status, error["code"]) == (3, "signature-invalid")
    assert archive.records("hold.lifted") == []


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"act": Act.BODY_ERASED}, "act"),
        ({"values": {"hold": "2"}}, "hold"),
        ({"reason": "because"}, "reason"),
    ],
)
def test_an_approval_of_something_else_lifts_nothing(
    archive: Archive, changed: dict[str, Any], where: str
) -> None:
    archive.run(*PLACE)
    approval = archive.approved(*LIFT, **changed)
    status, error = archive.run(*LIFT, "--approval", approval)
    assert (status, error["code"], error["where"]) == (3, "approval-unsuitable", where)
    assert archive.run("audit", "hold", "list")[1]["holds"][0]["lifted_seq"] is None


def test_a_hold_that_is_not_there_or_over_is_not_lifted(archive: Archive) -> None:
    ask = str(archive.home.parent / "other.json")
    assert archive.run(*LIFT, "--ask", ask)[1]["code"] == "missing"
    archive.run(*PLACE)
    approval = archive.approved(*LIFT)
    assert archive.run(*LIFT, "--approval", approval)[0] == 0
    assert archive.run(*LIFT, "--ask", ask)[1]["code"] == "conflict"
    assert archive.run(*LIFT, "--approval", approval)[1]["code"] == "approval-used"
    assert not Path(ask).exists()


@pytest.mark.parametrize("chosen", [("r-1",), ("--team", "claims"), ("r-1", "r-legal")])
def test_nothing_is_erased_that_a_hold_keeps(
    archive: Archive, chosen: tuple[str, ...]
) -> None:
    before = archive.rows()
    approval = archive.approved(*ERASE, *chosen)
    archive.run(*PLACE, "--event", "llm.response", "--team", "claims")
    # Neither what was approved before, nor what is asked for now.
    status, error = archive.run(*ERASE, *chosen, "--approval", approval)
    assert (status, error["code"], error["where"]) == (3, "held", "r-1")
    ask = str(archive.home.parent / "other.json")
    assert archive.run(*ERASE, *chosen, "--ask", ask)[1]["code"] == "held"
    assert archive.rows() == before
    assert archive.records("body.erased") == []
    assert archive.records("body.refused")[-1]["code"] == "held"
    # Another team's call is not in it.
    other = archive.approved(*ERASE, "r-legal")
    assert archive.run(*ERASE, "r-legal", "--approval", other)[0] == 0


def test_a_range_ends_with_a_number_or_with_a_time_that_is_over(
    archive: Archive,
) -> None:
    yesterday = (SystemClock().now() - dt.timedelta(days=1)).date().isoformat()
    assert archive.run(*PLACE, "--to", "3")[1]["keeps"] == {"last": "3"}
    # Everything there is was recorded later.
    assert archive.run(*PLACE, "--to", yesterday)[1]["code"] == "missing"
    now = SystemClock().now().isoformat()
    assert archive.run(*PLACE, "--to", now)[0] == 0


def test_a_hold_is_on_record_and_ends_by_two_people(archive: Archive) -> None:
    status, placed = archive.run(*PLACE, "--team", "claims", "--from", "1")
    assert status == 0
    assert (placed["hold"], placed["records"]) == (1, 2)
    (record,) = archive.records("hold.placed")
    assert record["selection"] == {"team": "claims", "first": "1"}
    assert (record["reason"], record["seq"]) == ("claim 7", str(placed["placed_seq"]))
    assert archive.run("audit", "status")[1]["holds"] == 1
    status, lifted = archive.run(*LIFT, "--approval", archive.approved(*LIFT))
    assert status == 0
    (record,) = archive.records("hold.lifted")
    assert record["seq"] == str(lifted["lifted_seq"])
    assert record["approval"]["key_ids"] == [archive.keys.compliance.public_key.keyid]
    listed = archive.run("audit", "hold", "list")[1]["holds"]
    assert [each["lifted_seq"] for each in listed] == [lifted["lifted_seq"]]
    assert archive.run("audit", "status")[1]["holds"] == 0
    assert archive.run("audit", "fsck")[0] == 0
    gone = archive.approved(*ERASE, "r-1")
    assert archive.run(*ERASE, "r-1", "--approval", gone)[0] == 0
