"""One chat request through the HTTP edge: shapes, records, refusals, endings."""

import asyncio
import dataclasses
import datetime as dt
import json
from typing import Any

import pytest

from appliance.errors import (
    ContextLengthError,
    EngineUnavailableError,
    OverloadedError,
)
from appliance.request_steps.record_budget import BURST
from appliance.settings import ServerSettings, Settings
from bundleformat.errors import Error
from tests.support.asgi import Answer, Exchange, get, post
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import KEY, SITE, Gateway, gateway, without_regions

CHAT = "/v1/chat/completions"
AUTH = {"authorization": f"Bearer {KEY}"}
CANARY = "canary-4b1d"


def ask(made: Gateway, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": f"hello {CANARY}"}],
        **fields,
    }

    async def play() -> Answer:
        answer = await post(made.app, CHAT, body, headers={**AUTH, **(headers or {})})
        await made.flow.close()
        return answer

    return asyncio.run(play())


def begin(made: Gateway, *, stream: bool) -> Exchange:
    """Start a request whose client can go away."""
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": "x"}],
        "stream": stream,
    }
    return Exchange(made.app, CHAT, headers=AUTH, body=json.dumps(body).encode())


def code_of(answer: Answer) -> str:
    code: str = answer.json()["error"]["code"]
    return code


def test_a_wrong_key_is_refused_before_the_body_is_read() -> None:
    made = gateway()
    answer = asyncio.run(post(made.app, CHAT, b"not json"))
    assert (answer.status, code_of(answer)) == (401, "invalid_api_key")
    assert made.ledger.events() == ["llm.refused"]
    assert "actor" not in made.ledger.records[0]
    assert made.engine.events == []


def test_an_unknown_model_is_recorded_by_its_digest_only() -> None:
    made = gateway()
    answer = ask(made, model=f"no such model {CANARY}")
    assert (answer.status, code_of(answer)) == (404, "model_not_found")
    record = json.dumps(made.ledger.records)
    assert CANARY not in record
    assert "name_sha256" in record


def test_a_body_above_the_limit_is_refused() -> None:
    made = gateway(settings=Settings(server=ServerSettings(body_bytes=64)))
    answer = ask(made)
    assert (answer.status, code_of(answer)) == (413, "body_too_large")


def test_another_media_type_is_refused() -> None:
    answer = ask(gateway(), headers={"content-type": "text/plain"})
    assert (answer.status, code_of(answer)) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("headers", "policy"),
    [
        ({"x-data-class": "phi"}, "core-clearance"),
        ({"x-data-class": "made up; drop table"}, "core-clearance"),
        ({"x-data-region": "eu-fra"}, "core-request-region"),
    ],
)
def test_a_forbidden_label_is_403_with_the_policys_id_and_reason(
    headers: dict[str, str], policy: str
) -> None:
    made = gateway()
    answer = ask(made, headers=headers)
    assert (answer.status, code_of(answer)) == (403, "policy_denied")
    error = answer.json()["error"]
    assert policy in error["policy_ids"]
    assert all(error["reasons"])
    assert made.engine.events == []
    assert made.ledger.records[0]["policy"]["decision"] == "deny"


def test_a_label_cannot_widen_what_the_team_may_do() -> None:
    made = gateway()
    answer = ask(made, headers={"x-data-class": "public"})
    assert answer.status == 200
    assert answer.headers["x-data-class"] == "internal"
    labels = made.ledger.records[0]["labels"]
    assert (labels["class"], labels["class_source"]) == ("internal", "team")


def test_a_class_that_a_header_narrowed_is_recorded_as_the_headers() -> None:
    made = gateway()
    ask(made, headers={"x-data-class": "phi"})
    labels = made.ledger.records[0]["labels"]
    assert (labels["class"], labels["class_source"]) == ("phi", "header")


def test_a_host_without_a_site_certificate_serves_nothing() -> None:
    made = gateway(site=None)
    answer = ask(made)
    assert answer.status == 403
    assert "core-site-certificate" in answer.json()["error"]["policy_ids"]
    assert made.ledger.events() == ["llm.refused"]


def test_an_expired_site_certificate_denies_every_request() -> None:
    expired = dataclasses.replace(SITE, not_after=SITE.not_before + dt.timedelta(1))
    answer = ask(gateway(site=expired))
    assert answer.status == 403
    assert answer.json()["error"]["policy_ids"] == ["core-site-certificate-expired"]


