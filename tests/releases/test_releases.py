"""Every release reads what the releases before it wrote, and says the same of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.audit_media import open_export
from appliance.ledger.exports import body_verifier, receipt_verifier, verifier
from tests.releases.make_release import (
    ENCRYPTED,
    EXPECTED,
    EXPORTS,
    FOLDER,
    unpack,
    version,
)
from tests.support.ledger_checker import check

RELEASES = sorted(path.parent for path in FOLDER.glob(f"*/{EXPECTED}"))
each_release = pytest.mark.parametrize(
    "release", RELEASES, ids=[path.name for path in RELEASES]
)


def _expected(release: Path) -> dict[str, Any]:
    value = json.loads((release / EXPECTED).read_text("utf-8"))
    assert isinstance(value, dict)
    return value


def test_the_present_version_has_left_what_it_writes() -> None:
    assert version() in [release.name for release in RELEASES]


@each_release
def test_a_release_is_whole_and_says_which_formats_it_wrote(release: Path) -> None:
    said = _expected(release)
    assert said["version"] == release.name
    assert (said["manifest_v"], said["record_v"]) == (1, 1)
    assert {path.name for path in release.iterdir()} == {
        *(f"{name}.tar" for name in (*EXPORTS, "receipts")),
        *(f"{name}.age" for name in ENCRYPTED),
        *("auditor.key", "held.txt", EXPECTED),
    }


@each_release
@pytest.mark.parametrize("name", EXPORTS)
def test_todays_verifier_says_of_an_export_what_its_own_said(
    release: Path, name: str, tmp_path: Path
) -> None:
    said = _expected(release)
    folder = unpack(release / f"{name}.tar", tmp_path)
    key, held = said["vkey"], release / "held.txt"
    verdict = verifier.verify(folder, key=key)
    found = {
        "status": verdict.status,
        "size": verdict.size,
        "records": verdict.records,
    }
    assert found == said["verdicts"][name]
    assert verdict.status == verifier.OK
    assert verifier.verify(folder, key=key, held=(held,)).status == verifier.OK
    # So does a verifier that was written from the ledger's FORMAT.md alone.
    assert check(folder, key, held=(held,)) == verifier.OK
    done = subprocess.run(
        [
            *(sys.executable, "-I", folder / "verify.py", folder),
            *("--key", key, "--held", held),
        ],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (verifier.OK, b"")


@each_release
def test_the_cosignature_of_an_earlier_export_holds(
    release: Path, tmp_path: Path
) -> None:
    said = _expected(release)
    folder = unpack(release / "whole.tar", tmp_path)
    witnesses = (said["witness"],)
    verdict = verifier.verify(folder, key=said["vkey"], witnesses=witnesses)
    assert verdict.status == verifier.OK
    assert check(folder, said["vkey"], witness=said["witness"]) == verifier.OK
    assert any("w.example at " in fact for fact in verdict.proved)
    assert any("by key 2, new in record" in fact for fact in verdict.proved)


@each_release
def test_what_was_changed_in_an_earlier_export_is_caught_today(
    release: Path, tmp_path: Path
) -> None:
    key = _expected(release)["vkey"]
    folder = unpack(release / "whole.tar", tmp_path)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(
            whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        )
        assert verifier.verify(folder, key=key).status not in (
            verifier.OK,
            verifier.UNCHECKED,
        ), path.name
        path.write_bytes(whole)
    assert verifier.verify(folder, key=key).status == verifier.OK


@each_release
@pytest.mark.parametrize("name", ENCRYPTED)
def test_an_earlier_encrypted_export_opens_today(
    release: Path, name: str, tmp_path: Path
) -> None:
    said = _expected(release)
    seed = open_export.read_seed(release / "auditor.key")
    out = tmp_path / "opened.tar"
    open_export.open_sealed(release / f"{name}.age", seed, out)
    folder = unpack(out, tmp_path / "there")
    verdict = verifier.verify(folder, key=said["vkey"])
    assert (verdict.status, verdict.size) == (
        verifier.OK,
        said["verdicts"][name]["size"],
    )
    if name == "full":
        told = body_verifier.check(folder)
        assert "holds: 2 bodies" in told
        assert "not here: the bodies that 2 more records commit to" in told


@each_release
def test_earlier_receipts_of_imports_verify_today(
    release: Path, tmp_path: Path
) -> None:
    folder = unpack(release / "receipts.tar", tmp_path)
    page = receipt_verifier.verify(folder, _expected(release)["vkey"])
    assert "bundle.imported" in page
