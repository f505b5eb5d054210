"""What records and answers tell of bodies, at every level of capture."""

import asyncio
import dataclasses
import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from appliance.bodies.capture import LEVELS
from appliance.bodies.commitment import CONTEXT
from appliance.engine.embedding import Inputs
from appliance.engine.port import Message, Sampling
from appliance.request_steps.bodies import request_bytes
from appliance.request_steps.model_requests import ChatRequest, EmbeddingRequest
from appliance.settings import Capture
from tests.support.asgi import Answer, get, post
from tests.support.fake_embedder import FakeEmbedder
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import CALLER, KEY, Gateway, MemoryBodies, gateway

CANARY = "canary-7f2e"
CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": f"say é of {CANARY}"}]
PIECES = ("secret-", "ánswer")


def made_at(level: Capture, **given: Any) -> Gateway:
    caller = dataclasses.replace(CALLER, capture=level)
    return gateway(caller=caller, engine=FakeEngine(pieces=PIECES), **given)


def ask(made: Gateway, *, path: str = CHAT, **fields: Any) -> Answer:
    capture = fields.pop("capture", None)
    headers = {"authorization": f"Bearer {KEY}"}
    headers |= {"x-capture": capture} if capture else {}
    body = {"model": "demo", "messages": MESSAGES, **fields}

    async def play() -> Answer:
        answer = await post(made.app, path, body, headers=headers)
        await made.flow.close()
        return answer

    return asyncio.run(play())


def committed(salt: str, body: bytes) -> str:
    return hashlib.sha256(CONTEXT + bytes.fromhex(salt) + body).hexdigest()


def test_a_caller_who_asks_for_more_than_its_team_is_refused_and_on_record() -> None:
    made = made_at("metadata")
    answer = ask(made, capture="digest")
    assert answer.status == 400
    assert answer.json()["error"]["code"] == "capture_refused"
    (record,) = made.ledger.records
    assert (record["event"], record["code"]) == ("llm.refused", "capture-refused")
    assert made.engine.open_requests == ()


@pytest.mark.parametrize("stream", [False, True])
def test_a_digest_binds_both_bodies_and_its_salts_are_with_the_caller(
    *, stream: bool
) -> None:
    made = made_at("digest")
    answer = ask(made, stream=stream)
    asked, answered = made.ledger.records
    assert answer.headers["x-capture"] == "digest"
    request = rfc8785.dumps({"messages": MESSAGES})
    response = "".join(PIECES).encode()
    assert asked["body"] == {
        "capture": "digest",
        "commitment": committed(answer.headers["x-request-salt"], request),
        "size_bytes": len(request),
    }
    assert answered["body"] == {
        "capture": "digest",
        "commitment": committed(answer.headers["x-response-salt"], response),
        "size_bytes": len(response),
    }
    salts = {answer.headers["x-request-salt"], answer.headers["x-response-salt"]}
    assert len(salts) == 2
    assert not any(salt in json.dumps(made.ledger.records) for salt in salts)


def test_the_same_question_twice_has_two_commitments() -> None:
    made = made_at("digest")
    ask(made)
    ask(made)
    first, _, second, _ = (record["body"] for record in made.ledger.records)
    assert first["commitment"] != second["commitment"]


def test_metadata_binds_nothing_and_a_caller_who_lowered_is_on_record() -> None:
    plain, lowered = made_at("metadata"), made_at("digest")
    answer = ask(plain)
    assert answer.headers["x-capture"] == "metadata"
    assert "x-request-salt" not in answer.headers
    assert all("body" not in record for record in plain.ledger.records)
    ask(lowered, capture="metadata")
    for record in lowered.ledger.records:
        assert record["body"] == {"capture": "metadata", "lowered_from": "digest"}


def test_a_model_that_allows_less_lowers_it_for_every_team_and_on_record() -> None:
    bodies = MemoryBodies()
    made = made_at("full", bodies=bodies)
    view = made.host.shown
    model = dataclasses.replace(view.models["demo"], capture="metadata")
    made.host.shown = dataclasses.replace(view, models={"demo": model})
    assert ask(made, capture="digest").status == 400
    answer = ask(made)
    assert answer.headers["x-capture"] == "metadata"
    assert bodies.kept == []
    for record in made.ledger.records[1:]:
        assert record["body"] == {
            "capture": "metadata",
            "lowered_from": "full",
            "model_allows": "metadata",
        }


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_capture_keeps_what_the_records_commit_to(*, stream: bool) -> None:
    bodies = MemoryBodies()
    made = made_at("full", bodies=bodies)
    answer = ask(made, stream=stream)
    assert answer.headers["x-capture"] == "full"
    assert "x-request-salt" not in answer.headers
    assert "x-response-salt" not in answer.headers
    for kept, record in zip(bodies.kept, made.ledger.records, strict=True):
        assert record["event"] == f"llm.{kept.part}"
        assert record["request_id"] == kept.request_id
        assert record["body"] == {
            "capture": "full",
            "commitment": committed(kept.salt.hex(), kept.data),
            "size_bytes": len(kept.data),
        }
        assert CANARY not in repr(kept)
    asked, answered = bodies.kept
    assert asked.data == rfc8785.dumps({"messages": MESSAGES})
    assert answered.data == "".join(PIECES).encode()


