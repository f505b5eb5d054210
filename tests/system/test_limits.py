"""What teams may take, with the official client against a real server."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.support.real_host import RealHost, commission, serving

SETTINGS = """\
[engine]
threads = 1
context_tokens = 2048
cells = 8192
sequences = 4
queued_requests = 12

[limits]
deadline_s = 120
"""
MESSAGES: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "What is a bundle?"}
]


@pytest.fixture(scope="module")
def host(
    tmp_path_factory: pytest.TempPathFactory, demo_model: Path, slow_model: Path
) -> Iterator[RealHost]:
    """A served host of its own: its teams run into their limits."""
    made = commission(
        tmp_path_factory.mktemp("host"),
        models=[("demo", demo_model), ("slow", slow_model)],
        settings=SETTINGS,
    )
    with serving(made):
        yield made


def ask(client: openai.OpenAI, **fields: Any) -> Any:
    asked = {"model": "demo", "messages": MESSAGES, "temperature": 0, **fields}
    return client.chat.completions.create(**asked)


def exhaust(client: openai.OpenAI, **fields: Any) -> openai.RateLimitError:
    """Ask until a limit is reached; return what was told then."""
    for _ in range(200):
        try:
            ask(client, **fields)
        except openai.RateLimitError as error:
            return error
    raise AssertionError("no limit was reached")


def refusals(host: RealHost, code: str, *, of: str) -> list[dict[str, Any]]:
    """The records of a team's refusals; they are durable a moment after the answer."""
    time.sleep(0.3)
    records = host.records("llm.refused")
    return [r for r in records if r["code"] == code and r.get("team") == of]


def test_a_team_past_its_tokens_gets_a_rate_limit_error(host: RealHost) -> None:
    with host.client(host.team("small", tokens_per_minute=60)) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="demo", messages=MESSAGES, max_tokens=8
        )
        assert raw.headers["x-ratelimit-limit-tokens"] == "60"
        assert int(raw.headers["x-ratelimit-remaining-tokens"]) < 60
        assert int(raw.headers["openai-processing-ms"]) >= 1
        assert raw.headers["x-request-id"] == raw.parse().id
        error = exhaust(client, max_tokens=30)
    assert (error.code, error.type, error.param) == (
        "rate_limit_exceeded",
        "tokens",
        None,
    )
    assert 1 <= int(error.response.headers["retry-after"]) <= 60
    assert error.response.headers["x-ratelimit-limit-tokens"] == "60"
    (record,) = refusals(host, "rate-limit-exceeded", of="small")
    assert record["request_id"] == error.response.headers["x-request-id"]


def test_the_client_waits_as_long_as_it_is_told_and_gets_its_answer(
    host: RealHost,
) -> None:
    key = host.team("brisk", requests_per_minute=20)
    with host.client(key) as client:
        error = exhaust(client, max_tokens=1)
        assert error.type == "requests"
        wait_s = int(error.response.headers["retry-after"])
    began = time.monotonic()
    with host.client(key, retries=2) as client:
        assert ask(client, max_tokens=2).choices[0].finish_reason == "length"
    assert wait_s - 1 <= time.monotonic() - began < wait_s + 10
    assert refusals(host, "rate-limit-exceeded", of="brisk")


def test_a_deadline_is_504_and_the_client_does_not_ask_again(host: RealHost) -> None:
    key = host.team("hurried")
    with (
        host.client(key, retries=2) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        ask(
            client,
            model="slow",
            max_tokens=1_900,
            extra_headers={"X-Request-Timeout": "0.5"},
        )
    assert (caught.value.status_code, caught.value.code) == (504, "request_timeout")
    assert caught.value.response.headers["x-should-retry"] == "false"
    ended = [r for r in host.records("llm.response") if r["team"] == "hurried"]
    assert [(r["status"], r["error_code"]) for r in ended] == [(504, "request-timeout")]
    # Its cells are free: the model answers the next one.
    with host.client(key) as client:
        ask(client, model="slow", max_tokens=2)


def test_a_stream_whose_time_is_over_ends_with_an_error(host: RealHost) -> None:
    with host.client() as client:
        stream = ask(
            client,
            model="slow",
            max_tokens=1_900,
            stream=True,
            extra_headers={"X-Request-Timeout": "1"},
        )
        with pytest.raises(openai.APIError) as caught:
            list(stream)
    assert caught.value.code == "request_timeout"


def test_new_limits_hold_from_the_next_request_on(host: RealHost) -> None:
    key = host.team("changing", tokens_per_day=1)
    with host.client(key) as client:
        with pytest.raises(openai.RateLimitError):
            ask(client)
        host.team("changing", tokens_per_day="default")
        ask(client, max_tokens=2)


def test_a_team_alone_cannot_take_the_last_places(host: RealHost) -> None:
    heavy, light = host.team("heavy"), host.team("light")

    def flood(_: int) -> str | None:
        with host.client(heavy) as client:
            try:
                ask(client, model="slow", max_tokens=60)
            except openai.InternalServerError as error:
                return error.code
            return "answered"

    with ThreadPoolExecutor(32) as pool:
        asked = [pool.submit(flood, number) for number in range(32)]
        while sum(each.done() for each in asked) < 4:
            time.sleep(0.02)
        # They are all there or refused: places are taken, and two are kept.
        with host.client(light) as client:
            ask(client, model="slow", max_tokens=2)
        found = [each.result() for each in asked]
    assert set(found) == {"answered", "server_overloaded"}
    assert found.count("answered") >= 14
    refused = refusals(host, "server-overloaded", of="heavy")
    assert len(refused) == found.count("server_overloaded")


def test_what_a_team_used_today_survives_a_restart(host: RealHost) -> None:
    key = host.team("daily", tokens_per_day=100)
    with host.client(key) as client:
        used = ask(client, max_tokens=20).usage.total_tokens
    assert host.stop() == 0
    host.start()
    with host.client(key) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            ask(client, max_tokens=101 - used)
        raw = client.chat.completions.with_raw_response.create(
            model="demo", messages=MESSAGES, max_tokens=2, stream=True
        )
    told = caught.value.response.headers
    assert told["x-ratelimit-limit-tokens"] == "100"
    assert int(told["x-ratelimit-remaining-tokens"]) == 100 - used
    assert told["x-should-retry"] == "false"
    assert int(raw.headers["x-ratelimit-remaining-tokens"]) < 100 - used
