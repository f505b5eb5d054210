"""What an auditor kept is compared with, and what came along is not taken for it."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.ledger.exports import verifier
from appliance.ledger.tree.note import VerifierKey
from tests.support.forgery import Thief, copy_with, records_of, resign
from tests.support.ledger_checker import check
from tests.support.ledgers import Ledger, request, response


@dataclasses.dataclass(frozen=True)
class Desk:
    """An auditor's desk: the checkpoint over 4 records, and an export of 8."""

    ledger: Ledger
    first_key: Ed25519PrivateKey
    held: Path
    folder: Path

    def verdict(self, *held: Path, folder: Path | None = None) -> verifier.Verdict:
        """Return the verdict, on which three verifiers agree."""
        folder, key = folder or self.folder, self.ledger.log.vkey
        verdict = verifier.verify(folder, key=key, held=held)
        named = [word for path in held for word in ("--held", str(path))]
        done = subprocess.run(
            [sys.executable, "-I", verifier.__file__, folder, "--key", key, *named],
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (verdict.status, b"")
        assert done.stdout.decode() == verdict.text()
        assert check(folder, key, held=held) == verdict.status
        return verdict

    def edited(self, old: str, new: str) -> Path:
        """Return the held checkpoint after somebody changed its text."""
        text = self.held.read_text("utf-8")
        assert old in text
        self.held.write_text(text.replace(old, new, 1), "utf-8")
        return self.held


@pytest.fixture
def desk(ledger: Ledger, tmp_path: Path) -> Desk:
    ledger.append([request("r1"), response("r1", parent=1)])
    first_key = ledger.signer
    earlier = ledger.export(tmp_path / "october")
    ledger.append([request("r2")])
    ledger.rotate()
    ledger.append([request("r3")])
    folder = ledger.export(tmp_path / "november")
    held = tmp_path / "october.txt"
    shutil.copy(earlier / "checkpoint.txt", held)
    return Desk(ledger, first_key, held, folder)


def _says(verdict: verifier.Verdict, said: str) -> bool:
    return any(said in each for each in (*verdict.proved, *verdict.not_proved))


@pytest.mark.parametrize("way", ["plain", "below", "dots", "through-a-link"])
def test_a_checkpoint_in_the_export_is_not_taken_for_one_that_was_kept(
    desk: Desk, tmp_path: Path, way: str
) -> None:
    inside = desk.folder / "checkpoint.txt"
    if way == "below":
        (desk.folder / "consistency").mkdir()
        inside = Path(shutil.copy(desk.held, desk.folder / "consistency"))
    elif way == "dots":
        inside = desk.folder / ".." / desk.folder.name / "checkpoint.txt"
    elif way == "through-a-link":
        (tmp_path / "shelf").symlink_to(desk.folder)
        inside = tmp_path / "shelf" / "checkpoint.txt"
    verdict = desk.verdict(inside)
    assert verdict.status == verifier.UNCHECKED
    assert verdict.problem.startswith(f"{inside} is in the export")
    assert not _says(verdict, "vouches for")


def test_a_copy_of_the_exports_own_checkpoint_silences_no_caveat(
    desk: Desk, tmp_path: Path
) -> None:
    own = Path(shutil.copy(desk.folder / "checkpoint.txt", tmp_path / "kept.txt"))
    alone, both = desk.verdict(own), desk.verdict(own, desk.held)
    for verdict in (alone, both):
        assert verdict.status == verifier.OK
        assert not _says(verdict, f"{own} vouches for")
        assert _says(verdict, f"{own}: it is this export's own checkpoint")
    assert _says(alone, "that records from 0 on were not rewritten")
    assert _says(both, "that records from 4 on were not rewritten")


def test_a_held_number_that_was_edited_accuses_nobody_of_truncation(
    desk: Desk,
) -> None:
    verdict = desk.verdict(desk.edited("\n4\n", "\n40\n"))
    assert verdict.status == verifier.SIGNATURE
    assert verdict.problem.startswith(f"{desk.held}")
    assert "wrong signature" in verdict.problem


def test_a_longer_checkpoint_of_a_key_that_the_export_lacks_is_said_to_be_that(
    desk: Desk, tmp_path: Path
) -> None:
    stranger = Thief(desk.ledger.log, Ed25519PrivateKey.generate())
    more = [*records_of(desk.folder), b"{}"]
    forged = copy_with(desk.folder, more, to=tmp_path / "longer")
    resign(forged, ledger=stranger)
    verdict = desk.verdict(forged / "checkpoint.txt")
    assert verdict.status == verifier.SIGNATURE
    assert "not signed by a key known for" in verdict.problem


@pytest.mark.parametrize("key", ["newest", "first"])
def test_a_longer_checkpoint_of_any_key_of_the_export_is_a_truncation(
    desk: Desk, tmp_path: Path, key: str
) -> None:
    signer = desk.first_key if key == "first" else desk.ledger.signer
    more = [*records_of(desk.folder), b"{}"]
    longer = copy_with(desk.folder, more, to=tmp_path / "longer")
    resign(longer, ledger=Thief(desk.ledger.log, signer))
    verdict = desk.verdict(longer / "checkpoint.txt")
    assert verdict.status == verifier.TRUNCATED
    assert verdict.problem.endswith("covers 9 records, this export 8")


@pytest.mark.parametrize("ends", ["\r\n", "none"])
def test_a_checkpoint_whose_lines_end_otherwise_is_said_to_be_that(
    desk: Desk, ends: str
) -> None:
    data = desk.held.read_bytes()
    changed = data[:-1] if ends == "none" else data.replace(b"\n", b"\r\n")
    desk.held.write_bytes(changed)
    verdict = desk.verdict(desk.held)
    assert verdict.status == verifier.SIGNATURE
    assert "as bytes" in verdict.problem


def test_it_is_said_what_the_records_are_compared_with(desk: Desk) -> None:
    alone, anchored = desk.verdict(), desk.verdict(desk.held)
    assert _says(alone, "compared with nothing older")
    assert not _says(anchored, "compared with nothing older")


def test_a_held_checkpoint_is_told_with_the_time_of_its_last_record(
    desk: Desk,
) -> None:
    newest = verifier.parse_canonical(records_of(desk.folder)[3], "")["ts"]
    said = f"the first 4, the last of {newest}, are those that {desk.held} vouches for"
    assert _says(desk.verdict(desk.held), said)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (4, "; unchanged: first 4 ({held})"),
        (1, "; unchanged: none that is known"),
    ],
)
def test_a_change_lies_before_or_behind_what_was_held(
    desk: Desk, tmp_path: Path, place: int, said: str
) -> None:
    records = records_of(desk.folder)
    records[place] = records[place].replace(b'"claims"', b'"others"')
    changed = copy_with(desk.folder, records, to=tmp_path / "changed")
    verdict = desk.verdict(desk.held, folder=changed)
    assert verdict.status == verifier.RECORD
    assert verdict.problem.endswith(said.format(held=desk.held))
    alone = desk.verdict(folder=changed)
    assert alone.problem == "records do not hash to the signed root"


