"""When the ledger cannot be relied upon, nothing is served before its release."""

import json
import resource
import shutil
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.real_host import RealHost, commission, serving
from tests.system.conftest import SETTINGS
from tests.system.test_api import ANSWER, messages

PATIENCE_S = 30


def limit_file_size(host: RealHost, size_bytes: int) -> None:
    """Make every write of the server beyond ``size_bytes`` of a file fail."""
    assert host.process is not None
    resource.prlimit(
        host.process.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY)
    )


def ask(host: RealHost) -> str | None:
    with host.client() as client:
        answer = client.chat.completions.create(
            model="demo", messages=messages(), temperature=0
        )
    return answer.choices[0].message.content


def refused(host: RealHost) -> str:
    """Ask in vain; return what is said of it."""
    with pytest.raises(openai.InternalServerError) as caught:
        ask(host)
    assert caught.value.status_code == 503
    assert caught.value.code == "audit_unavailable"
    return caught.value.message


def ready(host: RealHost) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{host.url}/health/ready", timeout=10) as answer:  # noqa: S310 - our own server
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def status(host: RealHost) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(host.run("audit", "status", "--json").stdout)
    return value


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def answers(host: RealHost) -> bool:
    try:
        return ask(host) == ANSWER
    except openai.InternalServerError:
        return False


def test_a_broken_disk_refuses_inference_until_the_officers_release(
    host: RealHost,
) -> None:
    assert ask(host) == ANSWER
    before = len(host.records())
    limit_file_size(host, 1)
    refused(host)
    assert len(host.records()) == before
    with host.client() as client:
        # Reading does not need the ledger; only inference does.
        assert [model.id for model in client.models.list()] == ["demo", "slow"]
    limit_file_size(host, resource.RLIM_INFINITY)
    # Now it can be recorded that the ledger halted, and it stays so.
    until(lambda: host.records("log.halted"))
    assert "io-error" in refused(host)
    code, said = ready(host)
    assert (code, said["ledger"]) == (503, "HALTED: io-error")
    with urllib.request.urlopen(f"{host.url}/metrics", timeout=10) as answer:  # noqa: S310 - our own server
        assert b"sallyport:ledger_state 2.0" in answer.read()
    assert host.run("key", "create", "--team", "other").returncode == 4
    assert host.run("audit", "fsck").returncode == 0
    assert host.release(host.bundle.keys.compliance).returncode == 0
    until(lambda: answers(host))
    assert ready(host)[0] == 200
    names = [record["event"] for record in host.records()][before:]
    assert names[:3] == ["log.halted", "log.released", "log.resumed"]
    assert host.run("audit", "fsck").returncode == 0


def test_a_disk_that_breaks_during_a_stream_withholds_its_end(host: RealHost) -> None:
    with host.client() as client:
        stream = iter(
            client.chat.completions.create(
                model="slow",
                messages=messages("go on"),
                temperature=0,
                max_tokens=200,
                stream=True,
            )
        )
        first = next(stream)
        limit_file_size(host, 1)
        reasons: list[str | None] = []
        with pytest.raises(openai.APIError) as caught:
            reasons.extend(chunk.choices[0].finish_reason for chunk in stream)
    limit_file_size(host, resource.RLIM_INFINITY)
    assert caught.value.code == "audit_unavailable"
    assert not any(reasons)
    until(
        lambda: status(host)["state"] == "HALTED" and status(host)["halt"]["recorded"]
    )
    assert host.release(host.bundle.keys.compliance).returncode == 0
    until(lambda: first.id in [r["request_id"] for r in host.records("llm.aborted")])
    assert host.run("audit", "fsck").returncode == 0


def test_a_trigger_dropped_under_a_server_halts_it(host: RealHost) -> None:
    asked = len(host.records("llm.request"))
    connection = sqlite3.connect(host.database)
    connection.execute("DROP TRIGGER record_no_update")
    connection.close()
    assert "changed-triggers" in refused(host)
    until(lambda: status(host)["halt"]["recorded"])
    assert len(host.records("llm.request")) == asked
    assert host.run("db", "restore-triggers").returncode == 0
    assert host.release(host.bundle.keys.compliance).returncode == 0
    until(lambda: answers(host))


