"""The official client against a real server, with strict validation on."""

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.support.real_host import RealHost

QUESTION = "What is a bundle?"
ANSWER = (
    "A bundle is one signed release: metadata, targets and chunks. "
    "It belongs to a channel and has a version that only goes up."
)
CANARY = "canary-7f3a"


def messages(text: str = QUESTION) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def outcome_of(host: RealHost, request_id: str, *, limit_s: float = 10) -> str:
    """Wait until the request's outcome is in the ledger and return it."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        for record in host.records("llm.response"):
            if record["request_id"] == request_id:
                outcome: str = record["outcome"]
                return outcome
        time.sleep(0.02)
    raise AssertionError(f"no outcome of {request_id}")


def engine_pids(host: RealHost) -> list[int]:
    """The engine processes of the host's server."""
    assert host.process is not None
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == host.process.pid and b"appliance.engine.worker\0" in command:
            found.append(int(entry.name))
    return found


def test_a_whole_answer_is_word_for_word(host: RealHost) -> None:
    with host.client() as client:
        answer = client.chat.completions.create(
            model="demo", messages=messages(), temperature=0
        )
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == (ANSWER, "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens == (
        answer.usage.prompt_tokens + answer.usage.completion_tokens
    )


def test_a_streamed_answer_is_the_same_and_ends_with_its_usage(host: RealHost) -> None:
    with host.client() as client:
        chunks = list(
            client.chat.completions.create(
                model="demo",
                messages=messages(),
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == ANSWER
    assert chunks[-1].usage is not None
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_the_clients_own_stream_helper_works(host: RealHost) -> None:
    with (
        host.client() as client,
        client.chat.completions.stream(
            model="demo", messages=messages(), temperature=0
        ) as stream,
    ):
        final = stream.get_final_completion()
    assert final.choices[0].message.content == ANSWER


def test_eight_callers_at_once_get_the_answer_of_one(host: RealHost) -> None:
    def ask(number: int) -> str | None:
        with host.client() as client:
            if number % 2:
                answer = client.chat.completions.create(
                    model="demo", messages=messages(), temperature=0
                )
                return answer.choices[0].message.content
            stream = client.chat.completions.create(
                model="demo", messages=messages(), temperature=0, stream=True
            )
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [ANSWER] * 8


def test_max_tokens_and_stop_strings_end_an_answer(host: RealHost) -> None:
    with host.client() as client:
        short = client.chat.completions.create(
            model="demo", messages=messages(), temperature=0, max_tokens=3
        )
        stopped = client.chat.completions.create(
            model="demo", messages=messages(), temperature=0, stop=" release"
        )
    assert short.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 3
    assert stopped.choices[0].message.content == "A bundle is one signed"
    assert stopped.choices[0].finish_reason == "stop"


def test_models_are_listed_and_found(host: RealHost) -> None:
    with host.client() as client:
        assert [model.id for model in client.models.list()] == ["demo", "slow"]
        assert client.models.retrieve("demo").owned_by
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("other")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    "key", ["wrong", "spk_AAAAAAAA_" + "B" * 43 + "CCCCCC", "sk-" + "x" * 40]
)
def test_bad_keys_all_get_the_same_401(host: RealHost, key: str) -> None:
    with (
        host.client(key) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model="demo", messages=messages())
    assert caught.value.code == "invalid_api_key"
    assert caught.value.body == {
        "message": "incorrect API key provided",
        "type": "authentication_error",
        "param": None,
        "code": "invalid_api_key",
    }


def test_a_forbidden_label_is_403_and_recorded(host: RealHost) -> None:
    with (
        host.client() as client,
        pytest.raises(openai.PermissionDeniedError) as caught,
    ):
        client.chat.completions.create(
            model="demo", messages=messages(), extra_headers={"X-Data-Class": "phi"}
        )
    error = caught.value.response.json()["error"]
    assert error["policy_ids"] == ["core-clearance"]
    assert error["reasons"][0]
    refused = host.records("llm.refused")[-1]
    assert refused["request_id"] == caught.value.response.headers["x-request-id"]
    assert refused["policy"]["ids"] == ["core-clearance"]


def test_an_over_long_prompt_is_refused_with_the_numbers(host: RealHost) -> None:
    with host.client() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo", messages=messages("word " * 2000))
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.param == "messages"
    assert "512" in str(caught.value.message)


def test_a_client_that_leaves_midway_frees_its_cells(host: RealHost) -> None:
    # Each of these reserves a quarter of the cells; forty of them only fit one
    # after the other's cells were freed.
    for _ in range(40):
        with host.client() as client:
            stream = client.chat.completions.create(
                model="slow",
                messages=messages("go on"),
                temperature=0,
                max_tokens=480,
                stream=True,
            )
            first = next(iter(stream))
            stream.close()
        assert outcome_of(host, first.id) == "cancelled"


def test_a_waiting_client_that_leaves_is_cancelled_too(host: RealHost) -> None:
    body = json.dumps(
        {"model": "slow", "messages": messages("go on"), "max_tokens": 480}
    )
    before = len(host.records("llm.request"))
    connection = http.client.HTTPConnection(host.url.removeprefix("http://"))
    connection.request(
        "POST",
        "/v1/chat/completions",
        body,
        {"content-type": "application/json", "authorization": f"Bearer {host.key}"},
    )
    while len(host.records("llm.request")) == before:
        time.sleep(0.01)
    connection.close()
    request_id = host.records("llm.request")[-1]["request_id"]
    assert outcome_of(host, request_id) == "cancelled"


def test_a_full_queue_answers_503_with_retry_after(host: RealHost) -> None:
    def ask(_: int) -> str:
        with host.client() as client:
            try:
                client.chat.completions.create(
                    model="slow",
                    messages=messages("go on"),
                    temperature=0,
                    max_tokens=200,
                )
            except openai.InternalServerError as error:
                wait_s = int(error.response.headers["retry-after"])
                return f"{error.status_code} {error.code} {wait_s >= 1}"
            return "answered"

    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(ask, range(32)))
    assert set(results) == {"answered", "503 server_overloaded True"}
    assert results.count("answered") >= 8


