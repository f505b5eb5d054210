"""Turns what is to be embedded into tokens, framed as the model was trained.

A vocabulary says what stands before and after a text (``[CLS]`` and ``[SEP]``,
say). A text cannot spell either: control tokens are not seen in it. Nobody else is
served while texts are counted, so whoever hears of each may stop the work.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Protocol

from appliance.engine.embedding import Inputs
from appliance.engine.worker.runs import NEVER, cut_long_runs
from appliance.errors import RequestRefusedError

MAX_PIECE = 32_768
"""Longest part of a text that is counted at once. Unit: characters.

Longer ones are cut before a space. Few can be embedded; the others are known to be
too long after their first parts.
"""


class Vocabulary(Protocol):
    """What this module needs of a model; see ``llama.Model``."""

    @property
    def vocabulary_size(self) -> int:
        """Tokens in the vocabulary."""

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Return the tokens of ``text``; control tokens are seen if ``special``."""

    def framed(self, text: str) -> list[int]:
        """Return the tokens of ``text`` and what stands before and after a text."""


class InputReader:
    """One model's way from inputs to tokens.

    ``most_tokens`` is what one text may have: of a longer one only so many tokens
    are found that it is seen to be longer.
    """

    def __init__(self, vocabulary: Vocabulary, *, most_tokens: int) -> None:
        self._vocabulary = vocabulary
        self._most_tokens = most_tokens
        self._before, self._after = _frame(vocabulary)

    def read(self, inputs: Inputs) -> "Iterator[array[int]]":
        """Yield the tokens of each input, in order.

        Raises:
            RequestRefusedError: A token is none of this vocabulary's.
        """
        for text in inputs.texts:
            yield self._text(text)
        for index, data in enumerate(inputs.tokens):
            tokens = array("i", data)
            if max(tokens, default=0) >= self._vocabulary.vocabulary_size:
                raise RequestRefusedError(
                    f"input {index} has a token that this model does not know",
                    param="input",
                )
            yield tokens

    def _text(self, text: str) -> "array[int]":
        tokens = array("i", self._before)
        for part in _parts(text):
            for piece in cut_long_runs(part, whole=NEVER):
                tokens.extend(self._vocabulary.tokenize(piece, special=False))
            if len(tokens) + len(self._after) > self._most_tokens:
                break
        tokens.extend(self._after)
        return tokens


def _parts(text: str) -> Iterator[str]:
    """Yield ``text`` in parts of bounded length, cut before a space if there is one."""
    start = 0
    while len(text) - start > MAX_PIECE:
        cut = text.rfind(" ", start + 1, start + MAX_PIECE)
        end = cut if cut > 0 else start + MAX_PIECE
        yield text[start:end]
        start = end
    yield text[start:]


def _frame(vocabulary: Vocabulary) -> tuple[Sequence[int], Sequence[int]]:
    """Return the tokens before and after a text."""
    bare, framed = vocabulary.tokenize("a", special=False), vocabulary.framed("a")
    for start in range(len(framed) - len(bare) + 1):
        if framed[start : start + len(bare)] == bare:
            return framed[:start], framed[start + len(bare) :]
    return (), ()
