"""A small WordPiece vocabulary as a BERT model's GGUF carries it.

A piece that begins a word is written with U+2581 before it, and one that goes on
has nothing, where the original has ``##``. Every ASCII letter, digit and mark can
begin a word and go on in one, so only other scripts are unknown to it.
"""

import functools
import re
import string

from tests.support.tokenizer import TEXT

SPECIAL_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Control tokens, with the ids 0 to 4."""

_WORD_BEGIN = "\u2581"


@functools.cache
def word_pieces() -> tuple[str, ...]:
    """Return the vocabulary: controls, single characters, the words of ``TEXT``."""
    letters = string.ascii_lowercase + string.digits
    marks = string.punctuation
    words = sorted(set(re.findall(r"[a-z]{2,}", TEXT.lower())))
    return (
        *SPECIAL_PIECES,
        *(_WORD_BEGIN + each for each in letters + marks),
        *letters,
        *(_WORD_BEGIN + word for word in words),
    )
