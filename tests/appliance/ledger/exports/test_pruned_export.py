"""What was pruned is a hash in every export; what only pretends to be is caught."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from appliance.ledger.exports import verifier
from appliance.ledger.exports.export import Wishes
from appliance.ledger.exports.places import proof_wishes
from appliance.ledger.exports.selection import Selection
from appliance.ledger.tree.merkle import leaf_hash
from bundleformat.errors import DigestMismatchError
from tests.support.forgery import records_of, resign, sign_manifest
from tests.support.ledgers import Ledger
from tests.support.retention import fill, hold, prune


def verdict(ledger: Ledger, folder: Path, *held: Path) -> verifier.Verdict:
    """The verdict of the module, with which the exported program agrees."""
    found = verifier.verify(folder, key=ledger.log.vkey, held=held)
    named = [word for path in held for word in ("--held", str(path))]
    done = subprocess.run(
        [
            *(sys.executable, "-I", folder / "verify.py", folder),
            *("--key", ledger.log.vkey, *named),
        ],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (found.status, b"")
    assert done.stdout.decode() == found.text()
    return found


def hide(folder: Path, place: int, *, ledger: Ledger) -> None:
    """Put a record's hash in its place, as a host in wrong hands would."""
    kept = records_of(folder)
    index = [json.loads(record)["seq"] for record in kept].index(str(place))
    leaf = base64.b64encode(leaf_hash(kept.pop(index))).decode()
    (folder / "records.jsonl").write_bytes(b"".join(r + b"\n" for r in kept))
    hashes = folder / "hashes.txt"
    lines = hashes.read_text().splitlines() if hashes.exists() else []
    lines = sorted([*lines, f"{place} 1 {leaf}"], key=lambda line: int(line.split()[0]))
    hashes.write_text("".join(f"{line}\n" for line in lines))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    names = {file["path"] for file in manifest["files"]} | {"hashes.txt"}
    manifest["files"] = [
        {
            "path": name,
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
            "size_bytes": str((folder / name).stat().st_size),
        }
        for name in sorted(names)
    ]
    sign_manifest(folder, manifest, ledger=ledger)


def test_a_record_hidden_as_if_it_was_pruned_is_caught(
    ledger: Ledger, tmp_path: Path
) -> None:
    fill(ledger)
    folder = ledger.export(tmp_path / "out")
    hide(folder, 3, ledger=ledger)
    assert verdict(ledger, folder).status == verifier.GAP


def test_so_is_one_beside_records_that_were(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    hold(ledger, team="others")
    prune(ledger)
    folder = ledger.export(tmp_path / "out")
    for place in (3, 6):
        copy = Path(shutil.copytree(folder, tmp_path / f"hidden-{place}"))
        hide(copy, place, ledger=ledger)
        assert verdict(ledger, copy).status == verifier.GAP


@pytest.mark.parametrize(
    "ranges",
    [
        ["4-4"],
        ["2-2"],
        ["3-2"],
        ["03-3x"],
        ["9-99999999999999999999"],
        [3],
        "3-3",
        {},
        None,
        7,
    ],
)
def test_a_pruning_that_does_not_name_it_covers_nothing(
    ledger: Ledger, tmp_path: Path, ranges: object
) -> None:
    folder = _forged(ledger, tmp_path, kind="record", ranges=ranges)
    assert verifier.verify(folder, key=ledger.log.vkey).status == verifier.GAP


def test_a_pruning_covers_nothing_that_comes_after_it(
    ledger: Ledger, tmp_path: Path
) -> None:
    folder = _forged(ledger, tmp_path, kind="record", ranges=["3-3"], early=True)
    assert verifier.verify(folder, key=ledger.log.vkey).status == verifier.GAP


def test_a_pruning_of_texts_covers_no_record(ledger: Ledger, tmp_path: Path) -> None:
    folder = _forged(ledger, tmp_path, kind="body", ranges=["3-3"])
    assert verifier.verify(folder, key=ledger.log.vkey).status == verifier.GAP
    named = _forged(ledger, tmp_path, kind="record", ranges=["2-3"], name="named")
    assert verifier.verify(named, key=ledger.log.vkey).status == verifier.OK


def _forged(
    ledger: Ledger,
    tmp_path: Path,
    *,
    kind: str,
    ranges: object,
    early: bool = False,
    name: str = "forged",
) -> Path:
    """An export in which record 3 is hidden, and record 1 or 5 is a ``log.pruned``."""
    folder = ledger.export(tmp_path / name)
    place = 1 if early else 4
    genesis = json.loads(records_of(folder)[0])
    records = []
    for seq in range(6):
        record = {**genesis, "seq": str(seq)}
        if seq == place:
            record |= {"event": "log.pruned", "kind": kind, "ranges": ranges}
        records.append(
            json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
        )
    (folder / "records.jsonl").write_bytes(b"".join(r + b"\n" for r in records))
    resign(folder, ledger=ledger)
    hide(folder, 3, ledger=ledger)
    return folder


def test_an_export_of_a_ledger_that_was_pruned_around_the_triggers_is_refused(
    ledger: Ledger, tmp_path: Path
) -> None:
    fill(ledger)
    with ledger.engine.begin() as connection:
        (sql,) = connection.execute(
            text("SELECT sql FROM sqlite_master WHERE name = 'record_no_update'")
        ).one()
        connection.execute(text("DROP TRIGGER record_no_update"))
        connection.execute(text("UPDATE record SET bytes = NULL WHERE seq = 2"))
        connection.exec_driver_sql(sql)
    with pytest.raises(DigestMismatchError) as caught:
        ledger.export(tmp_path / "out")
    assert caught.value.where == "record 2"
    assert not (tmp_path / "out").exists()


def test_what_was_pruned_is_a_hash_and_everything_verifies(
    ledger: Ledger, tmp_path: Path
) -> None:
    fill(ledger)
    whole = ledger.export(tmp_path / "whole")
    prune(ledger)
    folder = ledger.export(tmp_path / "out")
    found = verdict(ledger, folder, whole / "checkpoint.txt")
    assert found.status == verifier.OK
    assert (found.size, found.records) == (11, 6)
    assert any("5 records" in gap and "pruned" in gap for gap in found.not_proved)
    # One hash for each, which is that of the record in the older export.
    lines = (folder / "hashes.txt").read_text().splitlines()
    leaves = [base64.b64encode(leaf_hash(r)).decode() for r in records_of(whole)]
    assert lines == [f"{seq} 1 {leaves[seq]}" for seq in range(1, 6)]


def test_a_part_says_of_what_it_asked_for_that_it_was_pruned(
    ledger: Ledger, tmp_path: Path
) -> None:
    fill(ledger)
    prune(ledger)
    with ledger.engine.connect() as connection:
        wishes = proof_wishes(connection, "r2", log=ledger.log)
    for name, wished in {
        "proof": wishes,
        "team": Wishes(selection=Selection(team="others")),
        "range": Wishes(selection=Selection(first=2, last=3)),
    }.items():
        folder = ledger.export(tmp_path / name, wished)
        found = verdict(ledger, folder)
        assert found.status == verifier.OK
        assert any("pruned" in gap for gap in found.not_proved), name
        assert any(b'"log.pruned"' in record for record in records_of(folder))
    lines = (tmp_path / "proof" / "hashes.txt").read_text().splitlines()
    assert {"3 1", "5 1"} <= {line.rpartition(" ")[0] for line in lines}
