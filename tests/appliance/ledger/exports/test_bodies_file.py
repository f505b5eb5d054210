"""Bodies leave the host as what their records commit to, or not at all."""

import base64
import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.bodies import commitment
from appliance.ledger.exports import body_verifier, verifier
from appliance.ledger.exports.bodies_file import PROGRAM, Fetch
from appliance.ledger.exports.export import Wishes
from appliance.ledger.exports.redaction import Redaction
from appliance.ledger.records.events import Draft
from appliance.ledger.records.fields import JSON
from bundleformat.errors import DigestMismatchError
from tests.support.ledgers import Ledger, refusal, request, response

SALT = bytes(range(32))
TEXTS = {
    ("r1", "request"): b'[{"content":"what is it?","role":"user"}]',
    ("r1", "response"): "It is \N{SNOWMAN}.".encode(),
    ("r2", "request"): b"",
    ("r3", "request"): b"erased since",
}


def _committed(draft: Draft, part: str, *, capture: str = "full") -> Draft:
    text = TEXTS.get((str(draft.request_id), part), b"another")
    digest = hashlib.sha256(commitment.CONTEXT + SALT + text).hexdigest()
    body: dict[str, JSON] = {
        "capture": capture,
        "commitment": digest,
        "size_bytes": len(text),
    }
    return dataclasses.replace(draft, fields={**draft.fields, "body": body})


@pytest.fixture
def captured(ledger: Ledger) -> Ledger:
    """A ledger whose calls commit to five texts; one is erased, one only a digest."""
    first = ledger.append([_committed(request("r1"), "request")])[0]
    ledger.append(
        [
            _committed(response("r1", parent=first.seq), "response"),
            refusal(),
            _committed(request("r2"), "request"),
            _committed(request("r3"), "request"),
            _committed(request("r4"), "request", capture="digest"),
            request("r5"),
        ]
    )
    return ledger


def _fetch(request_id: str, part: str) -> tuple[bytes, bytes] | None:
    assert request_id not in ("r4", "r5")
    if request_id == "r3":
        return None
    return SALT, TEXTS[request_id, part]


def _export(ledger: Ledger, folder: Path, *, fetch: Fetch = _fetch) -> Path:
    return ledger.export(folder, Wishes(redaction=Redaction.FULL, bodies=fetch))


def _program(folder: Path, *more: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", folder / PROGRAM, folder, *more],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={},
    )
    assert not done.stderr or done.returncode == body_verifier.UNCHECKED
    return done.returncode, done.stdout


def _lines(folder: Path) -> list[bytes]:
    return (folder / "bodies.jsonl").read_bytes().splitlines(keepends=True)


def _replaced(line: bytes, **fields: object) -> bytes:
    return json.dumps(json.loads(line) | fields).encode() + b"\n"


