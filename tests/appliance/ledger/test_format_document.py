"""The ledger's FORMAT.md says what the code does, and is enough to check it by."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import rfc8785

from appliance.audit_formats.derive import FILES as MADE
from appliance.ledger.exports import body_verifier, verifier
from appliance.ledger.exports.bodies_file import PROGRAM
from appliance.ledger.exports.export import Wishes, export
from appliance.ledger.exports.redaction import LISTING, Redaction
from appliance.ledger.exports.selection import Selection
from appliance.ledger.log.cosigned import MOST_EXPORTED
from appliance.ledger.records.catalogue import Outcome
from appliance.ledger.records.events import RECORD_FORMAT
from appliance.ledger.records.fields import MAX_ITEMS, MAX_REASON_CHARACTERS
from appliance.ledger.tree.note import MAX_NOTE_BYTES, MAX_SIGNATURES
from tests.support import ledger_example, retention
from tests.support.ledger_checker import check
from tests.support.ledgers import NOW, TOOL, Ledger, ledger_in, refusal
from tests.support.ledgers import request as asked

PAGE = ledger_example.PAGE.read_text("utf-8")
EXAMPLE = ledger_example.read(PAGE)
VKEY = ledger_example.verifier_keys()[0]
STRIDE = 11
"""Every byte with this distance is changed; it is no divisor of any line's length."""

