"""What a team, a caller and the host may take, seen from the HTTP edge."""

import asyncio
import dataclasses
import json
from typing import Any

import pytest

from appliance.errors import QueueTimeoutError
from appliance.identity.terms import Terms
from appliance.request_steps.record_budget import TEAM_BURST
from appliance.settings import EngineSettings, LimitSettings, Settings
from tests.support.asgi import Answer, Exchange, post
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import CALLER, KEY, Gateway, gateway

CHAT = "/v1/chat/completions"
AUTH = {"authorization": f"Bearer {KEY}"}
QUESTION = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}


def made_for(terms: Terms | None = None, **fields: Any) -> Gateway:
    caller = dataclasses.replace(CALLER, terms=terms or CALLER.terms)
    return gateway(caller=caller, **fields)


def limited(**limits: int) -> Settings:
    return Settings(limits=LimitSettings.model_validate(limits))


async def say(made: Gateway, **fields: Any) -> Answer:
    headers = {**AUTH, **fields.pop("headers", {})}
    return await post(made.app, CHAT, {**QUESTION, **fields}, headers=headers)


def ask(made: Gateway, **fields: Any) -> Answer:
    async def play() -> Answer:
        answer = await say(made, **fields)
        await made.flow.close()
        return answer

    return asyncio.run(play())


def begin(made: Gateway, **fields: Any) -> Exchange:
    body = json.dumps({**QUESTION, **fields}).encode()
    headers = {**AUTH, "content-length": str(len(body))}
    return Exchange(made.app, CHAT, headers=headers, body=body)


async def until(made: Gateway, kind: str, count: int) -> None:
    while len(made.engine.ids(kind)) < count:  # noqa: ASYNC110
        await asyncio.sleep(0)


def error_of(answer: Answer) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error


def held(made: Gateway) -> tuple[Any, ...]:
    """What the quota holds; nothing of it when every request has ended."""
    state = vars(made.quota)
    return (
        state["_host"].taken,
        state["_bodies_bytes"],
        state["_waiting_tokens"],
        len(state["_models"]),
    )


def test_a_team_past_its_places_is_refused_before_its_body_is_read() -> None:
    async def play() -> None:
        gate = asyncio.Event()
        made = made_for(Terms(running=1, queued=1), engine=FakeEngine(gate=gate))
        running, waiting = begin(made), begin(made)
        await until(made, "prepare", 2)
        never_sent = Exchange(made.app, CHAT, headers=AUTH, hold_body=True)
        await asyncio.wait_for(never_sent.task, 5)
        refused = never_sent.answer
        assert (refused.status, error_of(refused)["code"]) == (
            429,
            "rate_limit_exceeded",
        )
        assert error_of(refused)["type"] == "requests"
        assert refused.headers["retry-after"] == "2"
        gate.set()
        await asyncio.gather(running.task, waiting.task)
        await made.flow.close()
        assert [running.answer.status, waiting.answer.status] == [200, 200]
        (record,) = [r for r in made.ledger.records if r["event"] == "llm.refused"]
        assert (record["code"], record["status"]) == ("rate-limit-exceeded", 429)
        assert record["team"] == "claims"
        assert held(made) == (0, 0, 0, 0)

    asyncio.run(play())


def test_what_a_team_may_not_run_yet_waits_for_its_turn_and_blocks_no_other() -> None:
    async def play() -> None:
        gate = asyncio.Event()
        made = made_for(Terms(running=1), engine=FakeEngine(gate=gate))
        first = begin(made)
        await until(made, "generate", 1)
        second = begin(made)
        await until(made, "prepare", 2)
        await asyncio.sleep(0.01)
        assert len(made.engine.ids("generate")) == 1
        made.host.caller = dataclasses.replace(CALLER, team="other")
        other = begin(made)
        await until(made, "generate", 2)
        assert made.engine.ids("generate")[1] == made.engine.ids("prepare")[2]
        gate.set()
        await asyncio.gather(first.task, second.task, other.task)
        assert second.answer.status == 200

    asyncio.run(play())


def test_a_request_that_waits_too_long_for_its_teams_turn_is_told() -> None:
    async def play() -> None:
        made = made_for(
            Terms(running=1),
            engine=FakeEngine(gate=asyncio.Event()),
            settings=Settings(engine=EngineSettings(queue_timeout_s=1)),
        )
        first = begin(made)
        await until(made, "generate", 1)
        answer = await say(made)
        assert (answer.status, error_of(answer)["code"]) == (503, "queue_timeout")
        assert int(answer.headers["retry-after"]) >= 1
        assert made.ledger.records[-1]["error_code"] == "queue-timeout"
        assert len(made.engine.open_requests) == 1
        first.disconnect()
        await first.task
        assert held(made) == (0, 0, 0, 0)

    asyncio.run(play())


