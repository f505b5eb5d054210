"""What a body may ask of an embedding model, and what it may not."""

import json
from array import array
from typing import Any

import pytest

from appliance.api.embedding_request import parse_embedding_request
from appliance.engine.embedding import Inputs
from appliance.errors import RequestRefusedError, UnsupportedParameterError
from appliance.request_steps.model_requests import EmbeddingRequest
from appliance.settings import ServerSettings


def parse(**fields: Any) -> EmbeddingRequest:
    body = json.dumps({"model": "vectors", "input": "hello", **fields}).encode()
    return parse_embedding_request(body, limits=ServerSettings(inputs=3))


def packed(*tokens: int) -> bytes:
    return array("i", tokens).tobytes()


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ("hello", Inputs(texts=("hello",))),
        (["a", "b"], Inputs(texts=("a", "b"))),
        ([1, 2, 3], Inputs(tokens=(packed(1, 2, 3),))),
        ([[1], [2, 3]], Inputs(tokens=(packed(1), packed(2, 3)))),
    ],
)
def test_all_four_shapes_of_input_are_taken(value: Any, inputs: Inputs) -> None:
    request = parse(input=value)
    assert request.inputs == inputs
    assert (request.dimensions, request.as_base64) == (None, False)


def test_format_and_dimensions_are_taken_and_the_user_is_ignored() -> None:
    request = parse(encoding_format="base64", dimensions=64, user="someone")
    assert (request.as_base64, request.dimensions) == (True, 64)


@pytest.mark.parametrize(
    "value",
    [
        "",
        [],
        [""],
        ["a", ""],
        ["a", 1],
        [[]],
        [[1], []],
        [[1], "a"],
        [1, [2]],
        [1.5],
        [True],
        [-1],
        [2**31],
        [[None]],
        {"text": "a"},
        None,
        7,
        ["a", "b", "c", "d"],
        [[1], [2], [3], [4]],
    ],
)
def test_any_other_input_is_refused(value: Any) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        parse(input=value)
    assert (caught.value.code, caught.value.param) == ("invalid-request", "input")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"encoding_format": None}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "64"}, "dimensions"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
    ],
)
def test_values_outside_their_range_are_refused(
    fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        parse(**fields)
    assert caught.value.param == param


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedParameterError) as caught:
        parse(truncate=True)
    assert caught.value.param == "truncate"


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(RequestRefusedError) as caught:
        parse_embedding_request(b'{"model": "m"}', limits=ServerSettings())
    assert caught.value.param == "input"
