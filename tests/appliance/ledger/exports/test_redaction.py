"""An export that withholds its records says what it may, and nothing of it is lost."""

import base64
import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.ledger.exports import redaction, verifier
from appliance.ledger.exports.export import Wishes
from appliance.ledger.exports.places import proof_wishes
from appliance.ledger.exports.redaction import (
    LISTING,
    Redaction,
    parse_redaction,
    told,
)
from appliance.ledger.exports.selection import Selection
from appliance.ledger.log.consistency import held_checkpoint
from appliance.ledger.records.catalogue import CATALOGUE, Event
from appliance.ledger.records.events import Draft, Outcome
from appliance.ledger.records.fields import JSON
from bundleformat.errors import DigestMismatchError, UsageError
from tests.support.audit_samples import ACCEPTED, DENIED, KEY
from tests.support.forgery import records_of
from tests.support.ledgers import SHA, TOOL, Ledger, request, response

COMMITMENT = "c0" * 32
REASON = "asked by Jane Doe of the fraud desk"


def _withheld(ledger: Ledger, folder: Path, **selection: Any) -> Path:
    wishes = Wishes(
        selection=Selection(**selection), redaction=Redaction.METADATA, asked=ASKED
    )
    return ledger.export(folder, wishes)


ASKED: dict[str, JSON] = {
    "operator_uid": 313373133,
    "login_uid": 424242424,
    "carrier": "folder",
}


def _committed(draft: Draft) -> Draft:
    body: dict[str, JSON] = {
        "capture": "full",
        "commitment": COMMITMENT,
        "size_bytes": 21,
    }
    return dataclasses.replace(draft, fields={**draft.fields, "body": body})


@pytest.fixture
def busy(ledger: Ledger) -> Ledger:
    """A ledger of 2 keys and 12 records that name people, teams, texts and keys."""
    for name, team in (("call-1", "claims"), ("call-2", "claims"), ("call-3", "legal")):
        opened = ledger.append([_committed(request(name, team=team))])[0]
        ledger.append([_committed(response(name, parent=opened.seq, team=team))])
    ledger.rotate()
    denied = dataclasses.replace(DENIED, request_id="call-9")
    ledger.append([denied, KEY, dataclasses.replace(ACCEPTED, fields=_reasoned())])
    read: dict[str, JSON] = {
        "filter_sha256": SHA,
        "records": 1,
        "size": "9",
        "tool": TOOL,
    }
    who: dict[str, JSON] = {
        "operator_uid": 313373133,
        "login_uid": 424242424,
        "command": "show",
    }
    reading = Draft(
        event=Event.LOG_READ,
        outcome=Outcome.OK,
        fields={**read, **who, "reason": REASON},
    )
    ledger.append([reading])
    return ledger


def _reasoned() -> dict[str, Any]:
    return {**ACCEPTED.fields, "reason": REASON, "operator_uid": 313373133}


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    for line in (folder / LISTING).read_bytes().splitlines():
        yield json.loads(line)


@pytest.mark.parametrize(
    "level", ["", "none", "METADATA", "metadata,digest", "\x1b[2J"]
)
def test_a_level_that_does_not_exist_is_refused(level: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_redaction(level)
    assert caught.value.where == "--redact"


@pytest.mark.parametrize(
    "secret",
    [
        "claims",
        "legal",
        "W1sF0wRy",
        "call-1",
        "call-9",
        COMMITMENT,
        "Jane",
        "313373133",
        "424242424",
    ],
)
def test_nothing_that_names_a_person_a_team_or_a_text_leaves_the_host(
    busy: Ledger, tmp_path: Path, secret: str
) -> None:
    folder = _withheld(busy, tmp_path / "out")
    whole = busy.export(tmp_path / "whole", Wishes(asked=ASKED))
    assert secret.encode() in (whole / "records.jsonl").read_bytes()
    for path in folder.rglob("*"):
        # The program is the same in every export, and says none of these.
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path.name


def test_only_what_names_a_key_of_the_ledger_is_there_as_it_was_hashed(
    busy: Ledger, tmp_path: Path
) -> None:
    folder = _withheld(busy, tmp_path / "out")
    events = [json.loads(record)["event"] for record in records_of(folder)]
    assert events == ["key.rotate"]
    assert len((folder / "hashes.txt").read_text().splitlines()) == 12
    assert [int(line["seq"]) for line in _lines(folder)] == [*range(7), *range(8, 13)]


def test_number_order_and_hashes_of_withheld_records_are_proven_and_the_rest_said(
    busy: Ledger, tmp_path: Path
) -> None:
    earlier = busy.export(tmp_path / "earlier", Wishes())
    held = tmp_path / "earlier" / "checkpoint.txt"
    with busy.engine.connect() as connection:
        since = (held_checkpoint(connection, held.read_bytes(), where="held"),)
    wishes = Wishes(redaction=Redaction.METADATA, since=since)
    folder = busy.export(tmp_path / "out", wishes)
    key = busy.log.vkey
    done = subprocess.run(
        [
            *(sys.executable, "-I", earlier / "verify.py", folder),
            *("--key", key, "--held", held),
        ],
        capture_output=True,
        check=False,
    )
    verdict = verifier.verify(folder, key=key, held=(held,))
    assert (done.returncode, verdict.status) == (verifier.OK, verifier.OK)
    assert (verdict.records, verdict.size) == (1, 14)
    said = f"what 13 records say: here is {LISTING}, which is the host's word"
    assert said in verdict.not_proved
    why = f"{LISTING}: made for convenience, no proof"
    assert why in verdict.not_proved
    # The hash in the place of each is the one that its line names.
    hashes = dict(
        line.split(" ")[::2]
        for line in (folder / "hashes.txt").read_text().split("\n")[:-1]
    )
    leaves = {line["seq"]: line["leaf"] for line in _lines(folder)}
    assert {seq: base64.b64decode(leaf).hex() for seq, leaf in hashes.items()} == leaves


def test_a_withheld_record_that_is_taken_out_or_changed_is_caught(
    busy: Ledger, tmp_path: Path
) -> None:
    folder = _withheld(busy, tmp_path / "out")
    path = folder / "hashes.txt"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4] + lines[5:]))
    assert verifier.verify(folder, key=busy.log.vkey).status == verifier.GAP
    path.write_bytes(
        b"".join([*lines[:4], lines[4].replace(b"=", b"A=", 1), *lines[5:]])
    )
    assert verifier.verify(folder, key=busy.log.vkey).status == verifier.RECORD
    path.write_bytes(b"".join(lines))
    listing = (folder / LISTING).read_bytes()
    (folder / LISTING).write_bytes(listing.replace(b'"llm.request"', b'"llm.aborted"'))
    assert verifier.verify(folder, key=busy.log.vkey).status == verifier.RECORD


