"""One request for embeddings through the HTTP edge: shapes, records, refusals."""

import asyncio
import base64
import json
from array import array
from typing import Any

import pytest

from appliance.api.embeddings import WRITTEN_AT_ONCE
from appliance.errors import (
    ContextLengthError,
    EngineUnavailableError,
    OverloadedError,
)
from appliance.settings import ServerSettings, Settings
from bundleformat.errors import Error
from tests.support.asgi import Answer, Exchange, post
from tests.support.fake_embedder import FakeEmbedder
from tests.support.gateway import KEY, Gateway, gateway

EMBEDDINGS = "/v1/embeddings"
AUTH = {"authorization": f"Bearer {KEY}"}
CANARY = "canary-9c2e"


def made_of(engine: FakeEmbedder | None = None, **settings: int) -> Gateway:
    chosen = Settings(server=ServerSettings.model_validate(settings))
    return gateway(engine=engine or FakeEmbedder(), settings=chosen)


def ask(made: Gateway, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    body = {"model": "demo", "input": f"hello {CANARY}", **fields}

    async def play() -> Answer:
        sent = {**AUTH, **(headers or {})}
        answer = await post(made.app, EMBEDDINGS, body, headers=sent)
        await made.flow.close()
        return answer

    return asyncio.run(play())


def code_of(answer: Answer) -> str:
    code: str = answer.json()["error"]["code"]
    return code


def test_an_answer_has_openais_shape_and_two_records() -> None:
    made = made_of()
    answer = ask(made, input=["a b", "ccc", "d"])
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body["object"], body["model"]) == ("list", "demo")
    assert [item["index"] for item in body["data"]] == [0, 1, 2]
    assert {item["object"] for item in body["data"]} == {"embedding"}
    assert all(len(item["embedding"]) == 4 for item in body["data"])
    assert body["usage"] == {"prompt_tokens": 10, "total_tokens": 10}
    asked, answered = made.ledger.records
    assert (asked["event"], asked["endpoint"]) == ("llm.request", "embeddings")
    assert asked["params"] == {"inputs": 3, "priority": "0", "timeout_s": "600"}
    assert asked["prompt_tokens"] == 10
    assert (answered["event"], answered["outcome"]) == ("llm.response", "ok")
    assert (answered["status"], answered["completion_tokens"]) == (200, 0)
    assert (
        answered["request_id"] == asked["request_id"] == answer.headers["x-request-id"]
    )
    assert made.engine.open_requests == ()


def test_numbers_and_base64_are_the_same_vectors() -> None:
    made = made_of()
    numbers = ask(made, input=["a bc", "d"]).json()["data"]
    packed = ask(made, input=["a bc", "d"], encoding_format="base64").json()["data"]
    for one, other in zip(numbers, packed, strict=True):
        assert (
            array("f", base64.b64decode(other["embedding"])).tolist()
            == (one["embedding"])
        )


def test_a_large_answer_is_written_bit_by_bit_and_is_one_json_document() -> None:
    size = WRITTEN_AT_ONCE // 4
    made = made_of(FakeEmbedder(vector_size=size))
    answer = ask(made, input=["a"] * 10)
    assert len(answer.parts) > 3
    assert [len(item["embedding"]) for item in answer.json()["data"]] == [size] * 10


def test_no_text_and_no_token_is_in_a_record() -> None:
    made = made_of()
    ask(made)
    ask(made, input=[987_654])
    assert CANARY not in json.dumps(made.ledger.records)
    assert "987654" not in json.dumps(made.ledger.records)


def test_dimensions_are_honoured_or_refused() -> None:
    made = made_of()
    assert ask(made, dimensions=4).status == 200
    params = made.ledger.records[0]["params"]
    assert (params["inputs"], params["dimensions"]) == (1, 4)
    answer = ask(made, dimensions=3)
    assert (answer.status, answer.json()["error"]["param"]) == (400, "dimensions")
    assert made.engine.open_requests == ()


def test_a_wrong_key_is_refused_before_the_body_is_read() -> None:
    made = made_of()
    answer = asyncio.run(post(made.app, EMBEDDINGS, b"not json"))
    assert (answer.status, code_of(answer)) == (401, "invalid_api_key")
    assert made.ledger.events() == ["llm.refused"]
    assert made.engine.events == []


