"""Cuts a text into pieces of words, as llama.cpp does for BERT.

A piece that begins a word is written with U+2581 before it. The words of the text
are pieces themselves; any other is spelt in letters and endings.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable

CONTROL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Control tokens, with the ids 0 to 4."""

UNKNOWN, BEGIN, END = 1, 2, 3
WORD = "\u2581"
ENDINGS = ("s", "ed", "ing", "er", "ers", "ly", "es", "tion", "able", "ment", "less")
_PARTS = re.compile(
    rf"[{re.escape(string.punctuation)}]|[^\s{re.escape(string.punctuation)}]+"
)


def words_of(text: str) -> list[str]:
    """Return words and marks, in small letters and without accents."""
    plain = unicodedata.normalize("NFD", text.lower())
    return _PARTS.findall("".join(c for c in plain if not unicodedata.combining(c)))


def train_pieces(texts: Iterable[str], *, size: int) -> tuple[str, ...]:
    """Return a vocabulary: controls, characters, endings, the commonest words."""
    counted = Counter(word for text in texts for word in words_of(text))
    singles = string.ascii_lowercase + string.digits
    base = [
        *CONTROL,
        *(WORD + each for each in singles + string.punctuation),
        *singles,
        *(ending for ending in ENDINGS if len(ending) > 1),
    ]
    # Of equally common words the first of the alphabet comes first.
    common = sorted(counted, key=lambda word: (-counted[word], word))
    known = {piece.removeprefix(WORD) for piece in base if piece.startswith(WORD)}
    fresh = [WORD + w for w in common if w not in known and w.isascii()]
    return (*base, *fresh[: size - len(base)])


class Pieces:
    """Cuts texts by one vocabulary."""

    def __init__(self, vocabulary: tuple[str, ...]) -> None:
        self._ids = {piece: at for at, piece in enumerate(vocabulary)}
        self._longest = max(map(len, vocabulary))

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text between those that begin and end it."""
        inner = [token for word in words_of(text) for token in self._cut(WORD + word)]
        return [BEGIN, *inner, END]

    def _cut(self, word: str) -> list[int]:
        """Return the longest pieces from the left, or one unknown token."""
        found: list[int] = []
        while word:
            for length in range(min(len(word), self._longest), 0, -1):
                token = self._ids.get(word[:length])
                if token is not None:
                    found.append(token)
                    word = word[length:]
                    break
            else:
                return [UNKNOWN]
        return found
