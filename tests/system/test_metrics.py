"""The metrics of a real server, scraped over HTTP and read by the official parser."""

import http.client
import os
import signal
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.demo_engine import LONGER_QUESTION
from tests.support.real_host import RealHost
from tests.system.test_api import engine_pids, messages

ASKED = "demo"


def scrape(host: RealHost) -> dict[tuple[str, str], float]:
    """Every sample by its name and its model."""
    connection = http.client.HTTPConnection(host.url.removeprefix("http://"))
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("sallyport:")
        assert family.documentation
        for each in family.samples:
            allowed = {"model_name", "le", "reason", "finished_reason"}
            assert each.labels.keys() <= allowed
            if "le" not in each.labels:
                name = each.name.removeprefix("sallyport:")
                model = each.labels.get("model_name", "")
                found[name, model] = found.get((name, model), 0) + each.value
    return found


def test_what_was_asked_is_what_is_counted(host: RealHost) -> None:
    before = scrape(host)
    with host.client() as client:
        used = [
            client.chat.completions.create(
                model=ASKED,
                messages=messages(LONGER_QUESTION),
                temperature=0,
                max_tokens=12,
            ).usage
            for _ in range(2)
        ]
        with client.chat.completions.create(
            model="slow",
            messages=messages("go on"),
            temperature=0,
            max_tokens=480,
            stream=True,
        ) as stream:
            next(iter(stream))
            during = scrape(host)
    after = scrape(host)

    def grew(name: str, model: str = ASKED) -> float:
        return after[name, model] - before.get((name, model), 0)

    assert all(used)
    prompts = [each.prompt_tokens for each in used if each]
    answers = [each.completion_tokens for each in used if each]
    assert grew("prompt_tokens_total") == sum(prompts)
    assert grew("generation_tokens_total") == sum(answers)
    assert grew("request_success_total") == 2
    assert grew("time_to_first_token_seconds_count") == 2
    assert grew("request_queue_time_seconds_count") == 2
    assert grew("e2e_request_latency_seconds_count") == 2
    assert grew("prefix_cache_queries_total") >= sum(prompts)
    # The second question begins, and ends, like the first.
    assert grew("prefix_cache_hits_total") > 0
    assert grew("ledger_append_seconds_count", "") >= 4
    assert during["num_requests_running", "slow"] == 1
    assert 0 < during["kv_cache_usage_perc", "slow"] <= 1
    for model in ("demo", "slow"):
        assert after["engine_up", model] == 1
        assert after["engine_memory_plan_bytes", model] > 2**20


def test_an_engine_that_is_killed_is_down_and_then_started_again(
    host: RealHost,
) -> None:
    for pid in engine_pids(host):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    found = scrape(host)
    while (
        found.get(("engine_restarts_total", ASKED), 0) < 1
        or not (found["engine_up", ASKED])
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
        found = scrape(host)
    assert found["num_requests_running", ASKED] == 0


def test_an_engine_that_hangs_does_not_hold_up_the_scrape(host: RealHost) -> None:
    pids = engine_pids(host)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        found = scrape(host)
        assert time.monotonic() - began < 5
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert found["engine_up", ASKED] == 0
    assert ("num_requests_running", ASKED) not in found


@pytest.mark.parametrize("text", ["What is a bundle", "spk_"])
def test_no_text_and_no_key_is_told(host: RealHost, text: str) -> None:
    connection = http.client.HTTPConnection(host.url.removeprefix("http://"))
    connection.request("GET", "/metrics")
    body = connection.getresponse().read().decode()
    connection.close()
    assert text not in body
    assert Path(host.home).name not in body
