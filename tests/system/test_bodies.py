"""What is kept of a real call, who reads it, and that it is gone when it is erased."""

import hashlib
import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import rfc8785

from appliance.bodies.commitment import CONTEXT
from tests.appliance.test_body_erase_flow import killed_while_erasing
from tests.support.kept_bodies import Archive
from tests.support.real_host import RealHost, commission, serving
from tests.system.conftest import SETTINGS
from tests.system.test_follow import wait_for

CANARY = "zq7canary-vault-9931"
SPELLINGS = (
    CANARY.encode(),
    CANARY.encode("utf-16-le"),
    CANARY.encode().hex().encode(),
)
MESSAGES = [{"role": "user", "content": f"What is an air gap? {CANARY}"}]
PROMPT = rfc8785.dumps({"messages": MESSAGES}).decode()
WHY = ("--reason", "ticket 4711")
BASIS = ("--basis", "GDPR 17(1)(b)")


@pytest.fixture(scope="module")
def host(
    tmp_path_factory: pytest.TempPathFactory, demo_model: Path
) -> Iterator[RealHost]:
    made = commission(
        tmp_path_factory.mktemp("bodies"),
        models=[("demo", demo_model)],
        settings=SETTINGS,
    )
    # What an export left that was killed: texts in the clear.
    (made.home / ".export.0123abcd.partial").mkdir()
    with serving(made):
        yield made


@pytest.fixture
def archive(host: RealHost, capsys: pytest.CaptureFixture[str]) -> Archive:
    return Archive(home=host.home, keys=host.bundle.keys, capture=capsys)


def key_of(host: RealHost, archive: Archive, team: str, level: str) -> str:
    """A key of a team at that level."""
    key = host.team(team)
    assert archive.run("team", "set", team, "--capture", level)[0] == 0
    return key


def ask(host: RealHost, key: str, *, stream: bool) -> tuple[str, str, dict[str, str]]:
    """A call's request id, its answer, and the headers of that."""
    with host.client(key) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="demo",
            messages=MESSAGES,  # type: ignore[arg-type]
            temperature=0,
            max_tokens=12,
            stream=stream,
        )
        made = raw.parse()
        if isinstance(made, openai.Stream):
            pieces = [chunk.choices[0].delta.content or "" for chunk in made]
            text = "".join(pieces)
        else:
            text = made.choices[0].message.content or ""
    headers = {name.lower(): value for name, value in raw.headers.items()}
    return headers["x-request-id"], text, headers


def metrics(host: RealHost) -> str:
    connection = http.client.HTTPConnection(host.url.removeprefix("http://"))
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def refused_with_the_canary(host: RealHost, key: str) -> str:
    """What a caller is told whose call is refused, with the canary everywhere in it."""
    told = ""
    with host.client(key) as client:
        for given in (
            {"model": CANARY, "messages": MESSAGES},
            {"model": "demo", "messages": MESSAGES, "stop": [CANARY] * 9},
            {
                "model": "demo",
                "messages": MESSAGES,
                "extra_headers": {"x-capture": CANARY},
            },
        ):
            with pytest.raises(openai.APIStatusError) as refused:
                client.chat.completions.create(**given)
            told += refused.value.response.text
    return told


def check_nowhere(host: RealHost, *texts: str) -> None:
    """Check that the canary is in no file of the host, and in none of these texts."""
    files = [path for path in host.home.parent.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"sallyport.db", "bodies.db", host.log.name}
    data = [path.read_bytes() for path in files] + [text.encode() for text in texts]
    found = [n for n, each in enumerate(data) if any(s in each for s in SPELLINGS)]
    assert [files[n] if n < len(files) else "a text" for n in found] == []


def test_a_server_removes_what_a_killed_export_left(host: RealHost) -> None:
    assert list(host.home.glob(".export*")) == []


