"""An export is one whole snapshot in a new folder, or nothing at all."""

import hashlib
import json
import shutil
import threading
from pathlib import Path

import pytest
import rfc8785
from sqlalchemy import text

from appliance.db.session import restore_triggers
from appliance.ledger.exports import verifier
from appliance.ledger.exports.export import Export, export
from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    MissingError,
    StorageFaultError,
)
from tests.support.ledgers import (
    NOW,
    TOOL,
    Ledger,
    refusal,
    request,
    response,
    writer_of,
)


def _export(ledger: Ledger, folder: Path) -> Export:
    return export(
        ledger.engine, folder, log=ledger.log, keys=ledger.keys, now=NOW, tool=TOOL
    )


def test_an_export_holds_exactly_its_files_and_the_record_of_itself(
    ledger: Ledger, tmp_path: Path
) -> None:
    ledger.append([request("r1"), response("r1", parent=1)])
    made = _export(ledger, tmp_path / "out")
    assert sorted(path.name for path in made.folder.iterdir()) == [
        "checkpoint.txt",
        "epoch-keys.jsonl",
        "manifest.json",
        "manifest.note",
        "records.jsonl",
        "verify.py",
    ]
    lines = (made.folder / "records.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == ["0", "1", "2", "3"]
    assert json.loads(lines[-1])["event"] == "log.exported"
    assert (made.size, made.vkey) == (4, ledger.log.vkey)
    assert verifier.verify(made.folder, key=made.vkey).status == 0


def test_the_manifest_is_canonical_and_lists_what_lies_there(
    ledger: Ledger, tmp_path: Path
) -> None:
    folder = _export(ledger, tmp_path / "out").folder
    data = (folder / "manifest.json").read_bytes()
    manifest = json.loads(data)
    assert rfc8785.dumps(manifest) == data
    for file in manifest["files"]:
        held = (folder / file["path"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(held).hexdigest()
        assert file["size_bytes"] == str(len(held))
    assert manifest["range"] == {"first": "0", "last": "1"}
    assert (manifest["origin"], manifest["tool"]) == (ledger.log.origin, TOOL)


def test_the_exported_verifier_is_the_one_of_this_release(
    ledger: Ledger, tmp_path: Path
) -> None:
    folder = _export(ledger, tmp_path / "out").folder
    assert (folder / "verify.py").read_bytes() == Path(verifier.__file__).read_bytes()


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_an_existing_name_is_refused_and_no_export_recorded(
    ledger: Ledger, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
    elif kind == "file":
        out.write_bytes(b"mine")
    else:
        out.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConflictError) as caught:
        _export(ledger, out)
    assert caught.value.where == str(out)
    assert ledger.count() == 1


def test_a_missing_parent_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        _export(ledger, tmp_path / "no" / "out")
    assert ledger.count() == 1


def test_a_ledger_that_was_changed_is_not_exported(
    ledger: Ledger, tmp_path: Path
) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER record_no_update"))
        connection.execute(text("UPDATE record SET bytes = x'7b7d'"))
    restore_triggers(ledger.home / "sallyport.db")
    with pytest.raises(DigestMismatchError):
        _export(ledger, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_medium_that_refuses_leaves_nothing_behind(
    ledger: Ledger, tmp_path: Path
) -> None:
    # A name of the longest length leaves no room for the partial folder's own.
    with pytest.raises(StorageFaultError):
        _export(ledger, tmp_path / ("x" * 255))
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_an_export_is_whole_while_the_server_goes_on_writing(
    ledger: Ledger, tmp_path: Path
) -> None:
    writer = writer_of(ledger)
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            writer.submit(refusal()).result(20)

    thread = threading.Thread(target=load)
    thread.start()
    exports = [_export(ledger, tmp_path / f"out{n}") for n in range(5)]
    done.set()
    thread.join()
    assert writer.healthy
    writer.close()
    held: list[Path] = []
    for made in exports:
        verdict = verifier.verify(made.folder, key=made.vkey, held=tuple(held))
        assert (verdict.status, verdict.size) == (0, made.size)
        held.append(made.folder / "checkpoint.txt")


def test_an_export_can_be_moved_and_still_verifies(
    ledger: Ledger, tmp_path: Path
) -> None:
    made = _export(ledger, tmp_path / "out")
    moved = shutil.move(made.folder, tmp_path / "elsewhere")
    assert verifier.verify(Path(moved), key=made.vkey).status == 0