def test_a_wrong_key_is_doubted_as_well_as_the_export(desk: Desk) -> None:
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    other = VerifierKey(name=desk.ledger.log.origin, public=public).encode()
    verdict = verifier.verify(desk.folder, key=other)
    assert verdict.status == verifier.CHAIN
    assert verdict.problem.count("epoch-keys.jsonl") == 1
    assert verdict.problem.endswith("or --key is not this log's first key")


def test_numbers_that_do_not_fit_say_what_is_likely(desk: Desk, tmp_path: Path) -> None:
    shutil.copytree(desk.folder, tmp_path / "older")
    (tmp_path / "older" / "epoch-keys.jsonl").write_bytes(b"")
    shutil.copy(desk.held, tmp_path / "older" / "checkpoint.txt")
    older = desk.verdict(folder=tmp_path / "older")
    assert older.status == verifier.RECORD
    assert older.problem.endswith(": checkpoint.txt is older than they")
    records = records_of(desk.folder)
    records[5:7] = records[6], records[5]
    swapped = copy_with(desk.folder, records, to=tmp_path / "swapped")
    verdict = desk.verdict(folder=swapped)
    assert verdict.status == verifier.RECORD
    assert verdict.problem == (
        "the records are out of order: line 6 of records.jsonl is record 6, not 5"
    )


def test_it_is_said_which_key_signed(desk: Desk) -> None:
    assert _says(desk.verdict(), "by key 1, new in record 5")


def test_files_that_were_planted_are_named_at_any_depth(desk: Desk) -> None:
    (desk.folder / "consistency").mkdir()
    for name in ("consistency/evil.txt", "extra.txt", "more/consistency", "more/x/y"):
        (desk.folder / name).parent.mkdir(exist_ok=True, parents=True)
        (desk.folder / name).write_text("trust me")
    verdict = desk.verdict()
    assert verdict.status == verifier.OK
    for name in ("consistency/evil.txt", "extra.txt", "more/consistency", "more/x/y"):
        assert f"{name}: covered by no signature" in verdict.not_proved


def test_every_option_says_what_it_takes() -> None:
    done = subprocess.run(
        [sys.executable, "-I", verifier.__file__, "--help"],
        capture_output=True,
        check=True,
        text=True,
    )
    options = done.stdout.partition("options:")[2]
    for name in ("--key", "--held", "--witness"):
        assert len(options.partition(f"{name} ")[2].splitlines()[0].split()) > 3


def test_a_key_in_a_file_is_asked_for_as_text(desk: Desk, tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    key.write_text(desk.ledger.log.vkey)
    verdict = verifier.verify(desk.folder, key=str(key))
    assert verdict.status == verifier.UNCHECKED
    assert verdict.problem == "--key is no whole key: give its text NAME+ID+BASE64"