def test_a_model_without_this_region_is_denied() -> None:
    made = gateway(model=without_regions())
    answer = ask(made)
    assert "core-model-region" in answer.json()["error"]["policy_ids"]
    assert made.ledger.events() == ["llm.refused"]


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (ContextLengthError(limit_tokens=8, prompt_tokens=9, new_tokens=1), 400, None),
        (OverloadedError("full", retry_after_s=7), 503, "7"),
        (EngineUnavailableError("down"), 503, "2"),
    ],
)
def test_what_the_engine_refuses_is_an_answer_and_a_record(
    error: Error, status: int, retry: str | None
) -> None:
    made = gateway(engine=FakeEngine(prepare_error=error))
    answer = ask(made)
    assert answer.status == status
    assert code_of(answer) == error.code.replace("-", "_")
    assert answer.headers.get("retry-after") == retry
    assert made.ledger.events() == ["llm.refused"]
    assert made.engine.open_requests == ()


def test_a_whole_answer_has_openais_shape_and_two_records() -> None:
    made = gateway()
    answer = ask(made)
    assert answer.status == 200
    body = answer.json()
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"] == "Hello, world."
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == 2 + 4
    assert made.ledger.events() == ["llm.request", "llm.response"]
    request, response = made.ledger.records
    assert (request["team"], request["actor"]) == ("claims", {"key_id": "k1"})
    assert request["model"] == {"name": "demo", "sha256": "ab" * 32, "generation": 1}
    assert request["policy"]["ids"] == ["core-permit-chat"]
    assert response["parent"] == request["seq"]
    assert (response["outcome"], response["status"]) == ("ok", 200)


def test_a_stream_has_openais_shape() -> None:
    made = gateway()
    answer = ask(made, stream=True, stream_options={"include_usage": True})
    *chunks, usage, done = answer.events()
    assert done == "[DONE]"
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
    assert text == "Hello, world."
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert all(chunk["usage"] is None for chunk in chunks)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 4
    assert len({chunk["id"] for chunk in [*chunks, usage]}) == 1


def test_no_prompt_and_no_completion_is_in_any_record() -> None:
    made = gateway(engine=FakeEngine(pieces=("secret-", "answer")))
    ask(made)
    ask(made, headers={"x-data-class": "phi"})
    records = json.dumps(made.ledger.records)
    assert CANARY not in records
    assert "secret-" not in records


def test_nothing_is_generated_when_the_request_cannot_be_recorded() -> None:
    made = gateway()
    made.ledger.fails_on = "llm.request"
    answer = ask(made)
    assert (answer.status, code_of(answer)) == (503, "audit_unavailable")
    assert made.engine.ids("generate") == ()
    assert made.engine.open_requests == ()


def test_the_last_byte_is_withheld_when_the_response_cannot_be_recorded() -> None:
    made = gateway()
    made.ledger.fails_on = "llm.response"
    answer = ask(made, stream=True)
    *_, last = answer.events()
    assert last["error"]["code"] == "audit_unavailable"
    assert b"[DONE]" not in answer.body
    assert b'finish_reason":"stop' not in answer.body


def test_a_refusal_that_cannot_be_recorded_is_audit_unavailable() -> None:
    made = gateway()
    made.ledger.fails_on = "llm.refused"
    assert code_of(ask(made, headers={"x-data-class": "phi"})) == "audit_unavailable"


def test_an_engine_that_dies_before_the_first_piece_is_a_plain_503() -> None:
    made = gateway(engine=FakeEngine(dies_after=0))
    answer = ask(made, stream=True)
    assert (answer.status, code_of(answer)) == (503, "engine_unavailable")
    assert made.ledger.records[-1]["outcome"] == "error"


def test_an_engine_that_dies_midway_ends_the_stream_with_an_error_event() -> None:
    made = gateway(engine=FakeEngine(dies_after=2))
    answer = ask(made, stream=True)
    assert answer.status == 200
    assert answer.events()[-1]["error"]["code"] == "engine_unavailable"
    assert b"[DONE]" not in answer.body
    assert made.ledger.events() == ["llm.request", "llm.response"]
    assert made.ledger.records[-1]["error_code"] == "engine-unavailable"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_the_engine_and_is_recorded(
    *, stream: bool
) -> None:
    async def play() -> Gateway:
        gate = asyncio.Event()
        made = gateway(engine=FakeEngine(gate=gate))
        exchange = begin(made, stream=stream)
        while not made.engine.ids("generate"):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        exchange.disconnect()
        await exchange.task
        return made

    made = asyncio.run(play())
    assert made.engine.open_requests == ()
    assert made.engine.ids("cancel")
    assert made.ledger.events() == ["llm.request", "llm.response"]
    assert made.ledger.records[-1]["outcome"] == "cancelled"
    assert made.ledger.records[-1]["status"] == 499


