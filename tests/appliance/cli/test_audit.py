"""``sallyport audit export`` and ``audit verify``: what an auditor is told."""

import errno
import json
import os
import shlex
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from appliance.account import login_uid
from appliance.audit_flow import Carrier, Form, export_ledger
from appliance.audit_media import open_export
from appliance.audit_media.iso_image import find_xorriso
from appliance.audit_media.sealed_file import parse_recipient
from appliance.cli import main
from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.file_lock import exclusive_lock
from appliance.home import Home
from appliance.ledger.exports import verifier
from appliance.ledger.log.rotation import rotate
from bundleformat.errors import ConflictError, StorageFaultError
from bundleformat.trust import fingerprint
from tests.support.forgery import copy_with, records_of
from tests.support.publisher import make_root, new_keys

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    root = make_root(new_keys())
    home = Home(tmp_path / "home")
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=SystemClock())
    return home.root


@pytest.fixture
def exported(home: Path, tmp_path: Path, capsys: Captured) -> dict[str, Any]:
    """An export in a folder whose name a shell would take apart."""
    folder = str(tmp_path / "an export")
    assert (
        main(["--home", str(home), "audit", "export", "--out", folder, "--json"]) == 0
    )
    value = json.loads(capsys.readouterr().out)
    assert isinstance(value, dict)
    return value


def refusal(
    exported: dict[str, Any], capsys: Captured, *arguments: str
) -> tuple[int, dict[str, Any]]:
    """The status and the error of an ``audit verify`` that must not succeed."""
    capsys.readouterr()
    key = () if "--key" in arguments else ("--key", exported["vkey"])
    status = main(["audit", "verify", *arguments, *key, "--json"])
    out, err = capsys.readouterr()
    assert out == ""
    error = json.loads(err)["error"]
    assert isinstance(error, dict)
    return status, error


