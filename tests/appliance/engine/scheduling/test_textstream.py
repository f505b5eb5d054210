"""Text is shown only when it is whole characters and certainly not a stop string."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.scheduling.textstream import TextStream


def shown(stream: TextStream, pieces: list[bytes]) -> list[str]:
    return [stream.feed(piece) for piece in pieces] + [stream.flush()]


def test_character_split_over_two_pieces_is_shown_once_whole() -> None:
    assert shown(TextStream(), [b"\xe0\xa4", b"\xa8!"]) == ["", "न!", ""]


def test_bytes_that_never_become_a_character_are_shown_as_replacement() -> None:
    assert shown(TextStream(), [b"a\xff", b"\xe0\xa4"]) == ["a\ufffd", "", "\ufffd"]


def test_stop_string_over_three_pieces_is_never_shown() -> None:
    stream = TextStream(("STOP",))
    assert shown(stream, [b"go S", b"TO", b"P on"]) == ["go ", "", "", ""]
    assert stream.stopped


def test_beginning_of_a_stop_string_is_shown_when_it_turns_out_to_be_none() -> None:
    stream = TextStream(("STOP",))
    assert shown(stream, [b"ST", b"ART", b"ST"]) == ["", "START", "", "ST"]
    assert not stream.stopped


def test_stop_string_that_overlaps_itself_is_found() -> None:
    stream = TextStream(("aab",))
    assert "".join(shown(stream, [b"a", b"a", b"a", b"b"])) == "a"


def test_earliest_of_several_stop_strings_ends_the_text() -> None:
    stream = TextStream(("late", "two"))
    assert "".join(shown(stream, [b"one two late"])) == "one "


def test_empty_stop_string_stops_nothing() -> None:
    assert "".join(shown(TextStream(("",)), [b"all"])) == "all"


def test_stop_string_inside_the_final_flush_is_found() -> None:
    stream = TextStream(("\ufffd",))
    assert "".join(shown(stream, [b"a\xe0"])) == "a"
    assert stream.stopped


@given(
    text=st.text(alphabet="abनé😀", max_size=30),
    stop=st.lists(st.text(alphabet="abन", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 120), max_size=20),
)
def test_any_cutting_of_the_bytes_shows_the_text_before_the_first_stop(
    text: str, stop: list[str], cuts: list[int]
) -> None:
    data = text.encode()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    stream = TextStream(tuple(stop))
    places = [text.find(word) for word in stop if word in text]
    expected = text[: min(places)] if places else text
    if len(stop) > 1:  # a longer stop string may lose to a shorter one that ends first
        got = "".join(shown(stream, pieces))
        assert not any(word in got for word in stop)
        assert text.startswith(got)
        assert stream.stopped == bool(places)
    else:
        assert "".join(shown(stream, pieces)) == expected