def test_a_client_that_goes_away_while_recording_leaves_nothing_held() -> None:
    async def play() -> Gateway:
        made = gateway()
        made.ledger.slow = asyncio.Event()
        exchange = begin(made, stream=False)
        while not made.engine.ids("prepare"):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        exchange.disconnect()
        await asyncio.sleep(0.01)
        made.ledger.slow.set()
        await exchange.task
        return made

    made = asyncio.run(play())
    assert made.engine.open_requests == ()
    assert made.engine.ids("generate") == ()
    assert made.ledger.events() == ["llm.request", "llm.response"]
    assert made.ledger.records[-1]["outcome"] == "cancelled"


def test_a_client_that_goes_away_before_its_turn_is_recorded_as_gone() -> None:
    async def play() -> Gateway:
        made = gateway(engine=FakeEngine(slow_prepare=asyncio.Event()))
        exchange = begin(made, stream=False)
        while not made.engine.ids("prepare"):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        exchange.disconnect()
        await exchange.task
        return made

    made = asyncio.run(play())
    assert made.engine.open_requests == ()
    (record,) = made.ledger.records
    assert (record["event"], record["code"]) == ("llm.refused", "client-gone")


def test_what_counts_is_what_is_true_when_the_body_has_come() -> None:
    async def play() -> Answer:
        made = gateway()
        exchange = Exchange(
            made.app,
            CHAT,
            headers=AUTH,
            body=json.dumps(
                {"model": "demo", "messages": [{"role": "user", "content": "x"}]}
            ).encode(),
            hold_body=True,
        )
        await asyncio.sleep(0.01)
        made.host.shown = dataclasses.replace(made.host.shown, models={})
        exchange.send_body()
        await exchange.task
        return exchange.answer

    assert asyncio.run(play()).status == 404


def test_a_body_that_does_not_come_is_given_up() -> None:
    async def play() -> Answer:
        made = gateway(settings=Settings(server=ServerSettings(body_s=1)))
        exchange = Exchange(made.app, CHAT, headers=AUTH, body=b"", hold_body=True)
        await exchange.task
        return exchange.answer

    answer = asyncio.run(play())
    assert (answer.status, code_of(answer)) == (408, "body_timeout")


def test_a_flood_without_a_key_is_counted_not_listed() -> None:
    async def play() -> Gateway:
        made = gateway()
        for _ in range(BURST + 50):
            await post(made.app, CHAT, b"{}")
        for _ in range(1_000):
            made.clock.monotonic_ns()
        await post(made.app, CHAT, b"{}")
        return made

    made = asyncio.run(play())
    assert len(made.ledger.records) <= BURST + 5
    counted = sum(record.get("left_out", 0) for record in made.ledger.records)
    assert counted + len(made.ledger.records) == BURST + 51


def test_models_want_a_key_and_name_what_is_active() -> None:
    made = gateway()
    refused = asyncio.run(get(made.app, "/v1/models"))
    assert refused.status == 401
    listed = asyncio.run(get(made.app, "/v1/models", headers=AUTH))
    assert [model["id"] for model in listed.json()["data"]] == ["demo"]
    one = asyncio.run(get(made.app, "/v1/models/demo", headers=AUTH))
    assert one.json()["owned_by"] == "Sallyport"
    missing = asyncio.run(get(made.app, "/v1/models/other", headers=AUTH))
    assert (missing.status, code_of(missing)) == (404, "model_not_found")


def test_health_needs_no_key_and_unknown_routes_answer_in_shape() -> None:
    made = gateway()
    assert asyncio.run(get(made.app, "/health/live")).json() == {"status": "live"}
    assert asyncio.run(get(made.app, "/health/ready")).status == 200
    unknown = asyncio.run(get(made.app, "/v1/nothing"))
    assert (unknown.status, code_of(unknown)) == (404, "unknown_url")
    wrong = asyncio.run(get(made.app, CHAT))
    assert (wrong.status, code_of(wrong)) == (405, "method_not_allowed")
