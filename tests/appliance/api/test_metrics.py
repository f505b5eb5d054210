"""Who is told the metrics, and that requests leave their marks in them."""

import asyncio
import json

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Receive, Scope, Send

from appliance.errors import OverloadedError
from tests.support.asgi import Answer, Exchange, get, post
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import KEY, Gateway, gateway

CHAT = "/v1/chat/completions"
AUTH = {"authorization": f"Bearer {KEY}"}
CANARY = "canary-55aa"


def ask(made: Gateway, model: str = "demo") -> Answer:
    async def play() -> Answer:
        body = {"model": model, "messages": [{"role": "user", "content": CANARY}]}
        answer = await post(made.app, CHAT, body, headers=AUTH)
        await made.flow.close()
        return answer

    return asyncio.run(play())


def scrape(made: Gateway, headers: dict[str, str] | None = None) -> Answer:
    return asyncio.run(get(made.app, "/metrics", headers=headers))


def samples(answer: Answer) -> dict[str, float]:
    """Every sample as the text writes it, its name and its labels."""
    return {
        f"{each.name.removeprefix('sallyport:')}{json.dumps(each.labels)}": each.value
        for family in text_string_to_metric_families(answer.body.decode())
        for each in family.samples
    }


def test_requests_and_refusals_are_counted_by_model_and_by_code() -> None:
    made = gateway()
    ask(made)
    ask(made, model="no-such")
    answer = scrape(made)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found = samples(answer)
    model = '{"model_name": "demo"}'
    stopped = '{"finished_reason": "stop", "model_name": "demo"}'
    ended = {
        key: value
        for key, value in found.items()
        if key.startswith("request_success_total")
    }
    assert list(ended.values()) == [1]
    assert json.loads(next(iter(ended)).removeprefix("request_success_total")) == (
        json.loads(stopped)
    )
    assert found[f"prompt_tokens_total{model}"] == 1
    assert found[f"generation_tokens_total{model}"] == 4
    assert found[f"time_to_first_token_seconds_count{model}"] == 1
    assert found[f"inter_token_latency_seconds_count{model}"] == 3
    assert found['admission_rejections_total{"reason": "model-not-found"}'] == 1


def test_an_engine_that_refuses_and_one_that_dies_are_told_apart() -> None:
    full = gateway(
        engine=FakeEngine(prepare_error=OverloadedError("x", retry_after_s=1))
    )
    ask(full)
    assert (
        samples(scrape(full))[
            'admission_rejections_total{"reason": "server-overloaded"}'
        ]
        == 1
    )
    dead = gateway(engine=FakeEngine(dies_after=1))
    ask(dead)
    body = scrape(dead).body.decode()
    assert 'finished_reason="error"' in body
    assert "admission_rejections_total{" not in body


def test_neither_team_nor_text_nor_key_is_in_the_metrics() -> None:
    made = gateway()
    ask(made)
    ask(made, model=CANARY)
    body = scrape(made).body.decode()
    for secret in (CANARY, KEY, "claims", "k1"):
        assert secret not in body


def test_the_newer_format_is_given_to_who_asks_for_it() -> None:
    made = gateway()
    ask(made)
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = scrape(made, accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "header",
    [
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
    ],
)
def test_a_proxy_that_asks_for_somebody_else_is_told_nothing(header: str) -> None:
    answer = scrape(gateway(), {header: "127.0.0.1"})
    assert (answer.status, answer.json()["error"]["code"]) == (403, "loopback_only")
    assert b"sallyport:" not in answer.body


@pytest.mark.parametrize(
    ("client", "status"),
    [
        (("127.0.0.1", 1), 200),
        (("127.8.8.8", 1), 200),
        (("::1", 1), 200),
        (("10.0.0.7", 1), 403),
        (("2001:db8::1", 1), 403),
        (("localhost", 1), 403),
        (None, 403),
    ],
)
def test_only_who_asks_over_loopback_is_told(
    client: tuple[str, int] | None, status: int
) -> None:
    async def play() -> Answer:
        made = gateway()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await made.app({**scope, "client": client}, receive, send)

        exchange = Exchange(app, "/metrics", method="GET", headers=AUTH)
        await exchange.task
        return exchange.answer

    assert asyncio.run(play()).status == status
