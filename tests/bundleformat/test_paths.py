import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundleformat.errors import MalformedError
from bundleformat.paths import parse_name, parse_path, parse_region


@pytest.mark.parametrize(
    "text",
    ["models/a.gguf", "c/ab/" + "0" * 64, "a", "A-b_c.d", "metadata/1.root.json"],
)
def test_plain_relative_paths_are_accepted(text: str) -> None:
    assert parse_path(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/etc/passwd",
        "..",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        "./a",
        ".hidden",
        "a.",
        "a/b.",
        "-option",
        "a\\b",
        "a b",
        "a\x00b",
        "a\nb",
        "caf\u00e9",
        "cafe\u0301",
        "c:/x",
        "con",
        "Aux.txt",
        "models/lpt1.gguf",
        "a" * 201,
        "/".join("a" * 9),
    ],
)
def test_unsafe_paths_are_refused(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_path(text, where="here")
    assert caught.value.where == "here"


@given(st.text(max_size=30))
def test_an_accepted_path_stays_below_its_folder(text: str) -> None:
    try:
        path = parse_path(text)
    except MalformedError:
        return
    assert path.isascii()
    assert not path.startswith("/")
    assert ".." not in path.split("/")


@pytest.mark.parametrize("text", ["", "A", "a/b", ".a", "-a", "a" * 65, "a b", "nul"])
def test_names_are_short_lower_case_tokens(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_name(text)


@pytest.mark.parametrize("text", ["", "IN", "in_blr", "-in", "a" * 33, "in blr"])
def test_regions_are_short_lower_case_tokens(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_region(text)


def test_names_and_regions_are_returned_unchanged() -> None:
    assert parse_name("llama-3.2_3b") == "llama-3.2_3b"
    assert parse_region("in-blr") == "in-blr"
