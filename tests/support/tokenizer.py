"""A small, real byte-level BPE tokenizer, trained the same way every time.

The alphabet is GPT-2's (one printable character per byte), so every text can be
encoded; the merges are learned from the text below, so words of more than one
byte exist and a token can end in the middle of a UTF-8 character.
"""

import functools
import itertools
import re
from collections import Counter
from dataclasses import dataclass

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Control tokens, with the ids 0, 1 and 2."""

CHAT_TEMPLATE = (
    "{%- for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] or '' }}"
    "<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML, as the families of models in use write it."""

TEXT = """
A sally port is a fortified entry with two doors that are never open together.
The operator carries a signed bundle from the connected machine to the isolated
host. The host checks every signature, copies the model while hashing it, and
keeps nothing that was not signed. The team asks questions through an interface
it knows; the auditor reads the ledger and trusts only what can be proven.
What is the capital of the region? Who may ask, and who may answer? Every
question has a record, every record has a place in the tree, and the tree has a
root that somebody outside the host already holds. user assistant system
"""
"""What the merges are learned from; any English prose would do."""

_WORD = re.compile(r" ?[A-Za-z]+| ?[^\sA-Za-z]+|\s+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokenizer:
    """The vocabulary and merges as a GGUF header carries them."""

    tokens: tuple[str, ...]
    merges: tuple[str, ...]


def byte_alphabet() -> tuple[str, ...]:
    """Return GPT-2's character for each byte, in the order of the bytes."""
    kept = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(byte) if byte in kept else chr(next(spare)) for byte in range(256))


@functools.cache
def train(merge_count: int = 192) -> Tokenizer:
    """Return the tokenizer with ``merge_count`` merges learned from ``TEXT``.

    Ties are broken by spelling, so that the result never varies.
    """
    alphabet = byte_alphabet()
    words = Counter(
        tuple(alphabet[byte] for byte in word.encode()) for word in _WORD.findall(TEXT)
    )
    tokens = [*SPECIAL_TOKENS, *alphabet]
    merges: list[str] = []
    for _ in range(merge_count):
        pairs = _count_pairs(words)
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(f"{left} {right}")
        if left + right not in tokens:
            tokens.append(left + right)
        words = Counter(
            {_merge(word, left, right): count for word, count in words.items()}
        )
    return Tokenizer(tokens=tuple(tokens), merges=tuple(merges))


def _count_pairs(words: Counter[tuple[str, ...]]) -> Counter[tuple[str, str]]:
    pairs: Counter[tuple[str, str]] = Counter()
    for word, count in words.items():
        for pair in itertools.pairwise(word):
            pairs[pair] += count
    return pairs


def _merge(word: tuple[str, ...], left: str, right: str) -> tuple[str, ...]:
    merged: list[str] = []
    position = 0
    while position < len(word):
        if word[position : position + 2] == (left, right):
            merged.append(left + right)
            position += 2
        else:
            merged.append(word[position])
            position += 1
    return tuple(merged)