def test_a_name_has_one_pseudonym_in_a_listing_and_another_in_the_next(
    busy: Ledger, tmp_path: Path
) -> None:
    first, second = (list(_lines(_withheld(busy, tmp_path / n))) for n in ("a", "b"))
    teams = [line["team"] for line in first if "team" in line]
    assert (teams[0], teams[2]) == (teams[3], teams[1])
    assert len(set(teams)) == 2
    assert teams[0] != teams[4]
    assert all(re.fullmatch("team-[0-9a-f]{20}", team) for team in teams)
    # A request and its answer name one request; the key of a call is that of its birth.
    assert first[1]["request_id"] == first[2]["request_id"] != first[3]["request_id"]
    created = next(line for line in first if line["event"] == "apikey.created")
    assert first[1]["key_id"] == created["key_id"]
    # Whoever read the ledger is the one who ran the export; a uid is no team.
    accounts = {line["operator_uid"] for line in first if "operator_uid" in line}
    assert len(accounts) == 1
    assert not set(teams) & {line.get("team") for line in second}


def test_what_an_auditor_picks_from_a_listing_is_shown_to_be_what_it_says(
    busy: Ledger, tmp_path: Path
) -> None:
    folder = _withheld(busy, tmp_path / "out")
    line = next(line for line in _lines(folder) if line["event"] == "llm.response")
    checkpoint = folder / "checkpoint.txt"
    with busy.engine.connect() as connection:
        held = held_checkpoint(connection, checkpoint.read_bytes(), where="held")
        wishes = proof_wishes(connection, line["seq"], log=busy.log)
    wishes = dataclasses.replace(wishes, since=(held,))
    proof = busy.export(tmp_path / "proof", wishes)
    verdict = verifier.verify(proof, key=busy.log.vkey, held=(checkpoint,))
    assert verdict.status == verifier.OK
    (record,) = (r for r in records_of(proof) if b"llm.response" in r)
    assert hashlib.sha256(b"\x00" + record).hexdigest() == line["leaf"]
    assert json.loads(record)["completion_tokens"] == line["completion_tokens"]


def test_a_part_lists_what_was_asked_for_and_hashes_the_rest_of_its_range(
    busy: Ledger, tmp_path: Path
) -> None:
    folder = _withheld(busy, tmp_path / "out", first=1, last=6, team="legal")
    assert [line["seq"] for line in _lines(folder)] == ["5", "6"]
    verdict = verifier.verify(folder, key=busy.log.vkey)
    assert verdict.status == verifier.OK
    of = f"{LISTING} of first 1, last 6, team legal, which is the host's word"
    assert f"what 12 records say: here is {of}" in verdict.not_proved
    hashes = (folder / "hashes.txt").read_text().splitlines()
    assert [line.split()[0] for line in hashes[1:7]] == [str(n) for n in range(1, 7)]


def test_a_listing_is_not_made_of_a_ledger_whose_records_were_changed(
    busy: Ledger, tmp_path: Path
) -> None:
    with busy.engine.begin() as connection:
        told = "SELECT sql FROM sqlite_master WHERE name = 'record_no_update'"
        trigger = connection.exec_driver_sql(told).scalar_one()
        connection.exec_driver_sql("DROP TRIGGER record_no_update")
        connection.exec_driver_sql(
            "UPDATE record SET bytes = "
            "CAST(replace(CAST(bytes AS TEXT), 'claims', 'others') AS BLOB) "
            "WHERE seq = 2"
        )
        connection.exec_driver_sql(trigger)
    with pytest.raises(DigestMismatchError):
        _withheld(busy, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_every_field_that_may_be_told_is_one_of_the_catalogue() -> None:
    known = {"seq", "ts", "event", "outcome", "team", "request_id"}
    everything = {name: {"a": 1} for name in redaction._TOLD_WITHIN}
    for terms in CATALOGUE.values():
        known |= _names(terms.fields)
    said = redaction._TOLD | redaction._NAMED.keys() | redaction._TOLD_WITHIN.keys()
    assert said - known == set()
    nothing: dict[str, Any] = {name: {} for name in redaction._TOLD_WITHIN}
    assert told(everything, pseudonym=lambda *_: "") == nothing


def _names(kind: Any) -> set[str]:
    """The fields that a kind of object knows, from what its check closes over."""
    cells = kind.__closure__ or ()
    held = [cell.cell_contents for cell in cells]
    names = {name for each in held if isinstance(each, dict) for name in each}
    inner = [kind for each in held if isinstance(each, dict) for kind in each.values()]
    return names.union(*map(_names, filter(callable, inner)))
