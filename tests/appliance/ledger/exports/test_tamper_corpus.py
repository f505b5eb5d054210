"""What can be done to a log of 100 records, and who notices.

Each line says what was done, what the attacker has, and the exit status for an
auditor who holds nothing, the checkpoint over 40 records, the receipt of a call, or
a witness's key. What no one of them can notice is a line too. A second verifier,
written from the ledger's FORMAT.md alone, says the same of each.
"""

import base64
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.ledger.exports import verifier
from appliance.ledger.exports.export import export
from appliance.ledger.exports.receipt_header import receipt_text
from appliance.ledger.exports.verifier import (
    CHAIN,
    GAP,
    INCONSISTENT,
    OK,
    RECORD,
    SIGNATURE,
    TRUNCATED,
)
from appliance.ledger.log.append import Receipt
from appliance.ledger.log.cosigned import import_cosignature
from appliance.ledger.tree.cosignature import Witness, cosign, new_witness
from appliance.ledger.tree.merkle import leaf_hash
from tests.support.forgery import Thief, copy_with, records_of, resign
from tests.support.ledger_checker import check
from tests.support.ledgers import NOW, TOOL, Ledger, ledger_in, refusal, request

ROTATED, CALL, SEEN, HELD = 20, 30, 40, 40
"""The record that ends the first epoch, the call, and how far others saw."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The export, what auditors hold, and the keys that an attacker may have."""

    folder: Path
    held: Path
    told: Receipt
    witness: Witness
    ledger: Ledger
    first_key: Ed25519PrivateKey

    @property
    def receipt(self) -> "verifier.Head":
        """The head that the caller was told."""
        return self.told.size, self.told.root, "the receipt"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    home = tmp_path_factory.mktemp("home")
    with ledger_in(home) as ledger:
        first_key = ledger.signer
        ledger.append([refusal() for _ in range(ROTATED - 1)])
        ledger.rotate()
        ledger.append([refusal() for _ in range(CALL - ROTATED - 1)])
        told = ledger.append([request("call")])[0]
        ledger.append([refusal() for _ in range(SEEN - CALL - 1)])
        with ledger.engine.begin() as connection:
            note = connection.exec_driver_sql(
                "SELECT note FROM checkpoint WHERE size = 40"
            ).scalar_one()
            witness = new_witness("witness.example")
            import_cosignature(
                connection,
                cosign(note.encode(), witness=witness, seconds=1),
                witness=witness.key,
                log=ledger.log,
                keys=ledger.keys,
                now=NOW,
            )
        ledger.append([refusal() for _ in range(58)])
        folder = export(
            ledger.engine,
            home / "export",
            log=ledger.log,
            keys=ledger.keys,
            now=NOW,
            tool=TOOL,
        ).folder
        assert len(records_of(folder)) == 100
        held = home / "held.txt"
        held.write_text(note)
        yield Evidence(
            folder=folder,
            held=held,
            told=told,
            witness=witness,
            ledger=ledger,
            first_key=first_key,
        )


Forge = Callable[[Evidence, Path], None]


def _put(folder: Path, records: list[bytes]) -> None:
    (folder / "records.jsonl").write_bytes(b"".join(r + b"\n" for r in records))


def edit(place: int) -> Forge:
    """Change one record."""

    def forge(_: Evidence, folder: Path) -> None:
        records = records_of(folder)
        said = json.loads(records[place])
        said["outcome"] = "error"
        records[place] = json.dumps(
            said, sort_keys=True, separators=(",", ":")
        ).encode()
        _put(folder, records)

    return forge


def drop(first: int, last: int = 100) -> Forge:
    """Leave records out."""

    def forge(_: Evidence, folder: Path) -> None:
        records = records_of(folder)
        _put(folder, records[:first] + records[last:])

    return forge


def swap(_: Evidence, folder: Path) -> None:
    """Let two records change places."""
    records = records_of(folder)
    records[50], records[51] = records[51], records[50]
    _put(folder, records)


def add(_: Evidence, folder: Path) -> None:
    """Put one more record at the end."""
    records = records_of(folder)
    more = records[-1].replace(b'"seq":"99"', b'"seq":"100"')
    _put(folder, [*records, more])


def hide(_: Evidence, folder: Path) -> None:
    """Put a hash in the place of a record."""
    records = records_of(folder)
    leaf = base64.b64encode(leaf_hash(records[60])).decode()
    (folder / "hashes.txt").write_text(f"60 1 {leaf}\n")
    _put(folder, records[:60] + records[61:])


def without_chain(_: Evidence, folder: Path) -> None:
    """Leave out how the key changed."""
    (folder / "epoch-keys.jsonl").write_bytes(b"")


def fork_before_the_rotation(evidence: Evidence, folder: Path) -> None:
    """Go back to before the key changed, and leave out that it did."""
    drop(ROTATED)(evidence, folder)
    without_chain(evidence, folder)


def nothing(_: Evidence, _folder: Path) -> None:
    """Do nothing."""