def test_export_prints_the_command_that_checks_it(
    home: Path, tmp_path: Path, capsys: Captured
) -> None:
    folder = tmp_path / "an export"
    assert main(["--home", str(home), "audit", "export", "--out", str(folder)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    said, _, command = last.partition(": ")
    assert said == "the auditor checks it with"
    *program, place, option, key = shlex.split(command)
    assert (program, place) == (["python", "-I", "verify.py"], str(folder))
    assert option == "--key"
    assert verifier.verify(folder, key=key).status == verifier.OK


@pytest.mark.parametrize("missing", ["folder", "checkpoint.txt", "held"])
def test_what_is_not_there_is_missing_and_named_once(
    exported: dict[str, Any], capsys: Captured, missing: str
) -> None:
    folder = Path(exported["folder"])
    place = folder / missing
    arguments = [str(folder)]
    if missing == "folder":
        arguments = [str(place)]
        place /= "checkpoint.txt"
    elif missing == "held":
        arguments += ["--held", str(place)]
    else:
        place.unlink()
    status, error = refusal(exported, capsys, *arguments)
    assert (status, error["code"], error["where"]) == (3, "missing", str(place))
    assert error["message"].count(str(place)) == 1
    assert error["hint"]


def test_an_archive_is_to_be_unpacked_first(
    exported: dict[str, Any], capsys: Captured, tmp_path: Path
) -> None:
    archive = tmp_path / "june.tar"
    with tarfile.open(archive, "w") as file:
        file.add(exported["folder"], "june")
    status, error = refusal(exported, capsys, str(archive))
    assert (status, error["code"]) == (3, "malformed")
    assert error["message"].startswith(f"{archive} is a file: unpack it")


def test_what_is_no_key_is_a_wrong_command(
    exported: dict[str, Any], capsys: Captured
) -> None:
    status, error = refusal(exported, capsys, exported["folder"], "--key", "abc")
    assert (status, error["code"], error["where"]) == (2, "usage", "--key")


def test_a_folder_in_the_place_of_a_file_is_malformed(
    exported: dict[str, Any], capsys: Captured
) -> None:
    place = Path(exported["folder"], "checkpoint.txt")
    place.unlink()
    place.mkdir()
    status, error = refusal(exported, capsys, exported["folder"])
    assert (status, error["code"]) == (3, "malformed")
    assert error["message"].count(exported["folder"]) == 1


def test_a_finding_says_what_to_do(
    exported: dict[str, Any], capsys: Captured, tmp_path: Path
) -> None:
    folder = Path(exported["folder"])
    shorter = copy_with(folder, records_of(folder)[:-1], to=tmp_path / "shorter")
    status, error = refusal(exported, capsys, str(shorter))
    assert (status, error["code"], error["where"]) == (3, "rollback", str(shorter))
    assert error["hint"].startswith("Copy the export again")


def test_the_status_says_whose_account_it_is(home: Path, capsys: Captured) -> None:
    status = ["--home", str(home), "audit", "status"]
    assert main([*status, "--json"]) == 0
    account = json.loads(capsys.readouterr().out)["account"]
    assert account == {"operator_uid": os.getuid(), "login_uid": login_uid()}
    assert main(status) == 0
    said = f"uid {os.getuid()}"
    assert f"account        {said}" in capsys.readouterr().out


def test_a_format_that_does_not_exist_leaves_no_export_and_no_record(
    home: Path, tmp_path: Path, capsys: Captured
) -> None:
    folder = tmp_path / "out"
    export = ("audit", "export", "--out", str(folder), "--format", "csv,pdf")
    assert main(["--home", str(home), *export]) == 2
    assert "--format" in capsys.readouterr().err
    assert not folder.exists()
    main(["--home", str(home), "audit", "status", "--json"])
    assert json.loads(capsys.readouterr().out)["size"] == 2


def test_every_format_travels_with_the_records_and_passes_verification(
    home: Path, tmp_path: Path, capsys: Captured
) -> None:
    folder = tmp_path / "out"
    formats = "csv,xlsx,ocsf,syslog,html"
    export = ("audit", "export", "--out", str(folder), "--format", formats, "--json")
    assert main(["--home", str(home), *export]) == 0
    made = json.loads(capsys.readouterr().out)
    assert len(made["derived"]) == 5
    assert {*verifier.FILES, *made["derived"]} == {p.name for p in folder.iterdir()}
    verdict = verifier.verify(folder, key=made["vkey"])
    assert verdict.status == verifier.OK
    assert any("made for convenience" in gap for gap in verdict.not_proved)
    (folder / "report.html").write_bytes(b"<p>Nothing was ever refused.</p>")
    assert verifier.verify(folder, key=made["vkey"]).status == verifier.RECORD


def test_an_export_is_one_file_of_one_kind(
    home: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out"
    both = ("audit", "export", "--out", str(out), "--tar", "--iso")
    assert main(["--home", str(home), *both]) == 2
    assert "--tar, --iso" in capsys.readouterr().err
    assert not out.exists()


def test_an_image_without_xorriso_is_refused_before_the_record(
    home: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    out = tmp_path / "out.iso"
    assert (
        main(["--home", str(home), "audit", "export", "--out", str(out), "--iso"]) == 3
    )
    assert "missing: xorriso" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    main(["--home", str(home), "audit", "status", "--json"])
    assert json.loads(capsys.readouterr().out)["size"] == 2


def test_an_archive_holds_an_export_that_verifies_and_replaces_nothing(
    home: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "june.tar"
    export = ("audit", "export", "--out", str(out), "--tar", "--format", "csv")
    assert main(["--home", str(home), *export]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("the auditor unpacks it with tar -xf, then checks it with: ")
    *_, folder, _, key = shlex.split(said.partition(": ")[2])
    with tarfile.open(out) as archive:
        archive.extractall(tmp_path / "there", filter="data")
    unpacked = tmp_path / "there" / folder
    assert verifier.verify(unpacked, key=key).status == verifier.OK
    assert (unpacked / "records.csv").exists()
    before = out.read_bytes()
    assert main(["--home", str(home), *export]) == 3
    assert out.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"home", "june.tar", "there"}


@pytest.mark.skipif(
    shutil.which("xorriso") is None,
    reason="xorriso is not installed: apt-get install xorriso",
)
def test_an_image_holds_an_export_that_verifies(
    home: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "june.iso"
    export = ("audit", "export", "--out", str(out), "--iso", "--json")
    assert main(["--home", str(home), *export]) == 0
    key = json.loads(capsys.readouterr().out)["vkey"]
    there = tmp_path / "there"
    subprocess.run(
        [find_xorriso(), "-osirrox", "on", "-indev", out, "-extract", "/", there],
        check=True,
        capture_output=True,
    )
    assert verifier.verify(there, key=key).status == verifier.OK


def test_a_broken_chain_of_keys_has_a_code_of_its_own(
    exported: dict[str, Any], capsys: Captured
) -> None:
    Path(exported["folder"], "epoch-keys.jsonl").write_bytes(b"{}\n")
    status, error = refusal(exported, capsys, exported["folder"])
    assert (status, error["code"]) == (3, "key-chain")
    assert "line 1 of epoch-keys.jsonl" in error["message"]


def test_the_keys_of_a_ledger_are_listed(home: Path, capsys: Captured) -> None:
    opened = open_host(home)
    rotate(
        opened.database,
        log=opened.log,
        keys=opened.keys,
        now=opened.clock.now(),
        reason="start",
    )
    assert main(["--home", str(home), "audit", "keys", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["keys"]
    assert (first["epoch"], first["vkey"], first["to_size"]) == (0, opened.log.vkey, 3)
    assert first["destroyed_ts"]
    assert (second["epoch"], second["from_size"], second["to_size"]) == (1, 3, None)
    assert main(["--home", str(home), "audit", "keys"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "heads of 1 to 3 records  destroyed 2" in lines[0]
    assert lines[1].endswith("heads of more than 3 records  in use")


def test_a_witness_signs_on_its_own_machine_and_every_export_carries_it(
    home: Path, exported: dict[str, Any], tmp_path: Path, capsys: Captured
) -> None:
    capsys.readouterr()
    key, vkey = tmp_path / "witness.key", exported["vkey"]
    assert main(["audit", "witness-key", str(key), "--name", "w.example"]) == 0
    public = capsys.readouterr().out.strip()
    on_host = ("--home", str(home), "audit")
    cosign = ("audit", "cosign", "--key", str(key), "--log", vkey)
    first = tmp_path / "first.txt"
    checkpoint = str(Path(exported["folder"]) / "checkpoint.txt")
    assert main([*cosign, checkpoint, "--out", str(first)]) == 0
    assert main([*cosign, checkpoint, "--out", str(first)]) == 3
    assert main([*on_host, "import-cosign", str(first), "--witness", public]) == 0
    assert main([*on_host, "import-cosign", str(first), "--witness", public]) == 3
    assert main([*on_host, "import-cosign", str(first), "--witness", vkey]) == 3

    small, second = tmp_path / "small", tmp_path / "second.txt"
    given = ("checkpoint", "--out", str(small), "--since", str(first))
    assert main([*on_host, *given]) == 0
    assert main([*on_host, "checkpoint", "--since", str(first)]) == 2
    capsys.readouterr()
    again = [*cosign, str(small / "checkpoint.txt"), "--out", str(second), "--json"]
    assert main(again) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["before"], said["size"]) == (3, 4)
    assert main([*on_host, "import-cosign", str(second), "--witness", public]) == 0

    later = str(tmp_path / "later")
    assert main([*on_host, "export", "--out", later]) == 0
    verify = ["audit", "verify", later, "--key", vkey]
    capsys.readouterr()
    assert main([*verify, "--witness", public]) == 0
    assert capsys.readouterr().out.count("that w.example at ") == 2
    assert main([*verify, "--witness", vkey]) == 3


def test_a_receipt_that_is_none_is_malformed(
    exported: dict[str, Any], capsys: Captured
) -> None:
    capsys.readouterr()
    folder, key = exported["folder"], exported["vkey"]
    check = ["audit", "verify-receipt", "1.x.0", folder, "--key", key, "--json"]
    assert main(check) == 3
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "malformed"


def _last_record(home: Path) -> dict[str, Any]:
    with open_host(home).look() as connection:
        query = "SELECT bytes FROM record ORDER BY seq DESC LIMIT 1"
        record = json.loads(connection.exec_driver_sql(query).scalar_one())
    assert isinstance(record, dict)
    return record


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (("--redact", "names"), "--redact"),
        (("--redact", "metadata", "--format", "csv"), "--format, --redact"),
    ],
)
def test_a_level_that_cannot_be_had_is_refused_before_the_record(
    home: Path, tmp_path: Path, capsys: Captured, options: tuple[str, str], where: str
) -> None:
    out = tmp_path / "out"
    command = ["--home", str(home), "audit", "export", "--out", str(out), *options]
    assert main([*command, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["where"] == where
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert _last_record(home)["event"] != "log.exported"


def test_who_asked_and_for_what_is_on_record(home: Path, tmp_path: Path) -> None:
    command = ["--home", str(home), "audit", "export", "--out"]
    plain = [*command, str(tmp_path / "plain")]
    assert main(plain) == 0
    said = _last_record(home)
    assert (said["event"], said["redaction"]) == ("log.exported", "digest")
    assert (said["operator_uid"], said["carrier"]) == (os.getuid(), "folder")
    assert said.get("login_uid") == login_uid()
    assert said.keys().isdisjoint({"formats", "selection", "recipient"})
    part = ("--from", "1", "--format", "xlsx,csv", "--tar")
    assert main([*command, str(tmp_path / "part.tar"), *part]) == 0
    said = _last_record(home)
    assert (said["carrier"], said["formats"]) == ("tar", ["csv", "xlsx"])
    assert said["selection"] == {"first": "1"}
    assert main([*command, str(tmp_path / "listed"), "--redact", "metadata"]) == 0
    assert _last_record(home)["redaction"] == "metadata"


def test_a_record_picked_from_a_listing_is_proven_against_its_checkpoint(
    home: Path, tmp_path: Path, capsys: Captured
) -> None:
    on_host = ["--home", str(home), "audit"]
    listed, proof = tmp_path / "listed", tmp_path / "proof"
    assert main([*on_host, "export", "--out", str(listed), "--redact", "metadata"]) == 0
    checkpoint = str(shutil.copy(listed / "checkpoint.txt", tmp_path / "kept.txt"))
    prove = ["prove", "1", "--out", str(proof), "--since", checkpoint]
    assert main([*on_host, *prove]) == 0
    capsys.readouterr()
    main(["--home", str(home), "audit", "key"])
    key = capsys.readouterr().out.strip()
    for folder in (listed, proof):
        verify = ["audit", "verify", str(folder), "--key", key, "--held", checkpoint]
        assert main(verify) == 0


@pytest.fixture
def auditor(tmp_path: Path) -> tuple[Path, Path]:
    """The two files of an auditor's key, the secret one and the one for the host."""
    key, public = tmp_path / "auditor.key", tmp_path / "auditor.pub"
    public.write_text(open_export.create_key(key) + "\n")
    return key, public


def test_an_encrypted_export_is_for_one_auditor_and_says_how_it_is_opened(
    home: Path, tmp_path: Path, auditor: tuple[Path, Path], capsys: Captured
) -> None:
    key, public = auditor
    out = tmp_path / "june.age"
    command = ("audit", "export", "--out", str(out), "--recipient", str(public))
    assert main(["--home", str(home), *command, "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    key_id = _last_record(home)["recipient"]
    assert _last_record(home)["carrier"] == "sealed"
    assert lines[0].endswith(f"{out}, for key {key_id} alone")
    assert f"-> sallyport/key-id {key_id}\n".encode() in out.read_bytes()
    assert b"log.created" not in out.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("home", "auditor.key", "auditor.pub", "june.age")
    }
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    # What the last line tells the auditor is done, word by word.
    opening, unpacking, checking = lines[-1].split("; ")[0], "june.tar", lines[-1]
    *_, file, _, _, _, opened = shlex.split(opening)
    assert (file, opened) == ("june.age", unpacking)
    open_export.open_sealed(out, open_export.read_seed(key), tmp_path / opened)
    with tarfile.open(tmp_path / opened) as archive:
        archive.extractall(tmp_path / "there", filter="data")
    *_, folder, _, vkey = shlex.split(checking.rpartition(": ")[2])
    unpacked = tmp_path / "there" / folder
    assert verifier.verify(unpacked, key=vkey).status == verifier.OK
    assert (unpacked / "records.csv").exists()


@pytest.mark.parametrize(
    ("case", "status", "where"),
    [
        ("image", 2, "--iso, --recipient"),
        ("no file", 3, "auditor.pub"),
        ("secret", 3, "auditor.key"),
        ("busy", 3, "home"),
        ("there", 3, "june.age"),
    ],
)
def test_an_encrypted_export_that_cannot_be_leaves_no_file_and_no_record(
    home: Path,
    tmp_path: Path,
    auditor: tuple[Path, Path],
    capsys: Captured,
    case: str,
    status: int,
    where: str,
) -> None:
    key, public = auditor
    out = tmp_path / "june.age"
    recipient = key if case == "secret" else public
    if case == "no file":
        public.unlink()
    if case == "there":
        out.write_text("mine")
    before = {path.name for path in tmp_path.iterdir()}
    options = ("--recipient", str(recipient), *(("--iso",) if case == "image" else ()))
    command = ["--home", str(home), "audit", "export", "--out", str(out), *options]
    lock = home / "run" / ("export.lock" if case == "busy" else "another.lock")
    with exclusive_lock(lock, busy=ConflictError("busy", where="test")):
        assert main([*command, "--json"]) == status
    error = json.loads(capsys.readouterr().err)["error"]
    assert Path(error["where"]).name == where
    assert {path.name for path in tmp_path.iterdir()} == before
    assert _last_record(home)["event"] != "log.exported"


def test_what_is_encrypted_lies_in_the_home_alone_until_it_is(
    home: Path, tmp_path: Path, auditor: tuple[Path, Path]
) -> None:
    # What a killed export left is gone before another begins.
    left = home / ".export.0123abcd.partial" / "export"
    left.mkdir(parents=True)
    (left / "records.jsonl").write_text("who asked what")
    medium = tmp_path / "medium"
    medium.mkdir()
    seen: list[Path] = []

    def look(folder: Path) -> list[str]:
        assert (folder / "records.jsonl").stat().st_size > 0
        assert list(medium.iterdir()) == []
        assert not left.parent.exists()
        seen.append(folder)
        return []

    recipient = parse_recipient(auditor[1].read_bytes(), where="")
    form = Form(carrier=Carrier.SEALED, recipient=recipient)
    export_ledger(open_host(home), medium / "june.age", form=form, more=look)
    assert [path.is_relative_to(home) for path in seen] == [True]
    assert not seen[0].exists()
    assert [path.name for path in medium.iterdir()] == ["june.age"]
    assert list(home.glob(".export*")) == []


def test_a_disk_that_is_full_leaves_nothing_of_an_encrypted_export(
    home: Path, tmp_path: Path, auditor: tuple[Path, Path]
) -> None:
    def full(_folder: Path) -> list[str]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    recipient = parse_recipient(auditor[1].read_bytes(), where="")
    form = Form(carrier=Carrier.SEALED, recipient=recipient)
    with pytest.raises(StorageFaultError):
        export_ledger(open_host(home), tmp_path / "june.age", form=form, more=full)
    assert not (tmp_path / "june.age").exists()
    assert list(home.glob(".export*")) == []
