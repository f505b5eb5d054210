"""``audit show``, ``search`` and ``stats``: no reading without a record of it."""

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from appliance.account import login_uid
from appliance.cli import main
from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.home import Home
from appliance.ledger.log.search import Filter
from appliance.ledger.tree.merkle import leaf_hash
from bundleformat.trust import fingerprint
from tests.support.ledgers import refusal, request
from tests.support.publisher import make_root, new_keys

Captured = pytest.CaptureFixture[str]
WHY = ("--reason", "ticket 4711: who asked?")


class Reader:
    """Runs commands of a host, and looks past them into its ledger."""

    def __init__(self, home: Path, captured: Captured) -> None:
        self.home = home
        self._captured = captured

    def run(self, *arguments: str) -> tuple[int, str, str]:
        status = main(["--home", str(self.home), "audit", *arguments])
        out, err = self._captured.readouterr()
        return status, out, err

    def records(self) -> list[bytes]:
        host = open_host(self.home)
        with host.look() as connection:
            rows = connection.execute(text("SELECT bytes FROM record ORDER BY seq"))
            found = [bytes(row[0]) for row in rows]
        host.database.dispose()
        return found

    def last(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.records()[-1])
        return value

    def halt(self) -> None:
        """Have the disk refuse a write once, as the server would notice it."""
        host = open_host(self.home)
        host.guard.halt(OSError(errno.EIO, "the disk refused"))
        host.database.dispose()

    def refuse_writes(self) -> None:
        """Have the disk refuse every new record, and nothing else."""
        host = open_host(self.home)
        with host.database.begin() as connection:
            connection.execute(
                text(
                    "CREATE TRIGGER full BEFORE INSERT ON record "
                    "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
                )
            )
        host.database.dispose()


@pytest.fixture
def reader(tmp_path: Path, capsys: Captured) -> Reader:
    root = make_root(new_keys())
    home = Home(tmp_path / "home")
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=SystemClock())
    host = open_host(home.root)
    with host.change() as connection:
        drafts = [request("r1"), request("r2", team="legal"), refusal("odd-key")]
        host.record(connection, drafts, now=host.clock.now())
    host.database.dispose()
    return Reader(home.root, capsys)


@pytest.mark.parametrize("arguments", [("show", "2"), ("search",)], ids=" ".join)
@pytest.mark.parametrize(
    "reason", [(), ("--reason", ""), ("--reason", "a\nb"), ("--reason", "x" * 201)]
)
def test_single_records_are_not_read_without_a_reason(
    reader: Reader, arguments: tuple[str, ...], reason: tuple[str, ...]
) -> None:
    before = reader.records()
    status, out, err = reader.run(*arguments, *reason)
    assert (status, out) == (2, "")
    assert "reason" in err
    assert reader.records() == before


@pytest.mark.parametrize(
    "arguments", [("show", "2", *WHY), ("search", *WHY), ("stats",)], ids=lambda a: a[0]
)
def test_nothing_is_shown_where_the_reading_cannot_be_recorded(
    reader: Reader, arguments: tuple[str, ...]
) -> None:
    reader.refuse_writes()
    before = reader.records()
    status, out, _ = reader.run(*arguments)
    assert (status, out) == (4, "")
    assert reader.records() == before


@pytest.mark.parametrize(
    "arguments", [("show", "2", *WHY), ("search", *WHY), ("stats",)], ids=lambda a: a[0]
)
def test_a_halted_ledger_is_read_from_an_export_as_the_refusal_says(
    reader: Reader, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    reader.halt()
    before = reader.records()
    status, out, err = reader.run(*arguments)
    assert (status, out) == (4, "")
    assert "sallyport: fault: audit-unavailable: " in err
    told = re.search(r"sallyport audit (export --out) FOLDER", err)
    assert told is not None
    folder = str(tmp_path / "export")
    assert reader.run(*told[1].split(), folder)[0] == 0
    assert (tmp_path / "export" / "records.jsonl").read_bytes().splitlines() == before
    assert reader.records() == before


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("show", "-1", *WHY), ""),
        (("show", "01", *WHY), "SEQ"),
        (("show", "9" * 30, *WHY), "SEQ"),
        (("search", *WHY, "--event", "llm"), "--event"),
        (("search", *WHY, "--event", "%.%"), "--event"),
        (("search", *WHY, "--since", "yesterday"), "--since"),
        (("search", *WHY, "--until", "2026-11-22T08"), "--until"),
        (("search", *WHY, "--limit", "0"), ""),
        (("search", *WHY, "--limit", "10001"), ""),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_record(
    reader: Reader, arguments: tuple[str, ...], where: str
) -> None:
    before = reader.records()
    status, out, err = reader.run(*arguments)
    assert (status, out) == (2, "")
    assert where in err
    assert reader.records() == before


def test_a_record_that_does_not_exist_was_asked_for_all_the_same(
    reader: Reader,
) -> None:
    status, out, err = reader.run("show", "99", *WHY)
    assert (status, out) == (3, "")
    assert "missing: 99" in err
    assert (reader.last()["event"], reader.last()["records"]) == ("log.read", 0)


def test_a_record_is_shown_as_it_is_and_the_reading_recorded(reader: Reader) -> None:
    expected = reader.records()[2]
    status, out, err = reader.run("show", "2", *WHY, "--json")
    assert status == 0
    shown = json.loads(out)
    assert shown["record"] == json.loads(expected)
    assert shown["leaf"] == leaf_hash(expected).hex()
    read = reader.last()
    assert read["seq"] == str(shown["read_as"])
    assert f"this reading is record {read['seq']}" in err
    assert {
        name: read[name]
        for name in ("event", "command", "records", "size", "reason", "operator_uid")
    } == {
        "event": "log.read",
        "command": "show",
        "records": 1,
        "size": "5",
        "reason": WHY[1],
        "operator_uid": os.getuid(),
    }
    assert read.get("login_uid") == login_uid()
    assert read["filter_sha256"] == Filter(seq=2).sha256()


def test_a_search_prints_what_is_found_and_says_what_it_left_out(
    reader: Reader,
) -> None:
    status, out, err = reader.run("search", *WHY, "--event", "llm.*", "--limit", "2")
    assert status == 0
    assert "llm.refused" in out
    assert "odd-key" in out
    assert "r2" in out
    assert "r1" not in out
    assert "the newest 2 of 3" in err
    wanted = Filter(event="llm.*")
    assert (reader.last()["records"], reader.last()["filter_sha256"]) == (
        3,
        wanted.sha256(),
    )


@pytest.mark.parametrize(
    ("since", "matches"),
    [("2020-01-01", 5), ("2020-01-01T00:00:00.5Z", 5), ("2999-01-01T00:00Z", 0)],
)
def test_a_moment_may_be_a_day_or_less_in_utc(
    reader: Reader, since: str, matches: int
) -> None:
    _, out, _ = reader.run("search", *WHY, "--since", since, "--json")
    assert json.loads(out)["matches"] == matches


def test_numbers_need_no_reason_and_are_recorded(reader: Reader) -> None:
    status, out, _ = reader.run("stats", "--event", "llm.request", "--json")
    assert status == 0
    assert json.loads(out)["counts"] == [
        {"event": "llm.request", "outcome": "allowed", "team": team, "records": 1}
        for team in ("claims", "legal")
    ]
    assert (reader.last()["command"], "reason" in reader.last()) == ("stats", False)


def test_what_a_record_says_cannot_drive_the_terminal(reader: Reader) -> None:
    status, out, _ = reader.run("search", *WHY)
    assert status == 0
    assert all(line.isprintable() for line in out.splitlines())
