"""A halted host as people see it: what refuses, what reads, what lets it go on."""

import datetime as dt
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from appliance.cli import main
from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.home import Home
from bundleformat.ledger_release import Cause, LedgerRelease, issue
from bundleformat.trust import fingerprint
from tests.support.publisher import Keys, make_root, new_keys

NOW = SystemClock().now().replace(microsecond=0)
Run = Callable[..., tuple[int, dict[str, Any]]]
"""Runs a command with --json; gives its status, and its value or its error."""


@pytest.fixture
def keys() -> Keys:
    return new_keys()


@pytest.fixture
def home(tmp_path: Path, keys: Keys) -> Path:
    root = make_root(keys, expires=NOW + dt.timedelta(days=30))
    home = Home(tmp_path / "home")
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=SystemClock())
    (home.root / "sallyport.toml").write_text("[ledger]\nballast_bytes = 65536\n")
    return home.root


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        status = main(["--home", str(home), *arguments, "--json"])
        out, err = capsys.readouterr()
        value = json.loads(out) if status == 0 else json.loads(err)["error"]
        assert isinstance(value, dict)
        return status, value

    return run


@pytest.fixture
def halted(home: Path, run: Run) -> dict[str, Any]:
    """The host's ledger is halted by an error of the disk; its status."""
    (home / "ledger.halted").touch()
    host = open_host(home)
    host.guard.begin()
    host.database.dispose()
    status, value = run("audit", "status")
    assert (status, value["state"]) == (0, "HALTED")
    return value


def statement(status: dict[str, Any], **changed: Any) -> LedgerRelease:
    """What the officer signs who read the host's status."""
    halt = status["halt"]
    said = {
        "log": status["origin"],
        "halt": halt["number"],
        "cause": Cause(halt["cause"]),
        "halted": halt["halted"],
        "reason": "the cable was replaced",
        "issued": NOW,
    }
    return LedgerRelease(**(said | changed))


def put(home: Path, release: LedgerRelease, *signers: CryptoSigner) -> str:
    path = home.parent / "release.json"
    path.write_bytes(issue(release, *signers))
    return str(path)


def events(home: Path) -> list[str]:
    host = open_host(home)
    with host.look() as connection:
        found = connection.exec_driver_sql("SELECT event FROM record ORDER BY seq")
        names = list(found.scalars())
    host.database.dispose()
    return names


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"log": "sallyport/audit/another"}, "log"),
        ({"halt": 2}, "halt"),
        ({"cause": Cause.DISK_FULL}, "cause"),
        ({"halted": "2026-11-22T08:04:29.123456Z"}, "halted"),
        ({"issued": NOW + dt.timedelta(days=1)}, "issued"),
    ],
)
def test_a_release_for_another_halt_is_refused(
    home: Path,
    run: Run,
    keys: Keys,
    halted: dict[str, Any],
    changed: dict[str, Any],
    where: str,
) -> None:
    before = events(home)
    path = put(home, statement(halted, **changed), keys.compliance)
    status, error = run("audit", "release", path)
    assert (status, error["code"]) == (3, "release-unsuitable")
    assert error["where"].endswith(where)
    assert events(home) == before
    assert run("audit", "status")[1]["state"] == "HALTED"


def test_a_release_by_another_key_is_refused(
    home: Path, run: Run, keys: Keys, halted: dict[str, Any]
) -> None:
    for signer in (keys.release, new_keys().compliance):
        path = put(home, statement(halted), signer)
        status, error = run("audit", "release", path)
        assert (status, error["code"]) == (3, "signature-invalid")
    assert run("audit", "status")[1]["state"] == "HALTED"


def test_what_is_no_release_is_refused(
    home: Path, run: Run, halted: dict[str, Any]
) -> None:
    assert halted
    (home.parent / "release.json").write_text("{}")
    status, error = run("audit", "release", str(home.parent / "release.json"))
    assert (status, error["code"]) == (3, "malformed")


def test_a_ledger_that_is_not_halted_is_not_released(
    home: Path, run: Run, keys: Keys
) -> None:
    status = {
        "origin": "sallyport/audit/x",
        "halt": {
            "number": 1,
            "cause": "io-error",
            "halted": "2026-11-22T08:04:29.123456Z",
        },
    }
    path = put(home, statement(status), keys.compliance)
    found, error = run("audit", "release", path)
    assert (found, error["code"]) == (3, "conflict")


def test_commands_that_would_append_are_refused_and_those_that_read_work(
    home: Path, run: Run, keys: Keys, halted: dict[str, Any]
) -> None:
    before = events(home)
    for command in (
        ("key", "create", "--team", "claims"),
        ("site", "install", put(home, statement(halted), keys.compliance)),
    ):
        status, error = run(*command)
        assert status in {3, 4}
    status, error = run("key", "create", "--team", "claims")
    assert (status, error["code"]) == (4, "audit-unavailable")
    assert "io-error" in error["message"]
    assert run("audit", "fsck")[0] == 0
    assert run("team", "list")[0] == 0
    out = str(home.parent / "export")
    status, export = run("audit", "export", "--out", out)
    assert (status, export["size"]) == (0, len(before))
    assert run("audit", "verify", out, "--key", export["vkey"])[0] == 0
    assert events(home) == before


def test_a_release_is_on_record_with_who_signed_it_and_why(
    home: Path, run: Run, keys: Keys, halted: dict[str, Any]
) -> None:
    path = put(home, statement(halted), keys.compliance)
    status, value = run("audit", "release", path)
    assert (status, value["cause"]) == (0, "io-error")
    assert events(home)[-2:] == ["log.halted", "log.released"]
    with closing(sqlite3.connect(home / "sallyport.db")) as database:
        newest = "SELECT bytes FROM record ORDER BY seq DESC LIMIT 1"
        (said,) = database.execute(newest).fetchone()
    assert json.loads(said)["operator_uid"] == os.getuid()
    assert run("audit", "status")[1]["state"] in {"OK", "LOW"}
    assert run("audit", "fsck")[0] == 0
    assert run("key", "create", "--team", "claims")[0] == 0
    # The same release is of no use for anything that comes later.
    assert run("audit", "release", path)[1]["code"] == "conflict"
    (home / "ledger.halted").touch()
    assert run("audit", "release", path)[1]["code"] == "release-unsuitable"


def test_the_status_shows_the_command_of_the_officer(
    home: Path, halted: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["--home", str(home), "audit", "status"]) == 0
    out = capsys.readouterr().out
    assert (
        f"sallyport-bundler site release --log {halted['origin']} --halt 1"
        f" --cause io-error --halted {halted['halt']['halted']}" in out
    )


def test_restoring_triggers_says_what_it_restored(home: Path, run: Run) -> None:
    assert run("db", "restore-triggers")[1] == {"restored": []}
    host = open_host(home)
    with host.database.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER record_gap")
    host.database.dispose()
    assert run("audit", "status")[1]["halt"]["cause"] == "changed-triggers"
    assert run("db", "restore-triggers")[1] == {"restored": ["record_gap"]}
