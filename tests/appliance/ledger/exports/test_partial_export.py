"""An export of some records proves these, and how many others there are."""

import base64
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import event

from appliance.ledger.exports import verifier
from appliance.ledger.exports.export import Wishes
from appliance.ledger.exports.places import place_from, place_to, proof_wishes
from appliance.ledger.exports.receipt_header import parse_receipt, receipt_text
from appliance.ledger.exports.selection import Selection
from appliance.ledger.log.append import Receipt
from appliance.ledger.log.consistency import check_consistency, held_checkpoint
from appliance.ledger.tree.merkle import consistency_holds
from appliance.ledger.tree.note import Checkpoint, decode_note, parse_checkpoint
from bundleformat.errors import (
    EquivocationError,
    MalformedError,
    MissingError,
    RollbackError,
    SignatureError,
    UsageError,
)
from tests.support.forgery import Thief, copy_with, records_of, resign, sign_manifest
from tests.support.ledgers import Ledger, refusal, request, response


def _status(ledger: Ledger, folder: Path, *held: "Path | verifier.Head") -> int:
    """The status on which the module and the exported program agree."""
    key = ledger.log.vkey
    verdict = verifier.verify(folder, key=key, held=held)
    if not any(isinstance(each, tuple) for each in held):
        named = [word for path in held for word in ("--held", str(path))]
        done = subprocess.run(
            [sys.executable, "-I", folder / "verify.py", folder, "--key", key, *named],
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (verdict.status, b"")
    return verdict.status


@pytest.fixture
def busy(ledger: Ledger) -> Ledger:
    """A ledger of 3 teams under 3 keys: 32 records."""
    for number in range(8):
        team = ("claims", "legal", "sales")[number % 3]
        name = f"r{number}"
        opened = ledger.append([request(name, team=team)])[0]
        ledger.append([response(name, parent=opened.seq, team=team), refusal()])
        if number in (2, 5):
            ledger.rotate()
    ledger.append([refusal() for _ in range(5)])
    return ledger


def _seqs(folder: Path) -> list[int]:
    return [int(json.loads(record)["seq"]) for record in records_of(folder)]


ROTATIONS = {10, 20}


@pytest.mark.parametrize("first", [0, 1, 7, 16, 31])
@pytest.mark.parametrize("length", [1, 2, 9, 16])
def test_a_range_is_whole_and_everything_else_is_a_hash(
    busy: Ledger, tmp_path: Path, first: int, length: int
) -> None:
    last = first + length - 1
    folder = busy.export(
        tmp_path / "out", Wishes(selection=Selection(first=first, last=last))
    )
    assert _status(busy, folder) == verifier.OK
    assert set(_seqs(folder)) == {*range(first, min(last, 32) + 1), *ROTATIONS}
    lines = (folder / "hashes.txt").read_text().splitlines()
    assert len(lines) < 24
    verdict = verifier.verify(folder, key=busy.log.vkey)
    assert verdict.records < verdict.size == 33
    left_out = 33 - len(_seqs(folder))
    said = f"what {left_out} records say: here is first {first}, last {last}"
    assert said in verdict.not_proved
    assert f"VERIFIED: {verdict.records} of 33 records" in verdict.text()


def test_a_filter_lists_every_other_record_of_its_range_by_its_hash(
    busy: Ledger, tmp_path: Path
) -> None:
    selection = Selection(first=4, last=28, event="llm.request", team="legal")
    folder = busy.export(tmp_path / "out", Wishes(selection=selection))
    assert _status(busy, folder) == verifier.OK
    said = [json.loads(record) for record in records_of(folder)]
    # That nothing else was asked for, nobody can check: the verdict says so.
    gap = "here is first 4, last 28, event llm.request, team legal, "
    verdict = verifier.verify(folder, key=busy.log.vkey)
    assert any(f"{gap}which is the host's word" in each for each in verdict.not_proved)
    asked = [each for each in said if each["event"] != "key.rotate"]
    assert {each["team"] for each in asked} == {"legal"}
    assert [each["seq"] for each in asked] == ["4", "14", "24"]
    listed = [
        line.split()
        for line in (folder / "hashes.txt").read_text().splitlines()
        if 4 <= int(line.split()[0]) <= 28
    ]
    assert [int(place) for place, _, _ in listed] == [
        n for n in range(4, 29) if n not in {4, 14, 24, *ROTATIONS}
    ]
    assert {count for _, count, _ in listed} == {"1"}
    # Each hash is the leaf of the record that it stands for.
    with busy.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT seq, leaf FROM record").all()
    leaves = {row[0]: row[1] for row in rows}
    assert all(
        base64.b64decode(leaf) == leaves[int(place)] for place, _, leaf in listed
    )


def test_a_model_brings_its_requests_and_how_they_ended(
    busy: Ledger, tmp_path: Path
) -> None:
    folder = busy.export(tmp_path / "a", Wishes(selection=Selection(model="demo")))
    assert _status(busy, folder) == verifier.OK
    events = [json.loads(record)["event"] for record in records_of(folder)]
    assert (events.count("llm.request"), events.count("llm.response")) == (8, 8)
    nothing = Wishes(selection=Selection(model="another"))
    other = busy.export(tmp_path / "b", nothing)
    assert _status(busy, other) == verifier.OK
    assert set(_seqs(other)) == ROTATIONS


def test_what_was_asked_for_is_on_record(busy: Ledger, tmp_path: Path) -> None:
    selection = Selection(first=3, event="llm.request", model="a b")
    busy.export(tmp_path / "out", Wishes(selection=selection))
    whole = busy.export(tmp_path / "whole", Wishes())
    said = json.loads(records_of(whole)[32])["selection"]
    assert (said["first"], said["event"]) == ("3", "llm.request")
    assert said["model"].startswith("sha256:")
    assert "selection" not in json.loads(records_of(whole)[33])


def _tampered(folder: Path, to: Path, name: str, old: bytes, new: bytes) -> Path:
    shutil.copytree(folder, to)
    data = (to / name).read_bytes()
    assert old in data
    (to / name).write_bytes(data.replace(old, new, 1))
    return to


def test_a_record_or_a_hash_that_is_taken_out_is_a_gap(
    busy: Ledger, tmp_path: Path
) -> None:
    selection = Selection(first=4, last=9)
    folder = busy.export(tmp_path / "out", Wishes(selection=selection))
    for number in range(len(_seqs(folder))):
        records = records_of(folder)
        del records[number]
        forged = copy_with(folder, records, to=tmp_path / f"record{number}")
        assert _status(busy, forged) == verifier.GAP
    lines = (folder / "hashes.txt").read_bytes().splitlines(keepends=True)
    for number in range(len(lines)):
        forged = tmp_path / f"hash{number}"
        shutil.copytree(folder, forged)
        kept = lines[:number] + lines[number + 1 :]
        (forged / "hashes.txt").write_bytes(b"".join(kept))
        assert _status(busy, forged) in (verifier.GAP, verifier.TRUNCATED)


def test_a_record_hidden_behind_its_hash_without_the_key_is_caught(
    busy: Ledger, tmp_path: Path
) -> None:
    whole = busy.export(tmp_path / "whole", Wishes())
    with busy.engine.connect() as connection:
        leaf = connection.exec_driver_sql(
            "SELECT leaf FROM record WHERE seq = 7"
        ).scalar_one()
    records = records_of(whole)
    del records[7]
    forged = copy_with(whole, records, to=tmp_path / "forged")
    line = f"7 1 {base64.b64encode(leaf).decode()}\n"
    (forged / "hashes.txt").write_text(line)
    assert _status(busy, forged) == verifier.RECORD


def test_a_whole_export_that_hides_a_record_is_a_gap_even_if_signed(
    busy: Ledger, tmp_path: Path
) -> None:
    selection = Selection(last=40, event="llm.request")
    folder = busy.export(tmp_path / "out", Wishes(selection=selection))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["only"]
    sign_manifest(folder, manifest, ledger=busy)
    assert _status(busy, folder) == verifier.GAP


@pytest.mark.parametrize(
    "line",
    [
        b"0 0 x\n",
        b"0 3 {}\n",
        b"0 -1 {}\n",
        b"0 1\n",
        b"0 1 {} \n",
        b"0 1 x\n",
        b"0 \xff {}\n",
        "0 ٣ {}\n".encode(),
    ],
)
def test_a_line_that_is_no_hash_is_caught_even_if_signed(
    busy: Ledger, tmp_path: Path, line: bytes
) -> None:
    folder = busy.export(tmp_path / "o", Wishes(selection=Selection(first=9)))
    lines = (folder / "hashes.txt").read_bytes().splitlines(keepends=True)
    root = lines[0].split()[2]
    lines[0] = line.replace(b"{}", root)
    (folder / "hashes.txt").write_bytes(b"".join(lines))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    sign_manifest(folder, manifest, ledger=busy)
    assert _status(busy, folder) == verifier.RECORD


def test_no_byte_of_a_filtered_export_can_change_unnoticed(
    busy: Ledger, tmp_path: Path
) -> None:
    selection = Selection(first=5, event="llm.request", team="sales")
    old = busy.export(tmp_path / "old", Wishes()) / "checkpoint.txt"
    with busy.engine.connect() as connection:
        held = held_checkpoint(connection, old.read_bytes(), where="old")
    wishes = Wishes(selection=selection, since=(held,))
    folder = busy.export(tmp_path / "out", wishes)
    unnoticed = []
    for path in sorted(folder.rglob("*.*")):
        whole = path.read_bytes()
        step = 97 if path.name == "verify.py" else 7
        for place in range(place_of(path), len(whole), step):
            changed = bytearray(whole)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            status = verifier.verify(folder, key=busy.log.vkey).status
            if status in (verifier.OK, verifier.UNCHECKED):
                unnoticed.append((path.name, place))
        path.write_bytes(whole)
    assert unnoticed == []
    assert _status(busy, folder, old) == verifier.OK


def place_of(path: Path) -> int:
    """Where to begin, so that over the files all residues are met."""
    return len(path.name) % 7


def test_a_held_checkpoint_is_compared_with_a_partial_export_that_was_made_for_it(
    busy: Ledger, tmp_path: Path
) -> None:
    old = busy.export(tmp_path / "old", Wishes()) / "checkpoint.txt"
    busy.append([refusal() for _ in range(5)])
    with busy.engine.connect() as connection:
        held = held_checkpoint(connection, old.read_bytes(), where="old")
    narrow = Selection(first=2, last=3)
    without = busy.export(tmp_path / "without", Wishes(selection=narrow))
    assert _status(busy, without, old) == verifier.UNCHECKED
    made = busy.export(tmp_path / "with", Wishes(selection=narrow, since=(held,)))
    assert _status(busy, made, old) == verifier.OK
    proof = (made / "consistency" / "33-40.txt").read_bytes()
    note = (made / "checkpoint.txt").read_bytes()
    check_consistency(proof, held=held, note=note)
    lines = proof.partition(b"\n\n")[0].decode().split("\n")
    head = parse_checkpoint(decode_note(note).text)
    assert lines[0] == "old 33"
    assert consistency_holds(
        [base64.b64decode(line) for line in lines[1:]],
        old_size=33,
        old_root=held.root,
        size=40,
        root=head.root,
    )


def test_a_checkpoint_of_another_history_is_refused_by_the_host(
    busy: Ledger, tmp_path: Path
) -> None:
    old = busy.export(tmp_path / "old", Wishes())
    other = copy_with(old, [*records_of(old)[:-2], b"{}", b"{}"], to=tmp_path / "x")
    resign(other, ledger=busy)
    longer = copy_with(old, [*records_of(old), b"{}"], to=tmp_path / "longer")
    resign(longer, ledger=busy)
    stolen = copy_with(old, records_of(old), to=tmp_path / "stolen")
    resign(stolen, ledger=Thief(busy.log, Ed25519PrivateKey.generate()))
    with busy.engine.connect() as connection:
        for folder, kind in (
            (other, EquivocationError),
            (longer, RollbackError),
            (stolen, SignatureError),
        ):
            data = (folder / "checkpoint.txt").read_bytes()
            with pytest.raises(kind):
                held_checkpoint(connection, data, where="held")
        with pytest.raises(MalformedError):
            held_checkpoint(connection, b"no checkpoint", where="held")


def test_a_consistency_proof_that_does_not_fit_is_refused(
    busy: Ledger, tmp_path: Path
) -> None:
    old = busy.export(tmp_path / "old", Wishes()) / "checkpoint.txt"
    with busy.engine.connect() as connection:
        held = held_checkpoint(connection, old.read_bytes(), where="old")
    made = busy.export(tmp_path / "new", Wishes(since=(held,)))
    proof = (made / "consistency" / "33-34.txt").read_bytes()
    note = (made / "checkpoint.txt").read_bytes()
    wrong = Checkpoint(origin=held.origin, size=33, root=bytes(32))
    with pytest.raises(EquivocationError):
        check_consistency(proof, held=wrong, note=note)
    shifted = Checkpoint(origin=held.origin, size=32, root=held.root)
    for data in (b"", proof[:-1], proof.replace(b"old", b"new", 1)):
        with pytest.raises(MalformedError):
            check_consistency(data, held=held, note=note)
    with pytest.raises(MalformedError):
        check_consistency(proof, held=shifted, note=note)


def _told(receipt: Receipt) -> "verifier.Head":
    told = parse_receipt(receipt_text(receipt))
    return (told.size, told.root, "receipt")


@pytest.mark.parametrize("named_by", ["receipt", "number", "request"])
def test_a_call_is_proven_to_whoever_made_it(
    ledger: Ledger, tmp_path: Path, named_by: str
) -> None:
    ledger.append([refusal() for _ in range(100)])
    opened = ledger.append([request("mine"), request("other")])[0]
    ended = ledger.append([response("mine", parent=opened.seq)])[0]
    ledger.append([refusal() for _ in range(100)])
    what = {
        "receipt": receipt_text(ended),
        "number": str(opened.seq),
        "request": "mine",
    }[named_by]
    with ledger.engine.connect() as connection:
        wishes = proof_wishes(connection, what, log=ledger.log)
    folder = ledger.export(tmp_path / "out", wishes)
    assert _status(ledger, folder) == verifier.OK
    assert _seqs(folder) == [opened.seq, ended.seq]
    assert len((folder / "hashes.txt").read_text().splitlines()) < 20
    if named_by == "receipt":
        assert _status(ledger, folder, _told(ended)) == verifier.OK
        size, _, source = _told(ended)
        lie = (size, bytes(32), source)
        assert _status(ledger, folder, lie) == verifier.INCONSISTENT
    whole = ledger.export(tmp_path / "whole", Wishes())
    for receipt in (opened, ended):
        assert _status(ledger, whole, _told(receipt)) == verifier.OK


def test_a_history_that_a_caller_was_not_told_of_is_caught_by_the_receipt(
    ledger: Ledger, tmp_path: Path
) -> None:
    opened = ledger.append([request("mine")])[0]
    ledger.append([response("mine", parent=opened.seq)])
    whole = ledger.export(tmp_path / "whole", Wishes())
    records = records_of(whole)
    records[1] = records[1].replace(b'"claims"', b'"others"')
    forged = copy_with(whole, records, to=tmp_path / "forged")
    resign(forged, ledger=ledger)
    # No checkpoint left the host, and the thief has its key: the caller tells.
    assert _status(ledger, forged) == verifier.OK
    assert _status(ledger, forged, _told(opened)) == verifier.INCONSISTENT
    shorter = copy_with(whole, records_of(whole)[:1], to=tmp_path / "shorter")
    resign(shorter, ledger=ledger)
    assert _status(ledger, shorter, _told(opened)) == verifier.TRUNCATED


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1.x.0", "1..0", "a.b.c"),
        f"1.{'A' * 43}.1",
        f"0.{'A' * 43}.0",
        f"01.{'A' * 43}.0",
        f"1.{'A' * 42}B.0",
        f"1.{'A' * 43}.0\n",
        f"1.{'A' * 43}=.0",
    ],
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_receipt(text)


