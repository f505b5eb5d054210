"""Three models and room for two, through the official client on a real server."""

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.pools import write_models
from tests.support.real_host import RealHost, commission, serving
from tests.system.conftest import SETTINGS
from tests.system.test_api import engine_pids, messages
from tests.system.test_follow import wait_for

NAMES = ("a", "b", "c")
MODELS = """
[models]
resident = 2
crash_limit = 2
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    folder = tmp_path_factory.mktemp("models")
    offered = list(zip(NAMES, write_models(folder, *NAMES), strict=True))
    made = commission(folder, models=offered, settings=SETTINGS + MODELS)
    with serving(made):
        yield made


def ask(host: RealHost, name: str, *, retries: int = 0) -> int:
    """Have a short answer from a model; return its tokens."""
    with host.client(retries=retries) as client:
        answer = client.chat.completions.create(
            model=name, messages=messages(), temperature=0, max_tokens=4
        )
    assert answer.model == name
    assert answer.usage is not None
    return answer.usage.completion_tokens


def readiness(host: RealHost) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(host.url.removeprefix("http://"))
    connection.request("GET", "/health/ready")
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body


def listed(host: RealHost) -> dict[str, bool]:
    """Every model, and whether it was taken out."""
    done = host.run("model", "list", "--json")
    models = json.loads(done.stdout)["models"]
    return {model["name"]: model["taken_out"] for model in models}


def crash(host: RealHost, name: str, *, times: int) -> None:
    """Kill the engine of a model as often as it is started again."""
    for other in NAMES:
        if other != name:
            ask(host, other)
    others = set(engine_pids(host))
    ask(host, name)
    for _ in range(times):
        wait_for(lambda: bool(set(engine_pids(host)) - others))
        for pid in set(engine_pids(host)) - others:
            os.kill(pid, signal.SIGKILL)
            # It may be there for a moment yet, and dies only once.
            others.add(pid)


def taken_out(host: RealHost, name: str) -> list[dict[str, Any]]:
    """The records that say that a model was taken out."""
    records = host.records("model.taken_out")
    return [record for record in records if record["model"]["name"] == name]


def test_all_three_are_answered_by_two_engines_at_a_time(host: RealHost) -> None:
    assert len(engine_pids(host)) == 2
    assert readiness(host) == (200, {"status": "ready"})
    with ThreadPoolExecutor(3) as callers:
        for _ in range(2):
            assert list(callers.map(lambda name: ask(host, name), NAMES)) == [4] * 3
            assert len(engine_pids(host)) <= 2
    with host.client() as client:
        assert [model.id for model in client.models.list()] == list(NAMES)
    asked = [record["model"]["name"] for record in host.records("llm.request")]
    assert sorted(asked) == sorted(NAMES * 2)
    assert not host.records("llm.refused")


def test_a_model_that_crashes_again_and_again_is_taken_out_and_put_back(
    host: RealHost,
) -> None:
    crash(host, "a", times=2)
    wait_for(lambda: bool(taken_out(host, "a")))
    with host.client(retries=2) as client, pytest.raises(openai.APIError) as caught:
        client.chat.completions.create(model="a", messages=messages())
    assert isinstance(caught.value, openai.InternalServerError)
    assert (caught.value.status_code, caught.value.code) == (503, "model_unavailable")
    assert "sallyport model restore" in caught.value.message
    # The client was told not to try again, and did not.
    assert [record["code"] for record in host.records("llm.refused")] == [
        "model-unavailable"
    ]
    assert ask(host, "b") == 4
    assert readiness(host) == (
        200,
        {"status": "ready", "impaired": ["model-taken-out"]},
    )
    (record,) = taken_out(host, "a")
    assert (record["crashes"], record["exit_status"]) == (2, str(-signal.SIGKILL))
    assert listed(host) == {"a": True, "b": False, "c": False}

    done = host.run("model", "restore", "a", "--json")
    assert done.returncode == 0, done.stderr
    assert [m["name"] for m in json.loads(done.stdout)["restored"]] == ["a"]
    wait_for(lambda: readiness(host) == (200, {"status": "ready"}))
    assert ask(host, "a") == 4
    assert host.run("model", "restore", "a").returncode == 3
    (record,) = host.records("model.put_back")
    assert (record["model"]["name"], record["reason"]) == ("a", "operator")


def test_a_server_that_is_started_again_gives_it_another_try(host: RealHost) -> None:
    crash(host, "b", times=2)
    wait_for(lambda: bool(taken_out(host, "b")))
    assert host.stop() == 0
    assert listed(host)["b"]
    host.start()
    assert ask(host, "b") == 4
    record = host.records("model.put_back")[-1]
    assert (record["model"]["name"], record["reason"]) == ("b", "server-started")


def test_a_gateway_that_is_killed_leaves_no_engine(host: RealHost) -> None:
    for name in NAMES:
        ask(host, name)
    pids = engine_pids(host)
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # it cannot even see that its socket closes
    host.kill()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
