"""``generations``, ``model``, ``store`` and ``receipts`` as a person calls them."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from appliance.cli import confirm, main
from appliance.private_file import write_private_file
from bundleformat.manifest import Manifest
from tests.support.generations import Kept, kept_host, manifest_of

POLICY = b"""
@id("site-no-%s")
@reason("not processed here")
forbid (principal, action, resource)
when { context.data_classes.contains("%s") };
"""
ONE = {"model/a": b"model one", "policy/p": POLICY % (b"phi", b"phi")}
TWO = {"model/a": b"model two", "policy/p": POLICY % (b"pii", b"pii")}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = kept_host(tmp_path / "home")
    write_private_file(kept.host.home / "keys" / "pepper", b"p" * 32)
    for folder in (kept.host.home, kept.host.home / "keys"):
        folder.chmod(0o700)
    kept.deliver(1, ONE)
    kept.deliver(2, TWO)
    yield kept
    kept.host.close()


class Shell:
    """Runs commands on one home and keeps what they printed."""

    def __init__(self, kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
        self._home = kept.host.home
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def run(self, *arguments: str) -> int:
        self._capsys.readouterr()
        status = main(["--home", str(self._home), *arguments])
        self.out, self.err = self._capsys.readouterr()
        return status

    def json(self, *arguments: str, status: int = 0) -> Any:
        assert self.run(*arguments, "--json") == status, self.err
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        value = json.loads(self.err.splitlines()[-1])["error"]
        assert isinstance(value, dict)
        return value


@pytest.fixture
def shell(kept: Kept, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(kept, capsys)


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("generations", "activate", "9"), 3, "missing"),
        (("generations", "activate", "first"), 2, "usage"),
        (("generations", "rollback", "--channel", "none"), 3, "missing"),
        (("model", "verify", "none"), 3, "missing"),
        (("model", "remove", "none"), 3, "missing"),
        (("model", "restore", "a"), 3, "conflict"),
        (("store", "gc", "--keep", "-1"), 2, "usage"),
        (("receipts", "export"), 2, "usage"),
        (("receipts", "export", "--out", "no/such/place"), 3, "missing"),
        (("receipts", "list", "--version", "0"), 2, "usage"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else str(each),
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    shell: Shell, kept: Kept, arguments: tuple[str, ...], status: int, code: str
) -> None:
    before = kept.host.rows()
    assert shell.run(*arguments, "--json") == status
    assert (shell.out, shell.error["code"]) == ("", code)
    assert kept.host.rows() == before


def test_generations_are_listed_rolled_back_and_activated(shell: Shell) -> None:
    listed = shell.json("generations", "list")["generations"]
    assert [(g["version"], g["active"]) for g in listed] == [(2, True), (1, False)]
    done = shell.json("generations", "rollback")
    assert (done["version"], done["previous"]["version"]) == (1, 2)
    again = shell.json("generations", "activate", str(done["previous"]["generation"]))
    assert (again["version"], again["already_active"]) == (2, False)
    assert shell.run("generations", "activate", "2") == 0
    assert "nothing to do" in shell.out


def test_policies_that_do_not_compile_with_this_hosts_are_refused(
    shell: Shell, kept: Kept
) -> None:
    kept.deliver(1, {"policy/q": POLICY % (b"phi", b"phi")}, channel="extra")
    before = kept.host.rows()
    assert shell.run("generations", "rollback", "--channel", "main", "--json") == 3
    assert shell.error["where"]
    assert kept.host.rows() == before


def test_a_person_at_a_terminal_is_asked_and_may_say_no(
    shell: Shell, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(question: str, **_: object) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr(confirm, "at_terminal", lambda: True)
    monkeypatch.setattr(typer, "confirm", answer)
    before = kept.host.rows()
    for arguments in (("generations", "rollback"), ("model", "remove", "a")):
        assert shell.run(*arguments, "--json") == 2
        assert shell.error["code"] == "usage"
    assert len(asked) == 2
    assert kept.host.rows() == before
    assert shell.run("generations", "rollback", "--yes") == 0
    assert len(asked) == 2


def test_models_are_listed_with_their_review(shell: Shell, kept: Kept) -> None:
    manifest = _with_review(manifest_of({"model/a": b"x"}, version=3))
    kept.put(manifest, [b"x"])
    (model,) = shell.json("model", "list")["models"]
    assert (model["review_by"], model["review_overdue"]) == ("2020-01-01", True)
    assert model["intended_use"] == "drafting letters"
    assert [part["size_bytes"] for part in model["parts"]] == [1]
    assert shell.run("model", "list") == 0
    assert "2020-01-01 OVERDUE" in shell.out


def test_models_are_removed_marked_and_restored(shell: Shell) -> None:
    assert shell.json("model", "remove", "a")["removed"][0]["name"] == "a"
    (model,) = shell.json("model", "list")["models"]
    assert model["removed"] is True
    assert shell.json("model", "restore", "a")["restored"][0]["name"] == "a"
    assert shell.json("model", "list")["models"][0]["removed"] is False


def test_damage_ends_with_status_three_and_a_report(shell: Shell, kept: Kept) -> None:
    assert shell.json("model", "verify")["models"][0]["intact"] is True
    assert shell.json("store", "fsck")["damaged"] is False
    kept.path(TWO["model/a"]).unlink()
    found = shell.json("model", "verify", "a", status=3)["models"][0]
    assert (found["intact"], found["problems"][0]["problem"]) == (False, "missing")
    assert (shell.error["code"], shell.error["where"]) == ("digest-mismatch", "a")
    assert "bundle 2 of channel main" in shell.error["hint"]
    report = shell.json("store", "fsck", status=3)
    assert [each["problem"] for each in report["findings"]] == ["missing"]
    assert shell.run("store", "fsck", "--repair-hints") == 3
    assert "hint: Run: sallyport store repair MEDIUM" in shell.out


def test_a_collection_says_what_goes_before_and_after(shell: Shell) -> None:
    assert shell.json("store", "gc")["files"] == 0
    plan = shell.json("store", "gc", "--keep", "0", "--dry-run")
    assert (plan["files"], plan["generations"]) == (2, [1])
    done = shell.json("store", "gc", "--keep", "0")
    assert {**done, "dry_run": True} == plan
    assert shell.run("generations", "list") == 0
    assert "2 gone" in shell.out


def test_receipts_are_listed_exported_and_verified_as_printed(
    shell: Shell, kept: Kept, tmp_path: Path
) -> None:
    assert shell.run("generations", "rollback") == 0
    receipts = shell.json("receipts", "list")["receipts"]
    events = [each["event"] for each in receipts]
    assert events == ["bundle.imported", "bundle.imported", "generation.activated"]
    assert len(shell.json("receipts", "list", "--version", "2")["receipts"]) == 1
    folder = tmp_path / "some receipts"
    assert shell.run("receipts", "export", "--out", str(folder)) == 0
    command = shlex.split(shell.out.splitlines()[-1].partition(": ")[2])
    assert command[:3] == ["python", "-I", "verify_receipt.py"]
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "verify_receipt.py"), *command[3:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    said = json.loads(kept.host.events("receipts.exported")[0])
    assert (said["receipts"], said["operator_uid"]) == (3, os.getuid())


@pytest.mark.parametrize(
    "arguments",
    [
        ("generations", "list"),
        ("model", "list"),
        ("model", "verify"),
        ("store", "fsck"),
        ("store", "gc", "--dry-run"),
        ("receipts", "list"),
    ],
    ids=" ".join,
)
def test_looking_changes_nothing_and_reads_as_text(
    shell: Shell, kept: Kept, arguments: tuple[str, ...]
) -> None:
    before, files = kept.host.rows(), kept.host.files()
    assert shell.run(*arguments) == 0
    assert shell.out
    assert not shell.out.startswith("{")
    assert (kept.host.rows(), kept.host.files()) == (before, files)


def _with_review(manifest: Manifest) -> Manifest:
    (model,) = manifest.artifacts
    assert model.model is not None
    terms = replace(
        model.model, review_by="2020-01-01", intended_use="drafting letters"
    )
    return replace(manifest, artifacts=(replace(model, model=terms),))
