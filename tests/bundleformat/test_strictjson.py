from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundleformat import strictjson
from bundleformat.errors import LimitExceededError, MalformedError

LARGEST = strictjson.MAX_INTEGER
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
    ),
    max_leaves=12,
)


def decode(data: bytes, *, canonical: bool = False) -> Any:
    read = strictjson.decode_canonical if canonical else strictjson.decode
    return read(data, max_bytes=10_000, max_depth=16, where="x")


@given(VALUES)
def test_decoding_gives_back_what_was_encoded(value: Any) -> None:
    assert decode(strictjson.encode(value), canonical=True) == value


@given(st.binary(max_size=40))
def test_whatever_canonical_decoding_accepts_has_one_encoding(data: bytes) -> None:
    try:
        value = decode(data, canonical=True)
    except (MalformedError, LimitExceededError):
        return
    assert strictjson.encode(value) == data


@given(st.text('{}[]",:\\u0d8e1 -.', max_size=40))
def test_json_like_text_is_decoded_or_refused(text: str) -> None:
    try:
        decode(text.encode())
    except (MalformedError, LimitExceededError) as error:
        assert error.where == "x"  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":{"a":1,"b":2,"a":3}}',
        b"1.0",
        b"1e3",
        b"-0.0",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"9007199254740992",
        b"-9007199254740992",
        b"1" * 5_000,
        b'"\xff"',
        b'"\\ud800"',
        b'\xef\xbb\xbf"bom"',
        b'"\x01"',
        b"{",
        b"",
        b"{} {}",
        b"{'a':1}",
    ],
)
def test_ambiguous_json_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        decode(data)
    assert caught.value.where == "x"


@pytest.mark.parametrize(
    "data", [b' {"a":1}', b'{"b":1,"a":2}', b'"\\u0061"', b"-0", b'{"a": 1}']
)
def test_only_one_spelling_is_canonical(data: bytes) -> None:
    decode(data)
    with pytest.raises(MalformedError):
        decode(data, canonical=True)


def test_depth_is_counted_before_parsing() -> None:
    assert decode(b"[" * 16 + b"]" * 16)
    with pytest.raises(LimitExceededError):
        decode(b"[" * 5_000)


def test_brackets_inside_strings_are_no_depth() -> None:
    text = '"' + "[" * 100 + '\\"' + "{" * 100 + '"'
    assert decode(text.encode()) == "[" * 100 + '"' + "{" * 100


@pytest.mark.timeout(5)
@pytest.mark.parametrize("unit", [b'\\"', b'"', b'"\\', b"\\"])
def test_the_depth_count_is_linear_in_hostile_strings(unit: bytes) -> None:
    data = b'"' + unit * 500_000
    with pytest.raises(MalformedError):
        strictjson.decode(data, max_bytes=len(data), max_depth=16, where="x")


def test_length_is_checked_first() -> None:
    with pytest.raises(LimitExceededError) as caught:
        strictjson.decode(b"[1,2]", max_bytes=4, max_depth=16, where="x")
    assert caught.value.actual == "5 bytes"


@pytest.mark.parametrize(
    "value", [1.0, float("nan"), {"a": [1.5]}, 2**53, {1: 2}, "\ud800", b"x"]
)
def test_what_has_no_canonical_form_is_not_encoded(value: Any) -> None:
    with pytest.raises(MalformedError):
        strictjson.encode(value)