def test_a_database_of_yesterday_halts_a_server_and_is_never_gone_on_from(
    tmp_path: Path, demo_model: Path
) -> None:
    host = commission(tmp_path, models=[("demo", demo_model)], settings=SETTINGS)
    with serving(host):
        assert ask(host) == ANSWER
    host.process = None
    yesterday = tmp_path / "yesterday"
    shutil.copytree(host.home, yesterday)
    with serving(host):
        assert ask(host) == ANSWER
    host.process = None
    put_back(host, yesterday)
    with serving(host):
        assert "rolled-back" in refused(host)
        assert ready(host)[1]["ledger"] == "HALTED: rolled-back"
        # Its key is gone: neither the halt nor a release can be signed.
        assert not status(host)["halt"]["recorded"]
        done = host.release(host.bundle.keys.compliance)
        assert done.returncode == 3
        assert "sallyport: refused: rollback" in done.stderr
        refused(host)
    assert host.run("audit", "fsck").returncode == 0
    assert status(host)["halt"]["cause"] == "rolled-back"


def test_a_database_of_this_day_halts_a_server_until_its_release(
    tmp_path: Path, demo_model: Path
) -> None:
    host = commission(tmp_path, models=[("demo", demo_model)], settings=SETTINGS)
    host.start()
    before = tmp_path / "before"
    before.mkdir()
    with sqlite3.connect(host.database) as source:
        source.execute("VACUUM INTO ?", (str(before / "sallyport.db"),))
    source.close()
    assert ask(host) == ANSWER
    lost = host.records()[-1]["seq"]
    kept = host.home / "ledger.head"
    until(lambda: int(kept.read_text().split("\n")[1]) > int(lost))
    host.kill()
    put_back(host, before)
    with serving(host):
        assert "rolled-back" in refused(host)
        (said,) = host.records("log.halted")
        assert int(said["kept_size"]) == int(lost) + 1
        assert int(said["found_size"]) < int(said["kept_size"])
        out = str(tmp_path / "export")
        assert host.run("audit", "export", "--out", out).returncode == 0
        started = len(host.records("server.started"))
        assert host.release(host.bundle.keys.compliance).returncode == 0
        until(lambda: answers(host))
        (let_go,) = host.records("log.released")
        assert let_go["reason"] == "a test is over"
        assert let_go["kept_root"] == said["kept_root"]
        until(lambda: len(host.records("server.started")) == started + 1)
        assert host.run("audit", "fsck").returncode == 0


def put_back(host: RealHost, folder: Path) -> None:
    """Replace the database by that of another time, all of its files."""
    for ending in ("", "-wal", "-shm"):
        (host.home / f"sallyport.db{ending}").unlink(missing_ok=True)
        old = folder / f"sallyport.db{ending}"
        if old.exists():
            shutil.copy2(old, host.home)
    host.database.chmod(0o600)


def test_a_server_killed_while_it_is_halted_is_halted_when_it_comes_back(
    tmp_path: Path, demo_model: Path
) -> None:
    host = commission(tmp_path, models=[("demo", demo_model)], settings=SETTINGS)
    host.start()
    assert ask(host) == ANSWER
    limit_file_size(host, 1)
    refused(host)
    host.kill()
    with serving(host):
        refused(host)
        assert status(host)["halt"]["recorded"]
        assert host.release(host.bundle.keys.compliance).returncode == 0
        until(lambda: answers(host))
        asked = {r["request_id"] for r in host.records("llm.request")}
        until(
            lambda: (
                asked
                == {
                    r["request_id"]
                    for kind in ("llm.response", "llm.aborted")
                    for r in host.records(kind)
                }
            )
        )
