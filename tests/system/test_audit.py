"""An auditor's day: export, verify by both programs, and every forgery caught."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.compose import open_host
from appliance.ledger.tree.note import VerifierKey
from tests.support.forgery import copy_with, records_of, resign, thief_of
from tests.support.real_host import RealHost
from tests.system.test_api import messages


def verdicts(
    host: RealHost, folder: Path, key: str, *held: Path
) -> tuple[int, int, str]:
    """The exit status of verify.py and of ``audit verify``, and the latter's code."""
    named = [argument for path in held for argument in ("--held", str(path))]
    alone = subprocess.run(
        [
            *(sys.executable, "-I", str(folder / "verify.py"), str(folder)),
            *("--key", key, *named),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = host.run("audit", "verify", str(folder), "--key", key, *named, "--json")
    code = "" if ours.returncode == 0 else json.loads(ours.stderr)["error"]["code"]
    return alone.returncode, ours.returncode, code


@pytest.fixture(scope="module")
def exported(
    host: RealHost, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, str]:
    """An earlier export, a later one, and the key noted at commissioning."""
    folder = tmp_path_factory.mktemp("exports")
    key = host.run("audit", "key").stdout.strip()
    for name in ("earlier", "later"):
        with host.client() as client:
            client.chat.completions.create(
                model="demo", messages=messages(), max_tokens=2
            )
        done = host.run("audit", "export", "--out", str(folder / name))
        assert done.returncode == 0, done.stderr
    return folder / "earlier", folder / "later", key


def edited(records: list[bytes]) -> list[bytes]:
    place = next(n for n, r in enumerate(records) if b"llm.request" in r)
    changed = records[place].replace(b'"claims"', b'"legals"')
    return [*records[:place], changed, *records[place + 1 :]]


def dropped(records: list[bytes]) -> list[bytes]:
    return records[:-3]


def swapped(records: list[bytes]) -> list[bytes]:
    return [*records[:2], records[3], records[2], *records[4:]]


def test_a_clean_export_verifies_with_and_without_the_older_checkpoint(
    host: RealHost, exported: tuple[Path, Path, str]
) -> None:
    earlier, later, key = exported
    assert verdicts(host, later, key) == (0, 0, "")
    assert verdicts(host, later, key, earlier / "checkpoint.txt") == (0, 0, "")


@pytest.mark.parametrize(
    ("forge", "status", "code"),
    [
        (edited, 2, "digest-mismatch"),
        (dropped, 4, "rollback"),
        (swapped, 2, "digest-mismatch"),
    ],
)
def test_a_forgery_without_the_key_is_caught_by_both(
    host: RealHost,
    exported: tuple[Path, Path, str],
    tmp_path: Path,
    *,
    forge: Callable[[list[bytes]], list[bytes]],
    status: int,
    code: str,
) -> None:
    _, later, key = exported
    folder = copy_with(later, forge(records_of(later)), to=tmp_path / "forged")
    assert verdicts(host, folder, key) == (status, 3, code)


@pytest.mark.parametrize(
    ("forge", "status", "code"),
    [(edited, 5, "equivocation"), (dropped, 4, "rollback")],
)
def test_a_rewrite_signed_with_the_real_key_is_caught_by_a_held_checkpoint(
    host: RealHost,
    exported: tuple[Path, Path, str],
    tmp_path: Path,
    *,
    forge: Callable[[list[bytes]], list[bytes]],
    status: int,
    code: str,
) -> None:
    _, later, key = exported
    folder = copy_with(later, forge(records_of(later)), to=tmp_path / "forged")
    opened = open_host(host.home)
    with opened.look() as connection:
        resign(folder, ledger=thief_of(opened, connection))
    # Alone it looks clean; what the auditor already holds tells.
    assert verdicts(host, folder, key) == (0, 0, "")
    held = later / "checkpoint.txt"
    assert verdicts(host, folder, key, held) == (status, 3, code)


def test_another_logs_key_is_refused(
    host: RealHost, exported: tuple[Path, Path, str]
) -> None:
    _, later, key = exported
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    other = VerifierKey(name=key.split("+")[0], public=public).encode()
    # The server has started since: the given key vouches for none of the next.
    assert verdicts(host, later, other) == (7, 3, "key-chain")


def test_a_key_that_was_not_copied_whole_accuses_nobody(
    host: RealHost, exported: tuple[Path, Path, str]
) -> None:
    _, later, key = exported
    assert verdicts(host, later, key[:-6]) == (1, 2, "usage")


def test_an_export_never_overwrites(
    host: RealHost, exported: tuple[Path, Path, str]
) -> None:
    earlier, _, _ = exported
    before = {path: path.read_bytes() for path in earlier.iterdir()}
    again = host.run("audit", "export", "--out", str(earlier))
    assert again.returncode == 3
    assert "conflict" in again.stderr
    assert {path: path.read_bytes() for path in earlier.iterdir()} == before


def told_by(host: RealHost, *, stream: bool) -> tuple[str, str]:
    """The receipt that one answer told, and the id of its request."""
    with host.client() as client:
        raw = client.chat.completions.with_raw_response.create(
            model="demo", messages=messages(), max_tokens=2, stream=stream
        )
        receipt, call = raw.headers["x-audit-receipt"], raw.headers["x-request-id"]
        if stream:
            list(raw.parse())
    return receipt, call


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_is_a_witness_of_the_call(
    host: RealHost, tmp_path: Path, *, stream: bool
) -> None:
    key = host.run("audit", "key").stdout.strip()
    receipt, call = told_by(host, stream=stream)
    for what, name in ((receipt, "receipt"), (call, "call")):
        out = tmp_path / name
        done = host.run("audit", "prove", what, "--out", str(out))
        assert done.returncode == 0, done.stderr
        assert verdicts(host, out, key) == (0, 0, "")
        events = [json.loads(record)["event"] for record in records_of(out)]
        assert events[-2:] == ["llm.request", "llm.response"]
        assert set(events[:-2]) <= {"key.rotate"}
    checked = host.run(
        "audit", "verify-receipt", receipt, str(tmp_path / "receipt"), "--key", key
    )
    assert checked.returncode == 0, checked.stderr
    # A stream so short may have come to its end before its head left.
    named = {"llm.response"} | ({"llm.request"} if stream else set())
    _, event, _, of = checked.stdout.splitlines()[-1].rsplit(" ", 3)
    assert (event in named, of) == (True, call)
    other, _ = told_by(host, stream=stream)
    refused = host.run(
        *("audit", "verify-receipt", other, str(tmp_path / "receipt")),
        *("--key", key, "--json"),
    )
    assert refused.returncode == 3
    assert json.loads(refused.stderr)["error"]["code"] == "rollback"


def test_an_auditor_takes_a_part_and_compares_it_with_what_is_held(
    host: RealHost, exported: tuple[Path, Path, str], tmp_path: Path
) -> None:
    earlier, _, key = exported
    held = earlier / "checkpoint.txt"
    out = tmp_path / "part"
    wishes = ("--event", "llm.request", "--from", "3", "--team", "claims")
    done = host.run("audit", "export", "--out", str(out), "--since", str(held), *wishes)
    assert done.returncode == 0, done.stderr
    assert verdicts(host, out, key, held) == (0, 0, "")
    events = {json.loads(record)["event"] for record in records_of(out)}
    assert events <= {"llm.request", "key.rotate"}
    wrong = host.run("audit", "export", "--out", str(out), "--event", "llm.asked")
    assert wrong.returncode == 2
