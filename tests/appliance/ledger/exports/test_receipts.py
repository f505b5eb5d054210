"""Receipts leave the host with their proofs, and a clean process can check them."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.db.session import restore_triggers
from appliance.ledger.exports import receipt_verifier
from appliance.ledger.exports.receipt import find_receipts, import_of
from appliance.ledger.exports.receipt_export import (
    ReceiptExport,
    Selection,
    export_receipts,
)
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.tree.note import VerifierKey, sign_note
from bundleformat.digest import Sha256
from bundleformat.errors import ConflictError, DigestMismatchError, MissingError
from tests.support.ledgers import NOW, SHA, TOOL, Ledger, refusal

OK, UNCHECKED, RECORD, SIGNATURE = range(4)


def imported(version: int, *, channel: str = "main") -> Draft:
    return Draft(
        event=Event.BUNDLE_IMPORTED,
        outcome=Outcome.OK,
        fields={
            "channel": channel,
            "version": version,
            "manifest_sha256": SHA,
            "signed_by": ("ab" * 32, "cd" * 32),
            "artifacts": [
                {"kind": "model", "name": "demo", "sha256": SHA, "size_bytes": 5}
            ],
        },
    )


def refused() -> Draft:
    return Draft(
        event=Event.BUNDLE_REFUSED,
        outcome=Outcome.REFUSED,
        fields={"code": "digest-mismatch", "step": "copy", "channel": "main"},
    )


def export(
    ledger: Ledger, folder: Path, selection: Selection | None = None
) -> ReceiptExport:
    return export_receipts(
        ledger.engine,
        folder,
        selection=selection or Selection(),
        log=ledger.log,
        keys=ledger.keys,
        now=NOW,
        tool=TOOL,
        account={"operator_uid": 990, "login_uid": None},
    )


@pytest.fixture
def exported(ledger: Ledger, tmp_path: Path) -> ReceiptExport:
    ledger.append([imported(1), refusal(), refusal(), imported(2), refused()])
    ledger.append([refusal(), imported(1, channel="extra")])
    return export(ledger, tmp_path / "out")


def check(folder: Path, key: str) -> tuple[int, str]:
    """Run the exported verifier in a clean process."""
    done = subprocess.run(
        [sys.executable, "-I", folder / "verify_receipt.py", folder, "--key", key],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={},
    )
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout


def test_receipts_are_found_by_channel_and_version(ledger: Ledger) -> None:
    ledger.append([imported(1), imported(2), refused(), imported(1, channel="extra")])
    with ledger.engine.connect() as connection:
        assert [each.seq for each in find_receipts(connection)] == [1, 2, 3, 4]
        main = find_receipts(connection, channel="main")
        assert [each.seq for each in main] == [1, 2, 3]
        assert [each.seq for each in find_receipts(connection, version=1)] == [1, 4]
        found = import_of(connection, Sha256(SHA))
        assert found is not None
        assert found.seq == 4
        assert import_of(connection, Sha256("0" * 64)) is None


def test_where_there_is_no_receipt_nothing_is_exported_or_recorded(
    ledger: Ledger, tmp_path: Path
) -> None:
    with pytest.raises(MissingError):
        export(ledger, tmp_path / "out", Selection(channel="none"))
    assert ledger.count() == 1
    assert not (tmp_path / "out").exists()


def test_what_exists_is_never_written_over(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append([imported(1)])
    with pytest.raises(ConflictError):
        export(ledger, tmp_path)
    assert ledger.count() == 2


@pytest.mark.parametrize("column", ["bytes", "leaf"])
def test_a_ledger_that_was_changed_is_not_exported(
    ledger: Ledger, tmp_path: Path, column: str
) -> None:
    ledger.append([imported(1), refusal()])
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER record_no_update")
        value = "CAST(replace(bytes, '1', '2') AS BLOB)"
        value = value if column == "bytes" else "zeroblob(32)"
        seq = 1 if column == "bytes" else 2
        connection.exec_driver_sql(
            f"UPDATE record SET {column} = {value} WHERE seq = {seq}"  # noqa: S608 - fixed names
        )
    restore_triggers(ledger.home / "sallyport.db")
    with pytest.raises(DigestMismatchError):
        export(ledger, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_clean_process_verifies_an_export_and_prints_the_page(
    exported: ReceiptExport, ledger: Ledger
) -> None:
    status, text = check(exported.folder, ledger.log.vkey)
    assert status == OK, text
    page = (exported.folder / "receipts.txt").read_text()
    assert text.startswith(page)
    assert "bundle.refused" in page
    assert "digest-mismatch" in page
    assert (exported.receipts, exported.size) == (4, 9)
    assert sorted(path.name for path in exported.folder.iterdir()) == sorted(
        [f"{n}.{kind}" for n in (1, 4, 5, 7) for kind in ("json", "tlog-proof")]
        + [
            "checkpoint.txt",
            "epoch-keys.jsonl",
            "receipts.note",
            "receipts.txt",
            "verify_receipt.py",
        ]
    )
    assert ledger.count() == 9


def test_a_selection_is_said_and_signed(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append([imported(1), imported(2)])
    folder = export(
        ledger, tmp_path / "out", Selection(channel="main", version=2)
    ).folder
    assert check(folder, ledger.log.vkey)[0] == OK
    assert "channel main, version 2" in (folder / "receipts.txt").read_text()
    note = folder / "receipts.note"
    note.write_bytes(note.read_bytes().replace(b"version 2", b"version 3"))
    assert check(folder, ledger.log.vkey)[0] == SIGNATURE


def test_another_logs_key_verifies_nothing(
    exported: ReceiptExport, ledger: Ledger
) -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    key = VerifierKey(name=ledger.log.origin, public=other).encode()
    assert check(exported.folder, key)[0] == SIGNATURE
    assert check(exported.folder, ledger.log.vkey[:-4])[0] == UNCHECKED


def test_every_field_of_a_receipt_is_covered(
    exported: ReceiptExport, ledger: Ledger
) -> None:
    path = exported.folder / "4.json"
    original = path.read_bytes()
    for name, value in json.loads(original).items():
        changed = json.loads(original)
        changed[name] = [value] if isinstance(value, str) else "other"
        path.write_bytes(
            json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
        )
        assert _status(exported.folder, ledger) == RECORD, name
    path.write_bytes(original)
    assert _status(exported.folder, ledger) == OK


@pytest.mark.parametrize(
    "name",
    ["1.json", "1.tlog-proof", "checkpoint.txt", "receipts.note", "receipts.txt"],
)
def test_every_byte_of_every_file_is_covered(
    exported: ReceiptExport, ledger: Ledger, name: str
) -> None:
    path = exported.folder / name
    original = path.read_bytes()
    for at in range(len(original)):
        path.write_bytes(original[:at] + bytes([original[at] ^ 1]) + original[at + 1 :])
        assert _status(exported.folder, ledger) in {RECORD, SIGNATURE}, at
    path.write_bytes(original + b"\n")
    assert _status(exported.folder, ledger) in {RECORD, SIGNATURE}


@pytest.mark.parametrize(
    "tamper",
    [
        lambda f: [(f / f"4.{kind}").unlink() for kind in ("json", "tlog-proof")],
        lambda f: (f / "4.json").rename(f / "6.json"),
        lambda f: (f / "4.json").write_bytes((f / "1.json").read_bytes()),
        lambda f: (f / "4.tlog-proof").write_bytes((f / "1.tlog-proof").read_bytes()),
        lambda f: (f / "4.tlog-proof").unlink(),
        lambda f: (f / "receipts.txt").unlink(),
        lambda f: (f / "6.json").write_bytes(b'{"v":1}'),
        lambda f: (f / "6.json").write_bytes(b"[" * 100_000),
        lambda f: (f / "4.json").write_bytes(b"[]"),
    ],
)
def test_receipts_cannot_be_taken_out_moved_or_added(
    exported: ReceiptExport, ledger: Ledger, tamper: Callable[[Path], object]
) -> None:
    tamper(exported.folder)
    status, text = check(exported.folder, ledger.log.vkey)
    assert status in {RECORD, UNCHECKED}
    assert text.startswith("FAILED")


def test_proofs_of_another_head_are_not_mixed_in(
    exported: ReceiptExport, ledger: Ledger, tmp_path: Path
) -> None:
    later = export(ledger, tmp_path / "later").folder
    assert check(later, ledger.log.vkey)[0] == OK
    shutil.copy(exported.folder / "1.tlog-proof", later / "1.tlog-proof")
    assert _status(later, ledger) == RECORD
    shutil.copy(exported.folder / "checkpoint.txt", later / "checkpoint.txt")
    assert _status(later, ledger) == RECORD


def test_a_checkpoint_is_no_index_though_the_same_key_signed_it(
    exported: ReceiptExport, ledger: Ledger
) -> None:
    note = sign_note("x\ny\n", name=ledger.log.origin, signer=ledger.signer)
    for data in (note, (exported.folder / "checkpoint.txt").read_bytes()):
        (exported.folder / "receipts.note").write_bytes(data)
        assert _status(exported.folder, ledger) == RECORD


def test_a_proof_is_written_as_others_read_it(exported: ReceiptExport) -> None:
    lines = (exported.folder / "4.tlog-proof").read_text().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 4"]
    end = lines.index("")
    assert all(len(base64.b64decode(line)) == 32 for line in lines[2:end])
    checkpoint = (exported.folder / "checkpoint.txt").read_text()
    assert "\n".join(lines[end + 1 :]) == checkpoint


def _status(folder: Path, ledger: Ledger) -> int:
    """Return what the verifier says, asked in this process."""
    try:
        receipt_verifier.verify(folder, ledger.log.vkey)
    except receipt_verifier.CheckError as error:
        return int(error.args[0])
    return OK