@pytest.mark.parametrize(
    "wrong", [(SALT, b"other"), (SALT[:31], b""), (bytes(32), b"")]
)
def test_a_stored_text_that_is_not_the_one_of_the_call_is_not_exported(
    captured: Ledger, tmp_path: Path, wrong: tuple[bytes, bytes]
) -> None:
    with pytest.raises(DigestMismatchError):
        _export(captured, tmp_path / "out", fetch=lambda *_: wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one, two, three: [two, one, three], "of no record, or out of order"),
        (lambda one, two, three: [one, one, two, three], "of no record, or out of"),
        (lambda one, two, three: [one, two, three, three], "of no record, or out of"),
        (
            lambda one, two, three: [_replaced(one, seq="3"), two, three],
            "of no record, or out of order",
        ),
        (
            lambda one, two, three: [_replaced(one, seq="x"), two, three],
            "line 1 of bodies.jsonl is no body",
        ),
        (
            lambda one, two, three: [_replaced(one, seq="9" * 5000), two, three],
            "line 1 of bodies.jsonl is no body",
        ),
        (
            lambda one, two, three: [_replaced(one, part="response"), two, three],
            "not what record 1 commits to",
        ),
        (
            lambda one, two, three: [one, _replaced(two, body="bGll"), three],
            "not what record 2 commits to",
        ),
        (
            lambda one, two, three: [one, _replaced(two, salt="bGll"), three],
            "not what record 2 commits to",
        ),
        (
            lambda one, two, three: [one, _replaced(two, body="bGl="), three],
            "not base64 in its one spelling",
        ),
        (
            lambda one, two, three: [one, _replaced(two, body=7), three],
            "not base64 in its one spelling",
        ),
        (
            lambda one, two, three: [one, _replaced(two, more=1), three],
            "line 2 of bodies.jsonl is no body",
        ),
        (lambda one, two, _: [one, two, b"[" * 99_999 + b"\n"], "that is no object"),
        (lambda one, two, _: [one, two, b"\xff\n"], "that is no object"),
        (lambda one, two, three: [one, two, three[:-1]], "ends inside a line"),
    ],
)
def test_a_body_that_was_changed_moved_or_added_is_caught(
    captured: Ledger, tmp_path: Path, change: object, says: str
) -> None:
    folder = _export(captured, tmp_path / "out")
    assert callable(change)
    (folder / "bodies.jsonl").write_bytes(b"".join(change(*_lines(folder))))
    status, said = _program(folder, "--extract", tmp_path / "texts")
    assert (status, said.count("\n")) == (body_verifier.DIFFERS, 1)
    assert says in said
    assert not (tmp_path / "texts").exists()
    # The manifest has its digest: verify.py refuses the export as well.
    assert verifier.verify(folder, key=captured.log.vkey).status == verifier.RECORD


@pytest.mark.parametrize("name", ["bodies.jsonl", "records.jsonl"])
def test_an_export_that_lacks_a_file_cannot_be_checked(
    captured: Ledger, tmp_path: Path, name: str
) -> None:
    folder = _export(captured, tmp_path / "out")
    (folder / name).unlink()
    assert _program(folder)[0] == body_verifier.UNCHECKED
    assert _program(folder, "--nonsense")[0] == body_verifier.UNCHECKED


def test_an_archive_cannot_be_checked_and_what_to_do_is_said(tmp_path: Path) -> None:
    archive = tmp_path / "june.tar"
    archive.write_bytes(b"")
    with pytest.raises(body_verifier.CheckError) as refused:
        body_verifier.check(archive)
    status, problem = refused.value.args
    assert status == body_verifier.UNCHECKED
    assert problem.startswith(f"{archive} is a file: unpack it")


def test_every_kept_body_is_shown_to_be_what_its_record_commits_to(
    captured: Ledger, tmp_path: Path
) -> None:
    folder = _export(captured, tmp_path / "out")
    assert verifier.verify(folder, key=captured.log.vkey).status == verifier.OK
    texts = tmp_path / "texts"
    status, said = _program(folder, "--extract", texts)
    size = sum(len(TEXTS[key]) for key in TEXTS if key[0] != "r3")
    assert status == body_verifier.OK
    assert f"  holds: 3 bodies of {size} bytes are what their records commit to" in said
    assert "not here: the bodies that 2 more records commit to" in said
    found = {path.name: path.read_bytes() for path in texts.iterdir()}
    assert found == {
        "1.request": TEXTS["r1", "request"],
        "2.response": TEXTS["r1", "response"],
        "4.request": TEXTS["r2", "request"],
    }
    assert _program(folder, "--extract", texts)[0] == body_verifier.UNCHECKED


def test_the_commitment_is_the_one_that_the_host_makes() -> None:
    assert body_verifier.CONTEXT == commitment.CONTEXT
    assert body_verifier.SALT_BYTES == commitment.SALT_BYTES


def test_an_export_without_bodies_says_nothing_of_a_text(
    captured: Ledger, tmp_path: Path
) -> None:
    folder = captured.export(tmp_path / "out")
    assert not (folder / "bodies.jsonl").exists()
    encoded = base64.b64encode(TEXTS["r1", "request"])
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert encoded not in data
        assert TEXTS["r1", "request"] not in data