def test_a_forbidden_label_is_refused_by_policy_before_the_engine_is_asked() -> None:
    made = made_of()
    answer = ask(made, headers={"x-data-class": "phi"})
    assert (answer.status, code_of(answer)) == (403, "policy_denied")
    assert made.engine.events == []
    assert made.ledger.records[0]["policy"]["decision"] == "deny"


def test_more_inputs_than_a_request_may_have_are_refused() -> None:
    made = made_of(inputs=2)
    answer = ask(made, input=["a", "b", "c"])
    assert (answer.status, answer.json()["error"]["param"]) == (400, "input")
    assert made.engine.events == []


def test_an_over_long_input_is_refused_with_openais_code_and_never_cut() -> None:
    made = made_of()
    answer = ask(made, input=["short", "word " * 70])
    assert (answer.status, code_of(answer)) == (400, "context_length_exceeded")
    assert answer.json()["error"]["param"] == "input"
    assert made.ledger.events() == ["llm.refused"]
    assert made.engine.open_requests == ()


def test_a_model_that_writes_text_is_refused_here_and_one_that_does_not_at_chat() -> (
    None
):
    writer = gateway()
    answer = ask(writer)
    assert (answer.status, code_of(answer)) == (400, "unsuitable_model")
    assert writer.ledger.events() == ["llm.refused"]
    embedder = made_of()
    body = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}
    answer = asyncio.run(post(embedder.app, "/v1/chat/completions", body, headers=AUTH))
    assert (answer.status, code_of(answer)) == (400, "unsuitable_model")
    assert answer.json()["error"]["param"] == "model"


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (
            ContextLengthError(limit_tokens=8, prompt_tokens=9, new_tokens=0, index=0),
            400,
            None,
        ),
        (OverloadedError("full", retry_after_s=7), 503, "7"),
        (EngineUnavailableError("down"), 503, "2"),
    ],
)
def test_what_the_engine_refuses_is_an_answer_and_a_record(
    error: Error, status: int, retry: str | None
) -> None:
    made = made_of(FakeEmbedder(prepare_error=error))
    answer = ask(made)
    assert answer.status == status
    assert answer.headers.get("retry-after") == retry
    assert made.ledger.events() == ["llm.refused"]
    assert made.engine.open_requests == ()


def test_an_engine_that_dies_is_a_status_and_a_record() -> None:
    made = made_of(FakeEmbedder(dies_after=2))
    answer = ask(made, input=["a", "b", "c"])
    assert (answer.status, code_of(answer)) == (503, "engine_unavailable")
    record = made.ledger.records[-1]
    assert (record["event"], record["outcome"]) == ("llm.response", "error")
    assert record["error_code"] == "engine-unavailable"
    assert made.engine.open_requests == ()


@pytest.mark.parametrize("fails_on", ["llm.request", "llm.response"])
def test_nothing_is_answered_that_cannot_be_recorded(fails_on: str) -> None:
    made = made_of()
    made.ledger.fails_on = fails_on
    answer = ask(made)
    assert (answer.status, code_of(answer)) == (503, "audit_unavailable")
    assert ("generate" in dict(made.engine.events)) is (fails_on == "llm.response")
    assert made.engine.open_requests == ()


def test_a_client_that_goes_away_frees_the_engine_and_is_recorded() -> None:
    async def run() -> Gateway:
        gate = asyncio.Event()
        made = made_of(FakeEmbedder(gate=gate))
        body = json.dumps({"model": "demo", "input": ["a", "b", "c"]}).encode()
        exchange = Exchange(made.app, EMBEDDINGS, headers=AUTH, body=body)
        for _ in range(50):
            await asyncio.sleep(0)
        assert "generate" in dict(made.engine.events)
        exchange.disconnect()
        await asyncio.wait_for(exchange.task, 5)
        return made

    made = asyncio.run(run())
    assert made.engine.open_requests == ()
    assert made.ledger.records[-1]["outcome"] == "cancelled"
    assert made.ledger.records[-1]["status"] == 499
