"""What the API accepts as a chat request, and what it refuses by name."""

import json
from typing import Any

import pytest

from appliance.api.schemas import IGNORED, NEUTRAL, parse_chat_request
from appliance.engine.port import Message
from appliance.errors import (
    RequestRefusedError,
    UnsupportedParameterError,
    UnsupportedValueError,
)
from appliance.settings import LimitSettings, ServerSettings, Settings

SETTINGS = Settings(
    server=ServerSettings(messages=4, stop_strings=2),
    limits=LimitSettings(output_tokens=100),
)
MINIMAL: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "hello"}],
}


def parse(**fields: Any) -> Any:
    body = json.dumps({**MINIMAL, **fields}).encode()
    return parse_chat_request(body, settings=SETTINGS)[0]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b'{"\\ud800": 1}'],
    ids=["empty", "truncated", "array", "string", "not-utf8", "deep", "surrogate"],
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        parse_chat_request(body, settings=SETTINGS)
    assert caught.value.code == "invalid-request"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}] * 5}, "messages"),
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"stop": ["a", "b", "c"]}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"nonsense": 1}}, "stream_options"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": [{"role": "user", "content": "x", "name": "n"}]}, "messages"),
        ({"seed": 1.5}, "seed"),
        ({"n": True}, "n"),
        ({"n": 0}, "n"),
        ({"service_tier": 1}, "service_tier"),
        ({"priority": 2**31}, "priority"),
    ],
)
def test_a_value_outside_its_range_names_its_field(
    fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        parse(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logprobs", True),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("response_format", {"type": "json_object"}),
        ("logit_bias", {"50256": -100}),
        ("store", True),
        ("top_k", 40),
        ("made_up", None),
    ],
)
def test_what_is_not_implemented_is_refused_not_ignored(name: str, value: Any) -> None:
    with pytest.raises(UnsupportedParameterError) as caught:
        parse(**{name: value})
    assert caught.value.param == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("top_logprobs", 1),
        ("max_tokens", 101),
        ("max_completion_tokens", 101),
        ("service_tier", "scale"),
    ],
)
def test_more_than_there_is_is_refused_and_names_its_field(
    name: str, value: Any
) -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        parse(**{name: value})
    assert (caught.value.code, caught.value.param) == ("unsupported-value", name)


def test_how_urgent_a_request_is_comes_from_its_caller() -> None:
    request = parse(service_tier="flex", priority=3)
    assert (request.service_tier, request.priority) == ("flex", 3)


@pytest.mark.parametrize("name", sorted(NEUTRAL))
def test_a_field_with_its_neutral_value_changes_nothing(name: str) -> None:
    for value in NEUTRAL[name]:
        assert parse(**{name: value}) == parse()


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_a_field_that_cannot_change_an_answer_is_accepted(name: str) -> None:
    assert parse(**{name: "anything"}) == parse()


def test_the_newer_name_of_the_token_limit_wins() -> None:
    assert parse(max_tokens=5, max_completion_tokens=7).sampling.max_tokens == 7


def test_text_parts_are_joined_and_developer_means_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    request = parse(messages=[{"role": "developer", "content": parts}])
    assert request.messages == (Message(role="system", content="ab"),)


def test_defaults_are_openais() -> None:
    sampling = parse().sampling
    assert (sampling.temperature, sampling.top_p) == (1.0, 1.0)
    assert sampling.max_tokens is None
    assert sampling.stop == ()


def test_null_means_unset() -> None:
    fields = ("temperature", "top_p", "stop", "seed", "stream", "max_tokens")
    assert parse(**dict.fromkeys(fields)) == parse()


def test_a_long_unknown_name_is_not_repeated_whole() -> None:
    with pytest.raises(UnsupportedParameterError) as caught:
        parse(**{"x" * 1000: 1})
    assert caught.value.param == "x" * 64