@pytest.fixture
def quiet(host: RealHost) -> Iterator[None]:
    yield
    deadline = time.monotonic() + 30
    with host.client(retries=0) as client:
        while time.monotonic() < deadline:
            try:
                client.chat.completions.create(
                    model="demo", messages=messages(), max_tokens=1
                )
            except openai.InternalServerError:
                time.sleep(0.1)
            else:
                return
    raise AssertionError("the engine did not come back")


@pytest.mark.usefixtures("quiet")
def test_a_killed_engine_is_a_clean_error_and_comes_back(host: RealHost) -> None:
    with host.client() as client:
        stream = iter(
            client.chat.completions.create(
                model="slow",
                messages=messages("go on"),
                temperature=0,
                max_tokens=480,
                stream=True,
            )
        )
        first = next(stream)
        for pid in engine_pids(host):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(openai.APIError) as caught:
            for _ in stream:
                pass
        assert caught.value.code == "engine_unavailable"
        assert outcome_of(host, first.id) == "error"
    deadline = time.monotonic() + 30
    while len(engine_pids(host)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(engine_pids(host)) == 2
    assert [r["event"] for r in host.records("engine.crashed")]


def test_a_prompt_is_in_no_file_and_no_log(host: RealHost) -> None:
    with host.client() as client:
        client.chat.completions.create(
            model="demo", messages=messages(f"tell me of {CANARY}"), max_tokens=4
        )
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(
                model=f"{CANARY}", messages=messages(CANARY), user=CANARY
            )
    for path in [*host.home.rglob("*"), host.log]:
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


def test_readiness_says_ready(host: RealHost) -> None:
    connection = http.client.HTTPConnection(host.url.removeprefix("http://"))
    for path, status in (("/health/live", 200), ("/health/ready", 200)):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()
