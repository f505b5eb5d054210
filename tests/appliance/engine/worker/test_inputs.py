"""Texts become tokens inside what the vocabulary puts around them."""

from array import array

import pytest

from appliance.engine.embedding import Inputs
from appliance.engine.worker.inputs import MAX_PIECE, InputReader
from appliance.engine.worker.runs import MAX_RUN
from appliance.errors import RequestRefusedError


class Letters:
    """One token a character; 1 before a text and 2 after it."""

    def __init__(self, *, frames: bool = True) -> None:
        self.longest = 0
        self.tokenized = 0
        self._frames = frames

    @property
    def vocabulary_size(self) -> int:
        return 200

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        assert not special
        self.longest = max(self.longest, len(text))
        self.tokenized += len(text)
        return [ord(letter) for letter in text]

    def framed(self, text: str) -> list[int]:
        inner = [ord(letter) for letter in text]
        return [1, *inner, 2] if self._frames else inner


def read(
    inputs: Inputs, *, most: int = 100, vocabulary: Letters | None = None
) -> list[list[int]]:
    reader = InputReader(vocabulary or Letters(), most_tokens=most)
    return [list(tokens) for tokens in reader.read(inputs)]


def test_every_text_is_framed() -> None:
    assert read(Inputs(texts=("ab", " "))) == [[1, 97, 98, 2], [1, 32, 2]]


def test_a_vocabulary_without_a_frame_adds_nothing() -> None:
    assert read(Inputs(texts=("ab",)), vocabulary=Letters(frames=False)) == [[97, 98]]


def test_tokens_are_taken_as_they_are() -> None:
    data = array("i", [5, 7, 199]).tobytes()
    assert read(Inputs(tokens=(data,))) == [[5, 7, 199]]


def test_an_unknown_token_is_refused() -> None:
    data = array("i", [5, 200]).tobytes()
    with pytest.raises(RequestRefusedError) as caught:
        read(Inputs(tokens=(data,)))
    assert caught.value.param == "input"


@pytest.mark.parametrize("text", ["word " * 30_000, "x" * 150_000, " " * 150_000])
def test_a_long_text_is_tokenized_in_pieces_and_whole(text: str) -> None:
    vocabulary = Letters()
    (tokens,) = read(Inputs(texts=(text,)), most=10**9, vocabulary=vocabulary)
    assert bytes(tokens[1:-1]).decode() == text
    assert vocabulary.longest <= MAX_PIECE
    if " " not in text or not text.strip():
        assert vocabulary.longest <= MAX_RUN


def test_no_more_of_a_text_is_read_than_it_takes_to_see_that_it_is_too_long() -> None:
    vocabulary = Letters()
    (tokens,) = read(
        Inputs(texts=("word " * 200_000,)), most=100, vocabulary=vocabulary
    )
    assert len(tokens) > 100
    assert vocabulary.tokenized <= MAX_PIECE + 1
