"""An export carries the policies behind the ids that its records name."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.audit_flow import Asked, export_ledger, prove
from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.core_policies import core_files
from appliance.home import Home
from appliance.host import OpenHost
from appliance.ledger.exports import verifier
from appliance.ledger.exports.redaction import Redaction
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.policy.compile import compile_policies
from appliance.policy_text_flow import FILE, MAX_MADE, MAX_SETS, put_together
from appliance.registry import catalogue
from appliance.registry.store import Store
from bundleformat.digest import Sha256, sha256_of
from bundleformat.manifest import encode_manifest
from bundleformat.trust import fingerprint
from tests.support.generations import manifest_of
from tests.support.ledgers import refusal
from tests.support.publisher import make_root, new_keys

NOW = SystemClock().now().replace(microsecond=0)
SITE = b'@id("site-1") @reason("not here") forbid (principal, action, resource);\n'
OTHER = SITE.replace(b"site-1", b"site-2")
UNKNOWN = "cd" * 32


@pytest.fixture
def host(tmp_path: Path) -> Iterator[OpenHost]:
    root = make_root(new_keys(), expires=NOW + dt.timedelta(days=30))
    home = Home(tmp_path / "home")
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=SystemClock())
    host = open_host(home.root)
    yield host
    host.database.dispose()


def deliver(
    host: OpenHost, version: int, policies: Mapping[str, bytes], channel: str = "main"
) -> None:
    """Store policies, and activate them with a bill of materials, as an import does."""
    files = {f"policy/{name}": data for name, data in policies.items()}
    files[f"sbom/{channel}"] = b"{}"
    manifest = manifest_of(files, version=version, channel=channel)
    store = Store(host.home.store)
    for data in policies.values():
        staged = host.home.root / "staged"
        staged.write_bytes(data)
        store.admit(staged, sha256_of(data))
    with host.change() as connection:
        encoded = encode_manifest(manifest)
        catalogue.activate(
            connection, manifest=manifest, manifest_bytes=encoded, now=NOW
        )


def set_of(site: Mapping[str, bytes]) -> str:
    """The digest that records carry of the core set and these site files."""
    return compile_policies(core_files(), site=tuple(site.items())).sha256


def decided(host: OpenHost, *sets: str) -> None:
    """Record a denial by each of these sets."""
    drafts = [
        Draft(
            event=Event.LLM_REFUSED,
            outcome=Outcome.REFUSED,
            team="claims",
            request_id=f"r{number}",
            fields={
                "code": "policy-denied",
                "status": 403,
                "policy": {"decision": "deny", "ids": ("site-1",), "set_sha256": each},
            },
        )
        for number, each in enumerate(sets)
    ]
    with host.change() as connection:
        host.record(connection, drafts, now=NOW)


def told(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What an export tells: the files of each set, and each text by its digest."""
    lines = [json.loads(line) for line in (folder / FILE).read_bytes().splitlines()]
    sets = {line["set"]: line.get("files") for line in lines if "set" in line}
    texts = {line["sha256"]: line["text"] for line in lines if "text" in line}
    assert len(sets) + len(texts) == len(lines)
    return sets, texts