def thief_of_today(evidence: Evidence) -> Thief:
    return Thief(evidence.ledger.log, evidence.ledger.signer)


def thief_of_the_first_key(evidence: Evidence) -> Thief:
    return Thief(evidence.ledger.log, evidence.first_key)


def stranger(evidence: Evidence) -> Thief:
    return Thief(evidence.ledger.log, Ed25519PrivateKey.generate())


TODAY, FIRST, STRANGER = thief_of_today, thief_of_the_first_key, stranger

CORPUS: tuple[
    tuple[str, Forge, Callable[[Evidence], Thief] | None, tuple[int, int, int, int]],
    ...,
] = (
    # what was done, the key it was signed with, what is noticed by holding
    # nothing, a checkpoint, a receipt, a witness's key
    ("nothing", nothing, None, (OK, OK, OK, OK)),
    ("edit-3", edit(3), None, (RECORD,) * 4),
    ("edit-80", edit(80), None, (RECORD,) * 4),
    ("swap", swap, None, (RECORD,) * 4),
    ("add", add, None, (RECORD,) * 4),
    ("hide", hide, None, (RECORD,) * 4),
    ("drop-60", drop(60, 61), None, (GAP,) * 4),
    ("drop-from-30", drop(30), None, (TRUNCATED,) * 4),
    ("chain-cut", without_chain, None, (SIGNATURE,) * 4),
    ("signed-by-a-stranger", nothing, STRANGER, (SIGNATURE,) * 4),
    ("drop-60-signed", drop(60, 61), TODAY, (RECORD,) * 4),
    ("drop-from-35-signed", drop(35), TODAY, (OK, TRUNCATED, OK, TRUNCATED)),
    ("drop-from-25-signed", drop(25), TODAY, (OK, TRUNCATED, TRUNCATED, TRUNCATED)),
    ("drop-from-10-signed", drop(10), TODAY, (SIGNATURE,) * 4),
    ("edit-3-signed", edit(3), TODAY, (INCONSISTENT,) * 4),
    ("edit-25-signed", edit(25), TODAY, (OK,) + (INCONSISTENT,) * 3),
    ("edit-35-signed", edit(35), TODAY, (OK, INCONSISTENT, OK, INCONSISTENT)),
    ("edit-the-rotation-signed", edit(ROTATED), TODAY, (INCONSISTENT,) * 4),
    ("chain-cut-signed", without_chain, TODAY, (SIGNATURE,) * 4),
    ("edit-25-signed-by-an-old-key", edit(25), FIRST, (SIGNATURE,) * 4),
    (
        "chain-cut-signed-by-an-old-key",
        without_chain,
        FIRST,
        (CHAIN, SIGNATURE, CHAIN, CHAIN),
    ),
    # Who copied the first key while it was in use forks from there: so others look.
    # The checkpoint's own key is cut off with the rest.
    (
        "fork-by-an-old-key",
        fork_before_the_rotation,
        FIRST,
        (OK, SIGNATURE, TRUNCATED, TRUNCATED),
    ),
    # The limit of any such log: nobody saw that far, and the thief has the key.
    ("edit-80-signed", edit(80), TODAY, (OK, OK, OK, OK)),
)


@pytest.mark.parametrize(
    ("forge", "thief", "statuses"),
    [pytest.param(*line, id=name) for name, *line in CORPUS],
)
def test_what_was_done_to_the_log_is_noticed_by_whoever_can(
    evidence: Evidence,
    tmp_path: Path,
    *,
    forge: Forge,
    thief: Callable[[Evidence], Thief] | None,
    statuses: tuple[int, int, int, int],
) -> None:
    folder = tmp_path / "forged"
    shutil.copytree(evidence.folder, folder)
    forge(evidence, folder)
    if thief is not None:
        resign(folder, ledger=thief(evidence))
    key = evidence.ledger.log.vkey
    witnesses = (evidence.witness.key.encode(),)
    verdicts = (
        verifier.verify(folder, key=key),
        verifier.verify(folder, key=key, held=(evidence.held,)),
        verifier.verify(folder, key=key, held=(evidence.receipt,)),
        verifier.verify(folder, key=key, witnesses=witnesses),
    )
    assert tuple(verdict.status for verdict in verdicts) == statuses
    assert statuses == (
        check(folder, key),
        check(folder, key, held=(evidence.held,)),
        check(folder, key, receipt=receipt_text(evidence.told)),
        check(folder, key, witness=witnesses[0]),
    )
    newest = (0, 40, CALL + 1, 40)
    for verdict, size in zip(verdicts, newest, strict=True):
        # What is not noticed is said to be outside of what is proven.
        if verdict.status == OK:
            said = f"that records from {size} on were not rewritten"
            assert any(said in gap for gap in verdict.not_proved)


def test_a_copy_that_was_made_again_is_no_forgery(
    evidence: Evidence, tmp_path: Path
) -> None:
    again = copy_with(evidence.folder, records_of(evidence.folder), to=tmp_path / "c")
    assert verifier.verify(again, key=evidence.ledger.log.vkey).status == OK