def test_a_full_host_answers_503_without_reading_and_says_when_to_come_back() -> None:
    async def play() -> None:
        gate = asyncio.Event()
        made = made_for(engine=FakeEngine(gate=gate, places=2))
        both = [begin(made), begin(made)]
        await until(made, "prepare", 2)
        refused = Exchange(made.app, CHAT, headers=AUTH, hold_body=True)
        await asyncio.wait_for(refused.task, 5)
        answer = refused.answer
        assert (answer.status, error_of(answer)["code"]) == (503, "server_overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        gate.set()
        await asyncio.gather(*(each.task for each in both))
        await made.flow.close()
        codes = [r.get("code") for r in made.ledger.records]
        assert codes.count("server-overloaded") == 1
        assert (await say(made)).status == 200

    asyncio.run(play())


def test_every_refusal_of_a_flood_is_in_the_ledger_by_itself_or_by_number() -> None:
    async def play() -> None:
        gate = asyncio.Event()
        made = made_for(Terms(running=1, queued=1), engine=FakeEngine(gate=gate))
        both = [begin(made), begin(made)]
        await until(made, "prepare", 2)
        flood = TEAM_BURST + 500
        for _ in range(flood):
            assert (await say(made)).status == 429
        gate.set()
        await asyncio.gather(*(each.task for each in both))
        await made.flow.close()
        refused = [r for r in made.ledger.records if r["event"] == "llm.refused"]
        assert len(refused) < flood
        assert len(refused) + sum(r.get("left_out", 0) for r in refused) == flood

    asyncio.run(play())


def test_nobody_is_turned_away_unrecorded_when_the_ledger_cannot_write() -> None:
    made = made_for(Terms(requests_per_minute=1))
    assert ask(made).status == 200
    made.ledger.fails_on = "llm.refused"
    answer = ask(made)
    assert (answer.status, error_of(answer)["code"]) == (503, "audit_unavailable")


def test_requests_by_the_minute_are_counted_and_told() -> None:
    made = made_for(Terms(requests_per_minute=2))
    told = [ask(made).headers["x-ratelimit-remaining-requests"] for _ in range(2)]
    assert told == ["1", "0"]
    answer = ask(made)
    assert answer.status == 429
    assert answer.headers["x-ratelimit-limit-requests"] == "2"
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert answer.headers["x-ratelimit-reset-requests"].endswith("s")


def test_tokens_are_held_at_first_and_settled_by_what_was_used() -> None:
    made = made_for(Terms(tokens_per_minute=1_000))
    used = 1 + 4
    whole = ask(made, max_tokens=100)
    assert whole.json()["usage"]["total_tokens"] == used
    assert whole.headers["x-ratelimit-remaining-tokens"] == str(1_000 - used)
    # When a stream begins, its prompt and its longest answer are held.
    streamed = ask(made, max_tokens=100, stream=True)
    left = int(streamed.headers["x-ratelimit-remaining-tokens"])
    assert 1_000 - used - 101 <= left <= 1_000 - 101
    last = int(ask(made, max_tokens=1).headers["x-ratelimit-remaining-tokens"])
    assert 1_000 - 3 * used <= last < 1_000


def test_tokens_of_a_day_survive_a_restart_and_end_the_service_until_midnight() -> None:
    made = made_for(Terms(tokens_per_day=100), used_today=60)
    refused = ask(made, max_tokens=50)
    assert (refused.status, error_of(refused)["type"]) == (429, "tokens")
    assert refused.headers["x-should-retry"] == "false"
    assert int(refused.headers["retry-after"]) > 120
    assert refused.headers["x-ratelimit-limit-tokens"] == "100"
    assert made.engine.open_requests == ()
    assert made.ledger.records[-1]["code"] == "rate-limit-exceeded"
    assert ask(made, max_tokens=39).status == 200
    assert held(made) == (0, 0, 0, 0)


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_whose_time_is_over_is_cancelled_and_recorded(
    *, stream: bool
) -> None:
    async def play() -> None:
        made = made_for(engine=FakeEngine(gate=asyncio.Event()))
        answer = await say(made, stream=stream, headers={"x-request-timeout": "0.2"})
        if stream:
            error = answer.events()[-1]["error"]
            assert b"[DONE]" not in answer.body
        else:
            error = error_of(answer)
            assert answer.status == 504
            assert answer.headers["x-should-retry"] == "false"
        assert error["code"] == "request_timeout"
        assert made.engine.open_requests == ()
        assert made.ledger.events() == ["llm.request", "llm.response"]
        last = made.ledger.records[-1]
        assert (last["status"], last["error_code"]) == (504, "request-timeout")
        assert held(made) == (0, 0, 0, 0)

    asyncio.run(play())


def test_time_that_is_over_before_a_place_is_held_is_a_refusal() -> None:
    async def play() -> None:
        made = made_for(engine=FakeEngine(slow_prepare=asyncio.Event()))
        answer = await say(made, headers={"x-request-timeout": "0.2"})
        assert (answer.status, error_of(answer)["code"]) == (504, "request_timeout")
        (record,) = made.ledger.records
        assert (record["event"], record["code"]) == ("llm.refused", "request-timeout")
        assert made.engine.open_requests == ()
        assert held(made) == (0, 0, 0, 0)

    asyncio.run(play())


def test_time_that_is_over_while_waiting_for_a_turn_is_not_a_full_queue() -> None:
    async def play() -> None:
        made = made_for(Terms(running=1), engine=FakeEngine(gate=asyncio.Event()))
        first = begin(made)
        await until(made, "generate", 1)
        answer = await say(made, headers={"x-request-timeout": "0.2"})
        assert (answer.status, error_of(answer)["code"]) == (504, "request_timeout")
        first.disconnect()
        await first.task

    asyncio.run(play())


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1e3", "inf", "", "1.2345"])
def test_a_time_that_is_none_is_refused_and_named(text: str) -> None:
    made = made_for()
    answer = ask(made, headers={"x-request-timeout": text})
    assert (answer.status, error_of(answer)["code"]) == (400, "unsupported_value")
    assert error_of(answer)["param"] == "x-request-timeout"
    assert made.ledger.events() == ["llm.refused"]


def test_a_caller_can_lower_its_deadline_and_never_raise_it() -> None:
    for text, most_s in (("5", 5.0), ("9999999", 7.0), (None, 7.0)):
        made = made_for(settings=limited(deadline_s=7))
        headers = {} if text is None else {"x-request-timeout": text}
        assert ask(made, headers=headers).status == 200
        ((_, _, deadline_s),) = made.engine.standings.values()
        assert deadline_s is not None
        assert most_s - 1 < deadline_s <= most_s
        assert made.ledger.records[0]["params"]["timeout_s"] == f"{most_s:.0f}"


def test_weight_and_urgency_of_the_team_reach_the_engine() -> None:
    made = made_for(Terms(weight=5, priority="batch"))
    answer = ask(made, service_tier="priority", priority=-7)
    ((weight, priority, _),) = made.engine.standings.values()
    assert (weight, priority) == (5, 10)
    assert answer.json()["service_tier"] == "flex"
    assert made.ledger.records[0]["params"]["priority"] == "10"


def test_the_tier_is_told_to_who_asked_for_one() -> None:
    made = made_for(Terms(priority="priority"))
    assert "service_tier" not in ask(made).json()
    streamed = ask(made, service_tier="priority", stream=True).events()
    assert {chunk["service_tier"] for chunk in streamed[:-1]} == {"priority"}
    assert [p for _, p, _ in made.engine.standings.values()] == [0, -10]


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 101},
        {"n": 2},
        {"top_logprobs": 1},
        {"service_tier": "scale"},
    ],
)
def test_more_than_the_host_gives_is_refused_and_holds_nothing(
    fields: dict[str, Any],
) -> None:
    made = made_for(settings=limited(output_tokens=100))
    answer = ask(made, **fields)
    assert (answer.status, error_of(answer)["code"]) == (400, "unsupported_value")
    assert error_of(answer)["param"] == next(iter(fields))
    assert made.engine.events == []
    assert held(made) == (0, 0, 0, 0)


