"""Writes what this release exports: ``python -m tests.releases.make_release``.

The commands of the release itself write it, on a host that is made for this and
thrown away. ``README.md`` says when it is run.
"""

import contextlib
import dataclasses
import io
import json
import shutil
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from appliance.audit_media.open_export import create_key, open_sealed, read_seed
from appliance.cli import main
from appliance.clock import SystemClock
from appliance.compose import open_host
from appliance.home import Home
from appliance.ledger.exports import verifier
from appliance.ledger.log.rotation import rotate
from appliance.ledger.records.events import Draft
from appliance.ledger.retention.pruning import prune_batch
from bundleformat.approval import Approval, issue, parse_ask
from bundleformat.limits import DEFAULT_LIMITS
from tests.support.audit_samples import DENIED, IMPORTED, KEY
from tests.support.kept_bodies import WHY, commission_home, keep_call
from tests.support.ledgers import refusal, request, response
from tests.support.publisher import Keys
from tests.support.retention import order

FOLDER = Path(__file__).parent
EXPORTS = ("whole", "part", "listed", "call", "pruned")
ENCRYPTED = ("sealed", "full")
EXPECTED = "expected.json"


def version() -> str:
    """The version that the project has now."""
    project = FOLDER.parents[1] / "pyproject.toml"
    return str(tomllib.loads(project.read_text("utf-8"))["project"]["version"])


def unpack(archive: Path, out: Path) -> Path:
    """Unpack an archive into ``out``; return the one folder that it holds."""
    with tarfile.open(archive) as file:
        file.extractall(out, filter="data")
    (folder,) = out.iterdir()
    return folder


def make(out: Path, scratch: Path) -> None:
    """Write everything that ``README.md`` lists into the folder ``out``."""
    place, keys = commission_home(scratch)
    home = Home(place)
    _fill(home, IMPORTED, KEY, *_call("r1", "claims", 4), refusal())
    _run(home, "audit", "export", "--out", str(scratch / "first"))
    held = out / "held.txt"
    held.write_bytes((scratch / "first" / "checkpoint.txt").read_bytes())
    _rotate(home)
    _fill(home, *_call("r2", "legal", 9), DENIED, *_call("r4", "claims", 12))
    witness = _cosign(home, scratch)
    _rotate(home)
    _fill(home, *_call("r5", "claims", 16), request("r6"))
    since = ("--since", str(held))
    formats = ("--format", "csv,xlsx,ocsf,syslog,html")
    _export(home, out / "whole.tar", *since, *formats)
    part = ("--from", "4", "--to", "17", "--team", "claims")
    _export(home, out / "part.tar", *since, *part)
    _export(home, out / "listed.tar", *since, "--redact", "metadata")
    _run(home, "audit", "prove", "r4", "--out", str(scratch / "call"), *since)
    _run(home, "receipts", "export", "--out", str(scratch / "receipts"))
    for name in ("call", "receipts"):
        with tarfile.open(out / f"{name}.tar", "w") as file:
            file.add(scratch / name, arcname=name, filter=_nobodys)
    _encrypted(home, keys, out, scratch)
    _prune(home)
    _export(home, out / "pruned.tar", *since)
    key = _run(home, "audit", "key").strip()
    archives = {name: out / f"{name}.tar" for name in EXPORTS}
    seed = read_seed(out / "auditor.key")
    for name in ENCRYPTED:
        archives[name] = scratch / f"{name}.tar"
        open_sealed(out / f"{name}.age", seed, archives[name])
    expected = {
        "version": version(),
        "vkey": key,
        "witness": witness,
        **_versions(unpack(out / "whole.tar", scratch / "versions")),
        "verdicts": {
            name: _verdict(unpack(path, scratch / f"{name}-unpacked"), key)
            for name, path in archives.items()
        },
    }
    (out / EXPECTED).write_text(json.dumps(expected, indent=1) + "\n", "utf-8")


def _encrypted(home: Home, keys: Keys, out: Path, scratch: Path) -> None:
    """Write an export for one auditor, and one with what was kept of two calls."""
    public, ask, approval = (scratch / name for name in ("a.pub", "ask", "approval"))
    public.write_text(create_key(out / "auditor.key"), "ascii")
    _export(home, out / "sealed.age", "--recipient", str(public))
    opened = open_host(home.root)
    keep_call(opened, "r7")
    keep_call(opened, "r8", capture="digest")
    why = ("--redact", "full", "--recipient", str(public), "--reason", WHY)
    _run(home, "audit", "export", *why, "--ask", str(ask))
    asked = parse_ask(ask.read_bytes(), limits=DEFAULT_LIMITS)
    issued = SystemClock().now().replace(microsecond=0)
    approval.write_bytes(issue(Approval(ask=asked, issued=issued), keys.compliance))
    _export(home, out / "full.age", *why, "--approval", str(approval))


def _prune(home: Home) -> None:
    """Let every call go that has ended, as a certificate would order it a year on."""
    opened = open_host(home.root)
    now = opened.clock.now()
    ordered = dataclasses.replace(order(), before=now)
    with opened.change() as connection:
        gone = prune_batch(
            connection, ordered, log=opened.log, keys=opened.keys, now=now
        )
    if not gone:
        raise SystemExit("no record was pruned")


def _verdict(folder: Path, key: str) -> dict[str, Any]:
    said = verifier.verify(folder, key=key)
    return {"status": said.status, "size": said.size, "records": said.records}


def _versions(folder: Path) -> dict[str, int]:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    with (folder / "records.jsonl").open("rb") as records:
        return {"manifest_v": manifest["v"], "record_v": json.loads(next(records))["v"]}


def _call(name: str, team: str, seq: int) -> tuple[Draft, Draft]:
    return request(name, team=team), response(name, parent=seq, team=team)


def _fill(home: Home, *drafts: Draft) -> None:
    opened = open_host(home.root)
    with opened.change() as connection:
        opened.record(connection, drafts, now=opened.clock.now())


def _rotate(home: Home) -> None:
    opened = open_host(home.root)
    rotate(
        opened.database,
        log=opened.log,
        keys=opened.keys,
        now=opened.clock.now(),
        reason="start",
    )


def _cosign(home: Home, scratch: Path) -> str:
    """Have a witness cosign the ledger as it is; return the witness's key."""
    key, small, signed = (scratch / name for name in ("w.key", "small", "cosigned"))
    made = _run(home, "audit", "witness-key", str(key), "--name", "w.example")
    _run(home, "audit", "checkpoint", "--out", str(small))
    log = _run(home, "audit", "key").strip()
    cosign = ("--key", str(key), "--log", log, "--out", str(signed))
    _run(home, "audit", "cosign", str(small / "checkpoint.txt"), *cosign)
    witness = made.strip()
    _run(home, "audit", "import-cosign", str(signed), "--witness", witness)
    return witness


def _export(home: Home, out: Path, *options: str) -> None:
    tar = () if out.suffix == ".age" else ("--tar",)
    _run(home, "audit", "export", "--out", str(out), *tar, *options)


def _run(home: Home, *command: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = main(["--home", str(home.root), *command])
    if status:
        raise SystemExit(f"{' '.join(command)}: status {status}")
    return said.getvalue()


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def run() -> int:
    """Make the folder of the present version, unless it is there."""
    out = FOLDER / version()
    if out.exists():
        sys.stderr.write(f"{out} is there; README.md says when it is made anew\n")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "made")
        made.mkdir()
        make(made, Path(scratch))
        shutil.copytree(made, out)
    return 0


if __name__ == "__main__":
    sys.exit(run())
