"""``sallyport evidence``: a pack is an export, and its tables lead to its records."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from appliance.audit_media import open_export
from appliance.cli import main
from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.home import Home
from appliance.ledger.exports import verifier
from bundleformat.trust import fingerprint
from tests.support.publisher import make_root, new_keys

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    root = make_root(new_keys())
    home = Home(tmp_path / "home")
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=SystemClock())
    return home.root


def test_a_framework_that_is_not_here_leaves_no_pack_and_no_record(
    home: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "pack"
    pack = ("evidence", "pack", "--framework", "pci-dss", "--out", str(out))
    assert main(["--home", str(home), *pack]) == 2
    assert "--framework" in capsys.readouterr().err
    assert not out.exists()
    main(["--home", str(home), "audit", "status", "--json"])
    assert json.loads(capsys.readouterr().out)["size"] == 2


def test_a_pack_verifies_and_each_claim_leads_to_a_record_of_it(
    home: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "pack"
    pack = ("--framework", "pci", "--framework", "dpdp", "--out", str(out), "--json")
    assert main(["--home", str(home), "evidence", "pack", *pack]) == 0
    made = json.loads(capsys.readouterr().out)
    assert verifier.verify(out, key=made["vkey"]).status == verifier.OK
    assert {*verifier.FILES, *made["derived"]} == {path.name for path in out.iterdir()}
    records = (out / "records.jsonl").read_bytes().splitlines()
    value = json.loads((out / "evidence-pci.json").read_bytes())
    places = [
        (found["event"], found["newest"])
        for each in value["requirements"]
        for claim in each["claims"]
        for found in claim["records"]
        if found["count"]
    ]
    assert {event for event, _ in places} == {"log.created", "log.exported"}
    for event, place in places:
        data = records[int(place["seq"])]
        assert hashlib.sha256(b"\x00" + data).hexdigest() == place["leaf"]
        assert json.loads(data)["event"] == event
    kinds = json.loads((out / "events.json").read_bytes())["events"]
    assert {json.loads(data)["event"] for data in records} <= set(kinds)


def test_a_pack_can_be_encrypted_for_one_auditor(
    home: Path, tmp_path: Path, capsys: Captured
) -> None:
    key, public = tmp_path / "auditor.key", tmp_path / "auditor.pub"
    public.write_text(open_export.create_key(key))
    out = tmp_path / "pci.age"
    pack = ("evidence", "pack", "--framework", "pci", "--out", str(out))
    assert main(["--home", str(home), *pack, "--recipient", str(public), "--json"]) == 0
    vkey = json.loads(capsys.readouterr().out)["vkey"]
    open_export.open_sealed(out, open_export.read_seed(key), tmp_path / "pci.tar")
    with tarfile.open(tmp_path / "pci.tar") as file:
        file.extractall(tmp_path / "there", filter="data")
    folder = tmp_path / "there" / "pci"
    assert (folder / "evidence-pci.html").exists()
    assert verifier.verify(folder, key=vkey).status == verifier.OK


def test_the_list_counts_what_is_answered_and_what_is_not(capsys: Captured) -> None:
    assert main(["evidence", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["frameworks"]
    known = {row["framework"]: row for row in rows}
    assert {"eu-ai-act", "hipaa", "pci", "dpdp", "ism"} <= set(known)
    assert int(known["eu-ai-act"]["no"]) > 0
