"""Every way of changing an export is caught, in process and by the exported program."""

import dataclasses
import datetime as dt
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.audit_media.tar_file import write_tar
from appliance.ledger.exports import verifier
from appliance.ledger.tree.note import VerifierKey
from tests.support.forgery import Thief, copy_with, records_of, resign, sign_manifest
from tests.support.ledgers import Ledger, request, response


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What an auditor has: an old checkpoint, a later export, the key, a program."""

    ledger: Ledger
    held: Path
    folder: Path
    program: Path
    scratch: Path

    def status(
        self, folder: Path, *, key: str | None = None, held: tuple[Path, ...] = ()
    ) -> int:
        """Return the exit status on which both verifiers agree."""
        key = key or self.ledger.log.vkey
        verdict = verifier.verify(folder, key=key, held=held)
        arguments = [word for path in held for word in ("--held", str(path))]
        done = subprocess.run(
            [sys.executable, "-I", self.program, folder, "--key", key, *arguments],
            capture_output=True,
            check=False,
            cwd="/",
            env={},
        )
        assert (done.returncode, done.stderr) == (verdict.status, b"")
        assert done.stdout.decode() == verdict.text()
        return verdict.status

    def problem(self, folder: Path) -> str:
        """Return the sentence that says what failed."""
        return verifier.verify(folder, key=self.ledger.log.vkey).problem


@pytest.fixture
def evidence(ledger: Ledger, tmp_path: Path) -> Evidence:
    ledger.append([request("r1"), response("r1", parent=1)])
    made = []
    for name in ("first", "second"):
        folder = tmp_path / name
        made.append(ledger.export(folder))
        ledger.append([request(name)])
    program = shutil.copy(made[1] / "verify.py", tmp_path / "trusted.py")
    held = shutil.copy(made[0] / "checkpoint.txt", tmp_path / "held.txt")
    return Evidence(
        ledger=ledger,
        held=Path(held),
        folder=made[1],
        program=Path(program),
        scratch=tmp_path / "tampered",
    )


def _rewritten(records: list[bytes], place: int) -> list[bytes]:
    changed = records[place].replace(b'"claims"', b'"others"')
    assert changed != records[place]
    return [*records[:place], changed, *records[place + 1 :]]


def _swapped(records: list[bytes], place: int) -> list[bytes]:
    one, two = records[place : place + 2]
    return [*records[:place], two, one, *records[place + 2 :]]


def test_an_untouched_export_holds_with_and_without_a_held_checkpoint(
    evidence: Evidence,
) -> None:
    assert evidence.status(evidence.folder) == verifier.OK
    assert evidence.status(evidence.folder, held=(evidence.held,)) == verifier.OK


def test_the_verdict_says_what_it_could_not_prove(evidence: Evidence) -> None:
    key = evidence.ledger.log.vkey
    alone = verifier.verify(evidence.folder, key=key)
    anchored = verifier.verify(evidence.folder, key=key, held=(evidence.held,))
    own = verifier.parse_head(
        (evidence.folder / "checkpoint.txt").read_text("utf-8").partition("\n\n")[0]
        + "\n",
        evidence.ledger.log.origin,
        "what a caller was told",
    )
    complete = verifier.verify(evidence.folder, key=key, held=(own,))
    assert any("from 0 on" in gap for gap in alone.not_proved)
    assert any("from 4 on" in gap for gap in anchored.not_proved)
    assert complete.not_proved == verifier.NOT_PROVED
    assert (anchored.size, anchored.origin) == (6, evidence.ledger.log.origin)


def test_an_edited_record_is_caught(evidence: Evidence) -> None:
    edited = _rewritten(records_of(evidence.folder), 1)
    folder = copy_with(evidence.folder, edited, to=evidence.scratch)
    assert evidence.status(folder) == verifier.RECORD


def test_a_swapped_pair_is_caught_even_if_signed(evidence: Evidence) -> None:
    swapped = _swapped(records_of(evidence.folder), 1)
    folder = copy_with(evidence.folder, swapped, to=evidence.scratch)
    assert evidence.status(folder) == verifier.RECORD
    resign(folder, ledger=evidence.ledger)
    assert evidence.status(folder) == verifier.RECORD


def test_a_dropped_tail_is_caught(evidence: Evidence) -> None:
    shorter = records_of(evidence.folder)[:-1]
    folder = copy_with(evidence.folder, shorter, to=evidence.scratch)
    assert evidence.status(folder) == verifier.TRUNCATED


def test_a_record_cut_in_half_is_caught(evidence: Evidence) -> None:
    folder = copy_with(
        evidence.folder, records_of(evidence.folder), to=evidence.scratch
    )
    whole = (folder / "records.jsonl").read_bytes()
    (folder / "records.jsonl").write_bytes(whole[:-20])
    assert evidence.status(folder) == verifier.TRUNCATED


def test_a_dropped_tail_signed_with_the_real_key_is_caught_by_a_held_checkpoint(
    evidence: Evidence,
) -> None:
    shorter = records_of(evidence.folder)[:3]
    folder = copy_with(evidence.folder, shorter, to=evidence.scratch)
    resign(folder, ledger=evidence.ledger)
    assert evidence.status(folder, held=(evidence.held,)) == verifier.TRUNCATED


def test_a_missing_record_in_the_middle_is_caught(evidence: Evidence) -> None:
    records = records_of(evidence.folder)
    gap = [*records[:2], *records[3:]]
    folder = copy_with(evidence.folder, gap, to=evidence.scratch)
    assert evidence.status(folder) == verifier.GAP


def test_records_added_after_the_checkpoint_are_caught(evidence: Evidence) -> None:
    records = records_of(evidence.folder)
    added = [*records, records[-1].replace(b'"seq":"5"', b'"seq":"6"')]
    folder = copy_with(evidence.folder, added, to=evidence.scratch)
    assert evidence.status(folder) == verifier.RECORD


def test_a_rewrite_signed_with_the_real_key_is_caught_by_a_held_checkpoint(
    evidence: Evidence,
) -> None:
    rewritten = _rewritten(records_of(evidence.folder), 1)
    folder = copy_with(evidence.folder, rewritten, to=evidence.scratch)
    resign(folder, ledger=evidence.ledger)
    assert evidence.status(folder, held=(evidence.held,)) == verifier.INCONSISTENT


def test_a_rewrite_after_the_held_checkpoint_is_named_as_not_proved(
    evidence: Evidence,
) -> None:
    # The limit of any such log: whoever has the key writes what nobody held yet.
    rewritten = records_of(evidence.folder)
    rewritten[4] = rewritten[4].replace(b'"first"', b'"other"')
    folder = copy_with(evidence.folder, rewritten, to=evidence.scratch)
    resign(folder, ledger=evidence.ledger)
    held = (evidence.held,)
    assert evidence.status(folder, held=held) == verifier.OK
    verdict = verifier.verify(folder, key=evidence.ledger.log.vkey, held=held)
    assert any("from 4 on" in gap for gap in verdict.not_proved)


def test_an_export_signed_by_another_key_is_caught(evidence: Evidence) -> None:
    thief = Thief(evidence.ledger.log, Ed25519PrivateKey.generate())
    folder = copy_with(
        evidence.folder, records_of(evidence.folder), to=evidence.scratch
    )
    resign(folder, ledger=thief)
    assert evidence.status(folder) == verifier.SIGNATURE


def test_the_wrong_key_verifies_nothing(evidence: Evidence) -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    key = VerifierKey(name=evidence.ledger.log.origin, public=other).encode()
    assert evidence.status(evidence.folder, key=key) == verifier.SIGNATURE


@pytest.mark.parametrize("key", ["abc", "é+0+0", "a+b", "cut", "turned", "\x1b[2J"])
def test_what_is_no_verifier_key_checks_nothing_and_accuses_nobody(
    evidence: Evidence, key: str
) -> None:
    real = evidence.ledger.log.vkey
    name, key_id, body = real.split("+", 2)
    typed = {"cut": real[:-1], "turned": f"{name}+{key_id[::-1]}+{body}"}.get(key, key)
    assert evidence.status(evidence.folder, key=typed) == verifier.UNCHECKED
    verdict = verifier.verify(evidence.folder, key=typed)
    assert verdict.problem.startswith("--key ")
    assert verdict.proved == ()


@pytest.mark.parametrize("name", ["checkpoint.txt", "records.jsonl", "verify.py"])
def test_a_file_that_is_not_the_listed_one_is_named(
    evidence: Evidence, name: str
) -> None:
    # Signed with the real key, so that only the manifest's list can tell.
    folder = copy_with(
        evidence.folder, records_of(evidence.folder), to=evidence.scratch
    )
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for entry in manifest["files"]:
        if entry["path"] == name:
            entry["sha256"] = "0" * 64
    sign_manifest(folder, manifest, ledger=evidence.ledger)
    assert evidence.status(folder) == verifier.RECORD
    verdict = verifier.verify(folder, key=evidence.ledger.log.vkey)
    assert verdict.problem == f"{name} is not what manifest.json says"


@pytest.mark.parametrize("files", [None, {}, 7, [], "longer"])
def test_a_signed_manifest_with_another_list_is_caught(
    evidence: Evidence, files: object
) -> None:
    folder = copy_with(
        evidence.folder, records_of(evidence.folder), to=evidence.scratch
    )
    manifest = json.loads((folder / "manifest.json").read_bytes())
    more = [*manifest["files"], manifest["files"][0]]
    manifest["files"] = more if files == "longer" else files
    sign_manifest(folder, manifest, ledger=evidence.ledger)
    assert evidence.status(folder) == verifier.RECORD


def test_what_else_lies_in_the_folder_is_named_as_not_covered(
    evidence: Evidence,
) -> None:
    (evidence.folder / "notes.txt").write_text("read me first")
    (evidence.folder / "\x1b[2J").mkdir()
    assert evidence.status(evidence.folder) == verifier.OK
    verdict = verifier.verify(evidence.folder, key=evidence.ledger.log.vkey)
    assert verdict.not_proved[-2:] == (
        "?[2J: covered by no signature",
        "notes.txt: covered by no signature",
    )


@pytest.mark.parametrize("change", ["text", "key"])
def test_a_held_checkpoint_without_a_valid_signature_is_refused(
    evidence: Evidence, change: str
) -> None:
    if change == "text":
        text = evidence.held.read_text("utf-8")
        evidence.held.write_text(text.replace("\n4\n", "\n3\n"), "utf-8")
    else:
        thief = Thief(evidence.ledger.log, Ed25519PrivateKey.generate())
        forged = copy_with(
            evidence.folder, records_of(evidence.folder)[:4], to=evidence.scratch
        )
        resign(forged, ledger=thief)
        shutil.copy(forged / "checkpoint.txt", evidence.held)
    held = (evidence.held,)
    assert evidence.status(evidence.folder, held=held) == verifier.SIGNATURE


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"v": 2}, verifier.RECORD),
        ({"log": "another"}, verifier.RECORD),
        ({"seq": 2}, verifier.RECORD),
        ({"extra": 1.5}, verifier.RECORD),
    ],
)
def test_a_signed_record_that_is_not_one_of_ours_is_caught(
    evidence: Evidence, change: dict[str, object], status: int
) -> None:
    records = records_of(evidence.folder)
    changed = json.loads(records[2]) | change
    records[2] = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
    folder = copy_with(evidence.folder, records, to=evidence.scratch)
    resign(folder, ledger=evidence.ledger)
    assert evidence.status(folder) == status


@pytest.mark.parametrize(
    "line", [b"{}", b"[" * 100_000, b"\xff", b'{"a":1,"a":1}', b'{"a": 1}', b"NaN"]
)
def test_a_signed_line_that_is_no_record_is_caught(
    evidence: Evidence, line: bytes
) -> None:
    records = [*records_of(evidence.folder)[:-1], line]
    folder = copy_with(evidence.folder, records, to=evidence.scratch)
    resign(folder, ledger=evidence.ledger)
    assert evidence.status(folder) == verifier.RECORD


@pytest.mark.parametrize("signed", [False, True])
def test_what_an_export_says_cannot_drive_the_auditors_terminal(
    evidence: Evidence, *, signed: bool
) -> None:
    # Without any key: a finding is quoted, and its quotation would hide the finding.
    # With the key: a record that is in order is counted under its own words.
    field, expected = ("event", verifier.OK) if signed else ("seq", verifier.RECORD)
    *records, last = records_of(evidence.folder)
    hostile = json.loads(last) | {field: "\r\x1b[2K\x1b[1A\nVERIFIED: 9 records\u202e"}
    records.append(rfc8785.dumps(hostile))
    folder = copy_with(evidence.folder, records, to=evidence.scratch)
    if signed:
        resign(folder, ledger=evidence.ledger)
    assert evidence.status(folder) == expected
    verdict = verifier.verify(folder, key=evidence.ledger.log.vkey)
    lines = (verdict.problem, *verdict.proved, *verdict.text().splitlines())
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    "name",
    [
        *("records.jsonl", "checkpoint.txt", "epoch-keys.jsonl"),
        *("manifest.json", "manifest.note", "verify.py"),
    ],
)
def test_an_export_that_lacks_a_file_cannot_be_checked(
    evidence: Evidence, name: str
) -> None:
    (evidence.folder / name).unlink()
    assert evidence.status(evidence.folder) == verifier.UNCHECKED
    (evidence.folder / name).symlink_to(evidence.held)
    assert evidence.status(evidence.folder) == verifier.UNCHECKED


@pytest.mark.parametrize("kind", ["tar", "iso", "age"])
def test_an_archive_cannot_be_checked_and_what_to_do_is_said(
    evidence: Evidence, tmp_path: Path, kind: str
) -> None:
    archive = tmp_path / f"june.{kind}"
    archive.write_bytes(ARCHIVES[kind](evidence.folder))
    assert evidence.status(archive) == verifier.UNCHECKED
    assert evidence.problem(archive) == (
        f"{archive} is a file: unpack it (tar -xf, mount, open_export.py), then verify "
        "the folder"
    )


def _tar(folder: Path) -> bytes:
    sink = io.BytesIO()
    write_tar(folder, sink, top="june", created=dt.datetime(2026, 6, 1, tzinfo=dt.UTC))
    return sink.getvalue()


ARCHIVES: dict[str, Callable[[Path], bytes]] = {
    "tar": _tar,
    "iso": lambda _: bytes(16 * 2048) + b"\1CD001\1" + bytes(2041),
    "age": lambda _: b"age-encryption.org/v1\n",
}


def test_a_folder_that_is_not_there_or_holds_no_export_cannot_be_checked(
    evidence: Evidence, tmp_path: Path
) -> None:
    missing, other = tmp_path / "june", tmp_path / "other"
    assert evidence.status(missing) == verifier.UNCHECKED
    assert evidence.problem(missing) == f"{missing}: No such file or directory"
    # As where an archive was unpacked: the export is the folder in it.
    shutil.copytree(evidence.folder, other / "june")
    assert evidence.status(other) == verifier.UNCHECKED
    said = f"{other} is no export: it has no checkpoint.txt"
    assert evidence.problem(other) == said
    assert evidence.status(other / "june") == verifier.OK


def test_nothing_is_opened_that_is_neither_file_nor_folder(
    evidence: Evidence, tmp_path: Path
) -> None:
    place = tmp_path / "june"
    os.mkfifo(place)
    assert evidence.status(place) == verifier.UNCHECKED
    assert evidence.problem(place) == f"{place}: Not a directory"


def test_a_wrong_command_is_not_taken_for_a_finding(evidence: Evidence) -> None:
    done = subprocess.run(
        [sys.executable, "-I", evidence.program, evidence.folder],
        capture_output=True,
        check=False,
    )
    assert done.returncode == verifier.UNCHECKED


def test_no_byte_of_an_export_can_change_unnoticed(evidence: Evidence) -> None:
    key = evidence.ledger.log.vkey
    unnoticed = []
    for path in sorted(evidence.folder.iterdir()):
        whole = path.read_bytes()
        step = 13 if path.name == "verify.py" else 1
        for place in range(0, len(whole), step):
            changed = bytearray(whole)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            verdict = verifier.verify(evidence.folder, key=key)
            if verdict.status in (verifier.OK, verifier.UNCHECKED):
                unnoticed.append((path.name, place))
        path.write_bytes(whole)
    assert unnoticed == []
    assert evidence.status(evidence.folder) == verifier.OK


@pytest.mark.parametrize(
    "name", ["records.jsonl", "checkpoint.txt", "manifest.json", "manifest.note"]
)
def test_the_exported_program_agrees_on_a_flipped_bit(
    evidence: Evidence, name: str
) -> None:
    data = bytearray((evidence.folder / name).read_bytes())
    for place in (0, len(data) // 2, len(data) - 1):
        data[place] ^= 4
        (evidence.folder / name).write_bytes(data)
        assert evidence.status(evidence.folder) not in (0, 1)
        data[place] ^= 4


@pytest.fixture
def chained(evidence: Evidence, tmp_path: Path) -> Path:
    """An export whose ledger went through three keys since."""
    for number in range(2):
        evidence.ledger.rotate()
        evidence.ledger.append([request(f"epoch{number}")])
    folder = tmp_path / "chained"
    ledger = evidence.ledger
    ledger.export(folder)
    return folder


def test_a_record_of_an_older_epoch_cannot_be_rewritten_with_todays_key(
    evidence: Evidence, chained: Path
) -> None:
    # Nobody holds a checkpoint: the old key's own last one, in the chain, tells.
    rewritten = _rewritten(records_of(chained), 1)
    folder = copy_with(chained, rewritten, to=evidence.scratch)
    resign(folder, ledger=evidence.ledger)
    assert evidence.status(folder) == verifier.INCONSISTENT


def test_records_of_an_older_epoch_cannot_be_dropped_with_todays_key(
    evidence: Evidence, chained: Path
) -> None:
    folder = copy_with(chained, records_of(chained)[:3], to=evidence.scratch)
    resign(folder, ledger=evidence.ledger)
    assert evidence.status(folder) == verifier.SIGNATURE


def _lines(folder: Path) -> list[bytes]:
    return (folder / "epoch-keys.jsonl").read_bytes().splitlines(keepends=True)


def _renamed(line: bytes, **changes: object) -> bytes:
    return rfc8785.dumps(json.loads(line) | changes) + b"\n"


@pytest.mark.parametrize("break_chain", ["without its first", "swapped", "doubled"])
def test_a_chain_of_keys_with_a_missing_link_is_caught(
    evidence: Evidence, chained: Path, break_chain: str
) -> None:
    one, two = _lines(chained)
    lines = {
        "without its first": [two],
        "swapped": [two, one],
        "doubled": [one, one, two],
    }[break_chain]
    (chained / "epoch-keys.jsonl").write_bytes(b"".join(lines))
    resign(chained, ledger=evidence.ledger)
    assert evidence.status(chained) == verifier.CHAIN


def test_a_chain_without_its_last_key_does_not_reach_this_export(
    evidence: Evidence, chained: Path
) -> None:
    (chained / "epoch-keys.jsonl").write_bytes(_lines(chained)[0])
    resign(chained, ledger=evidence.ledger)
    assert evidence.status(chained) == verifier.SIGNATURE


def test_a_key_put_in_the_place_of_the_one_that_a_record_names_is_caught(
    evidence: Evidence, chained: Path
) -> None:
    thief = Thief(evidence.ledger.log, Ed25519PrivateKey.generate())
    public = thief.signer.public_key().public_bytes_raw()
    stolen = VerifierKey(name=thief.log.origin, public=public).encode()
    one, two = _lines(chained)
    lines = (one, _renamed(two, vkey=stolen))
    (chained / "epoch-keys.jsonl").write_bytes(b"".join(lines))
    resign(chained, ledger=thief)
    assert evidence.status(chained) == verifier.CHAIN


@pytest.mark.parametrize(
    "line", [b"{}\n", b"[]\n", b"7\n", b'{"note":7,"vkey":7}\n', b"\n", b"\xff\n"]
)
def test_a_line_that_is_no_link_of_the_chain_is_caught(
    evidence: Evidence, chained: Path, line: bytes
) -> None:
    (chained / "epoch-keys.jsonl").write_bytes(line)
    assert evidence.status(chained) == verifier.CHAIN


def test_a_checkpoint_of_an_older_epoch_is_held_by_the_key_of_its_time(
    evidence: Evidence, chained: Path
) -> None:
    assert evidence.status(chained, held=(evidence.held,)) == verifier.OK
    forged = copy_with(chained, records_of(chained)[:4], to=evidence.scratch)
    resign(forged, ledger=evidence.ledger)
    held = (forged / "checkpoint.txt",)
    assert evidence.status(chained, held=held) == verifier.SIGNATURE


def test_a_rollback_before_the_held_epoch_is_caught_although_its_key_is_not_there(
    evidence: Evidence, chained: Path
) -> None:
    # Nothing here tells it from a checkpoint that somebody made up: that is said.
    held = (chained / "checkpoint.txt",)
    assert evidence.status(evidence.folder, held=held) == verifier.SIGNATURE


def test_no_byte_of_an_export_under_three_keys_can_change_unnoticed(
    evidence: Evidence, chained: Path
) -> None:
    key = evidence.ledger.log.vkey
    unnoticed = []
    for name in ("epoch-keys.jsonl", "checkpoint.txt", "manifest.note"):
        path = chained / name
        whole = path.read_bytes()
        for place in range(len(whole)):
            changed = bytearray(whole)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            verdict = verifier.verify(chained, key=key)
            if verdict.status in (verifier.OK, verifier.UNCHECKED):
                unnoticed.append((name, place))
        path.write_bytes(whole)
    assert unnoticed == []