def test_what_names_no_record_is_missing(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        for what in ("1", "9" * 40, "nobody", "٣"):
            with pytest.raises(MissingError):
                proof_wishes(connection, what, log=ledger.log)
        lie = receipt_text(Receipt(seq=0, leaf=b"", size=1, root=bytes(32)))
        with pytest.raises(EquivocationError):
            proof_wishes(connection, lie, log=ledger.log)
        later = receipt_text(Receipt(seq=0, leaf=b"", size=9, root=bytes(32)))
        with pytest.raises(RollbackError):
            proof_wishes(connection, later, log=ledger.log)


def test_a_day_and_a_moment_name_records(ledger: Ledger) -> None:
    ledger.append([refusal()])
    with ledger.engine.connect() as connection:
        assert place_from(connection, "2026-11-22") == 0
        assert place_to(connection, "2026-11-22") == 1
        assert place_to(connection, "2026-11-22T08:04:29.123456Z") == 1
        assert place_from(connection, "2026-11-22T10:00:00+02:00") == 0
        assert place_from(connection, "7") == 7
        for find, text in ((place_from, "2026-11-23"), (place_to, "2026-11-21")):
            with pytest.raises(MissingError):
                find(connection, text)
        for text in ("yesterday", "", "-1", "2026-13-01"):
            with pytest.raises(UsageError):
                place_from(connection, text)


@pytest.mark.parametrize(
    "count",
    ["9" * 5000, "9" * 19, "3", "0", "01", "\N{ARABIC-INDIC DIGIT ONE}", "-1", ""],
)
def test_a_hash_that_says_no_sound_number_of_leaves_is_caught(
    busy: Ledger, tmp_path: Path, count: str
) -> None:
    wishes = Wishes(selection=Selection(first=31, last=31))
    folder = busy.export(tmp_path / "out", wishes)
    path = folder / "hashes.txt"
    place, _, rest = path.read_text().split(" ", 2)
    path.write_text(f"{place} {count} {rest}", "utf-8")
    assert _status(busy, folder) == verifier.RECORD


@pytest.fixture
def rows_read(ledger: Ledger) -> Iterator[Counter[str]]:
    """How many steps SQLite takes, which count what it looks at."""
    counted: Counter[str] = Counter()
    event.listen(
        ledger.engine,
        "connect",
        lambda driver, _: driver.set_progress_handler(
            lambda: counted.update(["steps"]), 100
        ),
    )
    ledger.engine.dispose()
    yield counted
    ledger.engine.dispose()


def test_a_part_costs_the_same_of_a_longer_ledger(
    ledger: Ledger, rows_read: Counter[str], tmp_path: Path
) -> None:
    ledger.append([request("r1"), response("r1", parent=1)])
    part = Wishes(selection=Selection(first=1, last=2))
    call = Wishes(selection=Selection(request_id="r1", listed=False))
    steps: list[list[int]] = []
    for number in range(3):
        ledger.append([refusal()] * (600 if number == 0 else 3_000 * number))
        taken: list[int] = []
        for wishes in (part, call):
            rows_read.clear()
            folder = tmp_path / f"{number}-{len(taken)}"
            ledger.export(folder, wishes)
            taken.append(rows_read["steps"])
            assert verifier.verify(folder, key=ledger.log.vkey).status == verifier.OK
        steps.append(taken)
    assert min(steps[0]) > 0
    # At most the leaves of one subtree more, whose hashes are not kept.
    most = [2 * each for each in steps[0]]
    assert all(now < limit for now, limit in zip(steps[-1], most, strict=True)), steps