def test_a_server_that_is_ending_lets_nobody_in_and_finishes_what_it_has() -> None:
    async def play() -> None:
        gate = asyncio.Event()
        made = made_for(engine=FakeEngine(gate=gate))
        running = begin(made)
        await until(made, "generate", 1)
        made.flow.stop()
        answer = await say(made)
        assert (answer.status, error_of(answer)["code"]) == (503, "shutting_down")
        assert int(answer.headers["retry-after"]) >= 1
        gate.set()
        await running.task
        assert running.answer.status == 200
        await made.flow.close()
        assert "shutting-down" in [r.get("code") for r in made.ledger.records]

    asyncio.run(play())


def test_a_place_given_up_in_the_engine_is_a_queue_timeout() -> None:
    error = QueueTimeoutError("waited too long", retry_after_s=3)
    made = made_for(engine=FakeEngine(generate_error=error))
    answer = ask(made)
    assert (answer.status, error_of(answer)["code"]) == (503, "queue_timeout")
    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize("stream", [True, False])
def test_every_answer_tells_limits_time_and_its_id(*, stream: bool) -> None:
    made = made_for()
    for answer in (ask(made, stream=stream), ask(made, max_tokens=0)):
        assert answer.headers["x-request-id"].startswith("chatcmpl-")
        assert int(answer.headers["openai-processing-ms"]) >= 0
        for what in ("requests", "tokens"):
            limit = int(answer.headers[f"x-ratelimit-limit-{what}"])
            assert 0 < int(answer.headers[f"x-ratelimit-remaining-{what}"]) <= limit
            assert answer.headers[f"x-ratelimit-reset-{what}"].endswith("s")