def canonical(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def test_every_set_and_text_is_the_one_that_a_record_names(
    host: OpenHost, tmp_path: Path
) -> None:
    deliver(host, 1, {"a": SITE})
    decided(host, set_of({"a": SITE}))
    made = export_ledger(host, tmp_path / "out")
    sets, texts = told(made.folder)
    for sha256, files in sets.items():
        assert hashlib.sha256(canonical(files)).hexdigest() == sha256
    for sha256, text in texts.items():
        assert hashlib.sha256(text.encode()).hexdigest() == sha256
    (files,) = sets.values()
    assert texts[files["site"]["a"]] == SITE.decode()
    assert {files["schema"], files["classes"], *files["core"].values()} <= texts.keys()
    assert verifier.verify(made.folder, key=made.vkey).status == 0


def test_the_file_is_in_the_signed_manifest_and_no_evidence(
    host: OpenHost, tmp_path: Path
) -> None:
    decided(host, set_of({}))
    made = export_ledger(host, tmp_path / "out")
    manifest = json.loads((made.folder / "manifest.json").read_bytes())
    (entry,) = [each for each in manifest["files"] if each["path"] == FILE]
    assert entry["derived_from"] == "records.jsonl"
    changed = (made.folder / FILE).read_bytes().replace(b"forbid", b"permit", 1)
    (made.folder / FILE).write_bytes(changed)
    assert verifier.verify(made.folder, key=made.vkey).status == 2


def test_sets_of_earlier_generations_and_of_other_channels_are_put_together(
    host: OpenHost, tmp_path: Path
) -> None:
    deliver(host, 1, {"a": SITE})
    deliver(host, 2, {})
    deliver(host, 1, {"b": OTHER}, channel="second")
    wanted = [{}, {"a": SITE}, {"b": OTHER}, {"a": SITE, "b": OTHER}]
    decided(host, *map(set_of, wanted))
    sets, texts = told(export_ledger(host, tmp_path / "out").folder)
    assert {canonical(each["site"]) for each in sets.values()} == {
        canonical({name: sha256_of(data) for name, data in site.items()})
        for site in wanted
    }
    assert {SITE.decode(), OTHER.decode()} <= set(texts.values())


def test_a_set_that_the_host_does_not_have_is_named_without_files(
    host: OpenHost, tmp_path: Path
) -> None:
    decided(host, UNKNOWN, set_of({}))
    sets, texts = told(export_ledger(host, tmp_path / "out").folder)
    assert sets[UNKNOWN] is None
    assert sets[set_of({})]["site"] == {}
    assert texts


@pytest.mark.parametrize("lost", [b"", b"other text", b"\xff", None])
def test_a_file_that_is_lost_or_changed_is_not_told(
    host: OpenHost, tmp_path: Path, lost: bytes | None
) -> None:
    deliver(host, 1, {"a": SITE})
    decided(host, set_of({"a": SITE}))
    stored = Store(host.home.store).path_of(sha256_of(SITE))
    stored.unlink()
    if lost is not None:
        stored.write_bytes(lost)
    sets, texts = told(export_ledger(host, tmp_path / "out").folder)
    assert sets[set_of({"a": SITE})]["site"] == {"a": sha256_of(SITE)}
    assert sha256_of(SITE) not in texts
    assert len(texts) == len(core_files().policies) + 2


def test_records_that_name_no_set_bring_no_file(host: OpenHost, tmp_path: Path) -> None:
    with host.change() as connection:
        host.record(connection, [refusal()], now=NOW)
    made = export_ledger(host, tmp_path / "out")
    assert not (made.folder / FILE).exists()
    decided(host, set_of({}))
    withheld = Asked(redaction=Redaction.METADATA)
    made = export_ledger(host, tmp_path / "withheld", asked=withheld)
    assert not (made.folder / FILE).exists()


def test_the_proof_of_a_call_tells_its_caller_no_policy(
    host: OpenHost, tmp_path: Path
) -> None:
    decided(host, set_of({}))
    made = prove(host, "r0", tmp_path / "out")
    assert b"policy-denied" in (made.folder / "records.jsonl").read_bytes()
    assert not (made.folder / FILE).exists()


def test_only_so_many_sets_are_named(host: OpenHost, tmp_path: Path) -> None:
    decided(host, set_of({}), *(f"{n:064x}" for n in range(MAX_SETS + 1)))
    sets, _ = told(export_ledger(host, tmp_path / "out").folder)
    assert len(sets) == MAX_SETS
    assert sets[set_of({})] is not None


def test_only_so_many_sets_are_put_together() -> None:
    def sites() -> Iterator[Mapping[str, Sha256]]:
        for number in range(MAX_MADE):
            yield {str(number): sha256_of(SITE)}
        yield {"a": sha256_of(SITE)}

    named = frozenset({set_of({"a": SITE})})
    assert put_together(named, core=core_files(), sites=sites()) == {}
    assert (
        len(put_together(named, core=core_files(), sites=[{"a": sha256_of(SITE)}])) == 1
    )