def test_a_kept_call_is_nowhere_in_the_clear_and_read_and_erased_by_two_people(
    host: RealHost, archive: Archive
) -> None:
    key = key_of(host, archive, "claims", "full")
    calls = [ask(host, key, stream=stream)[:2] for stream in (False, True)]
    assert all(text for _, text in calls)
    told = refused_with_the_canary(host, key)
    # 1. It is in no record, log, metric, error or file.
    records = json.dumps(host.records())
    check_nowhere(host, records, metrics(host), told)
    # 2. Two people read exactly what was said, beside the running server.
    for request_id, text in calls:
        read = ("audit", "body", "read", request_id, *WHY)
        approval = archive.approved(*read)
        status, value = archive.run(*read, "--approval", approval)
        assert status == 0
        assert [body["text"] for body in value["bodies"]] == [PROMPT, text]
    check_nowhere(host, json.dumps(host.records()))
    # 3. Two people erase both, and nobody reads them again.
    names = [request_id for request_id, _ in calls]
    erase = ("audit", "body", "erase", *names, *BASIS)
    status, value = archive.run(*erase, "--approval", archive.approved(*erase))
    assert (status, value["requests"], value["bodies"]) == (0, names, 4)
    ask_file = str(host.home.parent / "never.json")
    for name in names:
        read = ("audit", "body", "read", name, *WHY)
        assert archive.run(*read, "--ask", ask_file)[1]["code"] == "body-erased"
    assert archive.rows() == set()
    # 4. The ledger and an export hold as before, and the server goes on keeping.
    out = host.home.parent / "export"
    assert archive.run("audit", "export", "--out", str(out))[0] == 0
    vkey = archive.run("audit", "key")[1]["vkey"]
    done = subprocess.run(
        [sys.executable, "-I", str(out / "verify.py"), str(out), "--key", vkey],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    again = ask(host, key, stream=False)[0]
    assert archive.rows() == {(again, "request"), (again, "response")}


@pytest.mark.slow
def test_a_server_finishes_an_erasure_while_it_runs_and_when_it_starts(
    host: RealHost, archive: Archive
) -> None:
    key = key_of(host, archive, "claims", "full")
    for running in (True, False):
        name = ask(host, key, stream=False)[0]
        others = archive.rows() - {(name, "request"), (name, "response")}
        erase = ("audit", "body", "erase", name, *BASIS)
        approval = Path(archive.approved(*erase)).read_bytes()
        if not running:
            assert host.stop() == 0
        killed = killed_while_erasing(
            host.home,
            approval,
            at="DELETE FROM body",
            points=0,
            of=(name,),
            basis=BASIS[1],
        )
        assert killed == -signal.SIGKILL
        assert archive.run("audit", "status")[1]["unfinished_erasures"]["calls"] == 1
        assert (name, "request") in archive.rows()
        if running:
            wait_for(
                lambda: not archive.run("audit", "status")[1]["unfinished_erasures"],
                limit_s=60,
            )
            assert "destroyed what a command left: 2 bodies" in host.log.read_text()
        else:
            host.start()
        assert archive.run("audit", "status")[1]["unfinished_erasures"] is None
        assert archive.rows() == others


def test_a_digest_keeps_nothing_and_the_callers_salts_open_the_commitments(
    host: RealHost, archive: Archive
) -> None:
    key = key_of(host, archive, "legal", "digest")
    before = archive.rows() if (host.home / "bodies.db").exists() else set()
    for stream in (False, True):
        request_id, text, headers = ask(host, key, stream=stream)
        records = [r for r in host.records() if r.get("request_id") == request_id]
        said = {r["event"]: r["body"]["commitment"] for r in records}
        for event, salt, body in (
            ("llm.request", "x-request-salt", PROMPT),
            ("llm.response", "x-response-salt", text),
        ):
            opened = CONTEXT + bytes.fromhex(headers[salt]) + body.encode()
            assert hashlib.sha256(opened).hexdigest() == said[event]
    assert (archive.rows() if (host.home / "bodies.db").exists() else set()) == before


@pytest.mark.slow
def test_what_a_model_allows_holds_for_every_team_of_a_running_server(
    host: RealHost, archive: Archive
) -> None:
    key = key_of(host, archive, "claims", "full")
    assert archive.run("model", "set", "demo", "--capture", "digest")[0] == 0
    wait_for(lambda: ask(host, key, stream=False)[2]["x-capture"] == "digest")
    before = archive.rows()
    request_id, _, headers = ask(host, key, stream=True)
    assert headers["x-capture"] == "digest"
    assert archive.rows() == before
    bodies = [r["body"] for r in host.records() if r.get("request_id") == request_id]
    assert [(b["lowered_from"], b["model_allows"]) for b in bodies] == [
        ("full", "digest")
    ] * 2
    assert archive.run("model", "set", "demo", "--capture", "full")[0] == 0
    wait_for(lambda: ask(host, key, stream=False)[2]["x-capture"] == "full")
