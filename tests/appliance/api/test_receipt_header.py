"""Every answer that has a durable record makes its caller a witness of it."""

import asyncio
import base64

import pytest

from appliance.request_steps.record_budget import BURST
from tests.appliance.api.test_chat import AUTH, CHAT, ask
from tests.support.asgi import get, post
from tests.support.gateway import gateway

ROOT = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")


def test_a_whole_answer_tells_the_receipt_of_its_response() -> None:
    made = gateway()
    answer = ask(made)
    assert made.ledger.events() == ["llm.request", "llm.response"]
    assert answer.headers["x-audit-receipt"] == f"2.{ROOT}.1"


def test_the_head_of_a_stream_tells_the_receipt_of_its_request() -> None:
    made = gateway()
    answer = ask(made, stream=True)
    assert made.ledger.events() == ["llm.request", "llm.response"]
    assert answer.headers["x-audit-receipt"] == f"1.{ROOT}.0"


@pytest.mark.parametrize("model", ["no such model", "demo"])
def test_a_refusal_tells_the_receipt_of_its_own_record(model: str) -> None:
    made = gateway()
    answer = ask(made, model=model, max_tokens=-1 if model == "demo" else 4)
    assert answer.status >= 400
    assert made.ledger.events() == ["llm.refused"]
    assert answer.headers["x-audit-receipt"] == f"1.{ROOT}.0"


def test_whoever_has_no_key_is_told_a_receipt_until_records_are_counted() -> None:
    made = gateway()
    first = asyncio.run(post(made.app, CHAT, {}))
    assert first.status == 401
    assert first.headers["x-audit-receipt"] == f"1.{ROOT}.0"

    async def flood() -> dict[str, str]:
        for _ in range(BURST + 1):
            last = await post(made.app, CHAT, {})
        await made.flow.close()
        return last.headers

    assert "x-audit-receipt" not in asyncio.run(flood())


def test_an_answer_without_a_record_tells_no_receipt() -> None:
    made = gateway()
    answer = asyncio.run(get(made.app, "/v1/models", headers=AUTH))
    assert answer.status == 200
    assert "x-audit-receipt" not in answer.headers
    made.ledger.fails_on = "llm"
    assert "x-audit-receipt" not in ask(made).headers