UNITS = {"": 1, "characters": 1, "KiB": 2**10, "MiB": 2**20}
LIMITS = {
    "a line of a file": verifier.MAX_BYTES,
    "a file that is read whole": verifier.MAX_BYTES,
    "digits of a number of records": len(str(2**63 - 1)),
    "a note that a host or a witness takes in": MAX_NOTE_BYTES,
    "signature lines of such a note": MAX_SIGNATURES,
    "cosignatures of an export": MOST_EXPORTED,
    "a text field": MAX_REASON_CHARACTERS,
    "items of a list": MAX_ITEMS,
}


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def rows(title: str) -> list[list[str]]:
    """The cells of the table of a section, without its heading."""
    lines = re.findall(r"^\|.*\|$", section(title), re.MULTILINE)[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def first_names(title: str) -> list[str]:
    """The names in the first cell of every row."""
    return [name for row in rows(title) for name in re.findall(r"`([^`]+)`", row[0])]


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def verdicts(folder: Path, key: str = VKEY) -> tuple[int, int]:
    """What ``verify.py`` and the verifier written from the page say."""
    return verifier.verify(folder, key=key).status, check(folder, key)


def test_the_example_is_what_its_keys_make_and_both_verifiers_take_it(
    tmp_path: Path,
) -> None:
    assert ledger_example.files() == EXAMPLE
    assert f"```text\n{VKEY}\n```" in section("An example")
    leaves = (
        hashlib.sha256(b"\x00" + record).hexdigest()
        for record in EXAMPLE["records.jsonl"].splitlines()
    )
    assert "\n".join(leaves) in section("An example")
    assert verdicts(written(tmp_path / "export", EXAMPLE)) == (0, 0)


@pytest.mark.parametrize("name", sorted(EXAMPLE))
def test_both_verifiers_say_the_same_of_every_changed_byte(
    tmp_path: Path, name: str
) -> None:
    folder = written(tmp_path / "export", EXAMPLE)
    for place in range(0, len(EXAMPLE[name]), STRIDE):
        data = bytearray(EXAMPLE[name])
        data[place] ^= 1
        (folder / name).write_bytes(data)
        first, second = verdicts(folder)
        assert first == second != 0, (name, place)


@pytest.mark.parametrize("name", ["records.jsonl", "epoch-keys.jsonl"])
@pytest.mark.parametrize("what", ["nothing", "half", "twice", "backwards"])
def test_both_verifiers_say_the_same_of_lines_that_are_missing_or_moved(
    tmp_path: Path, name: str, what: str
) -> None:
    whole = EXAMPLE[name]
    lines = whole.splitlines(keepends=True)
    changed = {
        "nothing": b"",
        "half": whole[: len(whole) // 2],
        "twice": whole + lines[-1],
        "backwards": b"".join(reversed(lines)) + lines[0],
    }
    folder = written(tmp_path / "export", {**EXAMPLE, name: changed[what]})
    first, second = verdicts(folder)
    assert first == second != 0


@pytest.mark.parametrize("name", sorted(EXAMPLE))
def test_both_verifiers_say_that_a_file_is_missing(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "export", EXAMPLE)
    (folder / name).unlink()
    assert verdicts(folder) == (1, 1)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Two teams under two keys."""
    with ledger_in(tmp_path_factory.mktemp("home")) as ledger:
        for number in range(6):
            team = ("claims", "legal")[number % 2]
            ledger.append([asked(f"r{number}", team=team), refusal()])
            if number == 3:
                ledger.rotate()
        yield ledger


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Calls whose time is over, gone but for their hashes."""
    with ledger_in(tmp_path_factory.mktemp("home")) as ledger:
        retention.fill(ledger)
        assert retention.prune(ledger)
        yield ledger


@pytest.mark.parametrize(
    ("name", "wishes"),
    [
        ("busy", Wishes()),
        ("busy", Wishes(selection=Selection(first=3, last=6))),
        ("busy", Wishes(selection=Selection(first=2, team="legal"))),
        ("busy", Wishes(selection=Selection(request_id="r1", listed=False))),
        ("busy", Wishes(redaction=Redaction.METADATA)),
        ("pruned", Wishes()),
        ("pruned", Wishes(selection=Selection(event="key.rotate"))),
    ],
    ids=["whole", "range", "team", "call", "listing", "pruned", "part-pruned"],
)
def test_both_verifiers_take_every_kind_of_export_and_no_hash_of_it_changed(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, wishes: Wishes
) -> None:
    ledger: Ledger = request.getfixturevalue(name)
    made = export(
        ledger.engine,
        tmp_path / "export",
        log=ledger.log,
        keys=ledger.keys,
        now=NOW,
        tool=TOOL,
        wishes=wishes,
    ).folder
    assert verdicts(made, ledger.log.vkey) == (0, 0)
    assert {each.name for each in made.iterdir()} <= set(first_names("An export"))
    hashes = made / "hashes.txt"
    lines = hashes.read_bytes().splitlines(keepends=True) if hashes.exists() else []
    for number, line in enumerate(lines):
        for other in (b"", line.replace(b" 1 ", b" 2 "), line[:-3] + b"A=\n"):
            if other != line:
                hashes.write_bytes(
                    b"".join([*lines[:number], other, *lines[number + 1 :]])
                )
                first, second = verdicts(made, ledger.log.vkey)
                assert first == second != 0, (line, other)


def test_the_steps_are_those_of_the_program() -> None:
    text = Path(verifier.__file__).read_text("utf-8")
    coded = re.findall(r"^ +# (\d)\. (.+)$", text, re.MULTILINE)
    said = re.findall(r"^(\d)\. (.+)$", section("Verification"), re.MULTILINE)
    assert [number for number, _ in coded] == list("123456")
    assert len(said) == len(coded)
    for (number, step), (place, sentence) in zip(coded, said, strict=True):
        assert number == place
        assert sentence.startswith(step)


def test_the_statuses_are_those_of_the_program() -> None:
    coded = re.findall(r"^ +(?:exit )?(\d)  (.+)$", str(verifier.__doc__), re.MULTILINE)
    assert [tuple(row) for row in rows("Exit statuses")] == coded


def test_what_every_record_has_is_said() -> None:
    assert f"# The ledger's format, version {RECORD_FORMAT}\n" in PAGE
    outcomes = next(row[1] for row in rows("A record") if row[0] == "`outcome`")
    assert re.findall(r"`(\w+)`", outcomes) == [str(each) for each in Outcome]
    always = {row[0].strip("`") for row in rows("A record") if row[2] == "every record"}
    for line in EXAMPLE["records.jsonl"].splitlines():
        record = json.loads(line)
        assert always <= set(record)
        assert rfc8785.dumps(record) == line


def test_every_field_of_the_manifest_and_of_the_chain_is_said() -> None:
    manifest = json.loads(EXAMPLE["manifest.json"])
    assert set(first_names("The manifest")) == {*manifest, "only"}
    link = json.loads(EXAMPLE["epoch-keys.jsonl"])
    assert set(first_names("The key chain")) == set(link)


def test_every_file_of_an_export_is_said() -> None:
    said = set(first_names("An export"))
    texts = {body_verifier.BODIES, PROGRAM}
    assert {*verifier.FILES, LISTING, *texts, *MADE.values()} <= said
    levels = next(row[1] for row in rows("The manifest") if row[0] == "`redact`")
    assert set(re.findall(r"`(\w+)`", levels)) == {str(each) for each in Redaction}


def test_the_limits_are_those_of_the_code() -> None:
    said = {}
    for what, most in rows("Limits"):
        found = re.fullmatch(r"([\d ]*\d) ?([A-Za-z]*)", most)
        assert found is not None
        said[what] = int(found[1].replace(" ", "")) * UNITS[found[2]]
    assert said == LIMITS


def test_a_folder_in_the_place_of_a_file_is_missing_to_both(tmp_path: Path) -> None:
    folder = written(tmp_path / "export", EXAMPLE)
    (folder / "checkpoint.txt").unlink()
    (folder / "checkpoint.txt").mkdir()
    assert verdicts(folder) == (1, 1)
