"""Files made from the records travel with them, and are never taken for evidence."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from appliance.ledger.exports import verifier
from appliance.ledger.exports.export import export
from tests.support.forgery import resign, sign_manifest
from tests.support.ledgers import NOW, TOOL, Ledger, request, response

NAMES = ("numbers.csv", "numbers.tar.gz")


def _derive(folder: Path) -> Iterable[str]:
    assert (folder / "records.jsonl").read_bytes().endswith(b"\n")
    for name in NAMES:
        # Longer than the verifier reads of anything else at once.
        (folder / name).write_bytes(name.encode() * 100_000)
        yield name


@pytest.fixture
def folder(ledger: Ledger, tmp_path: Path) -> Path:
    ledger.append([request("r1"), response("r1", parent=1)])
    return export(
        ledger.engine,
        tmp_path / "out",
        log=ledger.log,
        keys=ledger.keys,
        now=NOW,
        tool=TOOL,
        derive=_derive,
    ).folder


def _status(folder: Path, ledger: Ledger) -> int:
    """The exit status on which both verifiers agree."""
    verdict = verifier.verify(folder, key=ledger.log.vkey)
    done = subprocess.run(
        [sys.executable, "-I", folder / "verify.py", folder, "--key", ledger.log.vkey],
        capture_output=True,
        check=False,
    )
    assert done.returncode == verdict.status
    return verdict.status


def _manifest(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return value


def test_a_changed_derived_file_is_refused(folder: Path, ledger: Ledger) -> None:
    for name in NAMES:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1] + b"x")
        assert _status(folder, ledger) == verifier.RECORD
        (folder / name).write_bytes(whole[:-1])
        assert _status(folder, ledger) == verifier.RECORD
        (folder / name).unlink()
        assert _status(folder, ledger) == verifier.UNCHECKED
        (folder / name).symlink_to(folder / "records.jsonl")
        assert _status(folder, ledger) == verifier.UNCHECKED
        (folder / name).unlink()
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize(
    "path",
    ["../out/numbers.csv", "/etc/passwd", "a/b.csv", "verify.py", ".x", "", None, 7],
)
def test_a_derived_file_of_an_impossible_name_is_refused_even_if_signed(
    folder: Path, ledger: Ledger, path: object
) -> None:
    manifest = _manifest(folder)
    manifest["files"].append(
        {"path": path, "derived_from": "records.jsonl", "sha256": "", "size_bytes": "0"}
    )
    sign_manifest(folder, manifest, ledger=ledger)
    assert _status(folder, ledger) == verifier.RECORD


def test_evidence_cannot_be_passed_off_as_derived(folder: Path, ledger: Ledger) -> None:
    manifest = _manifest(folder)
    for entry in manifest["files"]:
        entry["derived_from"] = "records.jsonl"
    sign_manifest(folder, manifest, ledger=ledger)
    assert _status(folder, ledger) == verifier.RECORD


def test_a_derived_file_is_in_the_manifest_and_said_to_be_for_convenience(
    folder: Path, ledger: Ledger
) -> None:
    assert _status(folder, ledger) == verifier.OK
    listed = {entry["path"]: entry for entry in _manifest(folder)["files"]}
    for name in NAMES:
        data = (folder / name).read_bytes()
        assert listed[name] == {
            "path": name,
            "derived_from": "records.jsonl",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": str(len(data)),
        }
    gaps = verifier.verify(folder, key=ledger.log.vkey).not_proved
    assert gaps[-1].startswith("numbers.csv, numbers.tar.gz: ")
    assert gaps[-1].endswith("made for convenience, no proof")
    resign(folder, ledger=ledger)
    assert _status(folder, ledger) == verifier.OK


def test_a_derivation_that_fails_leaves_no_export(
    ledger: Ledger, tmp_path: Path
) -> None:
    def fail(folder: Path) -> Iterable[str]:
        (folder / "half.csv").write_bytes(b"half")
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        export(
            ledger.engine,
            tmp_path / "out",
            log=ledger.log,
            keys=ledger.keys,
            now=NOW,
            tool=TOOL,
            derive=fail,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