def test_nothing_is_generated_when_what_was_asked_cannot_be_kept() -> None:
    made = made_at("full", bodies=MemoryBodies(fails_on="request"))
    answer = ask(made)
    assert answer.status == 503
    assert answer.json()["error"]["code"] == "bodies_unavailable"
    assert made.engine.ids("generate") == ()
    assert made.engine.open_requests == ()
    (record,) = made.ledger.records
    assert (record["event"], record["code"]) == ("llm.refused", "bodies-unavailable")


def test_the_last_byte_is_withheld_when_the_answer_cannot_be_kept() -> None:
    made = made_at("full", bodies=MemoryBodies(fails_on="response"))
    answer = ask(made, stream=True)
    *_, last = answer.events()
    assert last["error"]["code"] == "bodies_unavailable"
    assert b"[DONE]" not in answer.body
    _, ended = made.ledger.records
    assert (ended["outcome"], ended["error_code"]) == ("error", "bodies-unavailable")
    # What is not kept is not committed to, as if it were.
    assert ended["body"] == {"capture": "full"}


def test_a_caller_may_have_a_digest_where_its_team_keeps_all() -> None:
    bodies = MemoryBodies()
    made = made_at("full", bodies=bodies)
    answer = ask(made, capture="digest")
    assert "x-request-salt" in answer.headers
    assert bodies.kept == []
    assert made.ledger.records[0]["body"]["lowered_from"] == "full"


def test_vectors_are_not_captured_and_their_texts_are() -> None:
    caller = dataclasses.replace(CALLER, capture="digest")
    made = gateway(caller=caller, engine=FakeEmbedder())
    headers = {"authorization": f"Bearer {KEY}"}
    body = {"model": "demo", "input": [CANARY, "b"]}
    answer = asyncio.run(post(made.app, "/v1/embeddings", body, headers=headers))
    asked, answered = made.ledger.records
    canonical = rfc8785.dumps({"input": [CANARY, "b"]})
    salt = answer.headers["x-request-salt"]
    assert asked["body"]["commitment"] == committed(salt, canonical)
    assert "body" not in answered


@pytest.mark.parametrize("level", LEVELS)
def test_no_text_is_in_a_record_an_error_a_log_or_a_metric(
    level: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    made = made_at(level)
    refused = [
        ask(made, capture=CANARY),
        ask(made, temperature=CANARY),
        ask(made, model=CANARY),
    ]
    ask(made)
    ask(made, stream=True)
    metrics = asyncio.run(get(made.app, "/metrics"))
    told = [json.dumps(made.ledger.records), caplog.text, metrics.body.decode()]
    told += [answer.body.decode() for answer in refused]
    told += [str(answer.headers) for answer in refused]
    for text in told:
        assert CANARY not in text
        assert "secret-" not in text
        assert "ánswer" not in text


@given(st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_what_is_committed_of_a_request_is_rfc_8785(texts: list[str]) -> None:
    chat = ChatRequest(
        model="demo",
        messages=tuple(Message(role="user", content=text) for text in texts),
        sampling=Sampling(),
        stream=False,
    )
    expected = {"messages": [{"role": "user", "content": text} for text in texts]}
    assert request_bytes(chat) == rfc8785.dumps(expected)
    inputs = EmbeddingRequest(
        model="demo", inputs=Inputs(texts=tuple(texts)), dimensions=None, as_base64=True
    )
    assert request_bytes(inputs) == rfc8785.dumps({"input": texts})


def test_tokens_are_committed_as_numbers() -> None:
    inputs = Inputs(
        tokens=((1).to_bytes(4, "little") + (70_000).to_bytes(4, "little"),)
    )
    asked = EmbeddingRequest(
        model="demo", inputs=inputs, dimensions=None, as_base64=True
    )
    assert request_bytes(asked) == b'{"input":[[1,70000]]}'
