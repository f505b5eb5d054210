"""Builds GGUF files byte by byte, right or wrong, for readers that must refuse.

Nothing here checks anything: whatever is asked for is written.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bundleformat.gguf_types import INTEGER_FORMATS, ValueType

ALIGNMENT = 32
"""Alignment unless a file is told otherwise."""


def string(text: str | bytes) -> bytes:
    """Return a string as the format writes it."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One metadata pair: the key, the number of its type and the packed value."""

    key: str | bytes
    kind: int
    value: bytes

    def packed(self) -> bytes:
        """Return the pair as the format writes it."""
        return string(self.key) + struct.pack("<I", self.kind) + self.value


def number(key: str, value: int, kind: ValueType = ValueType.UINT32) -> Pair:
    """Return a pair with a whole number."""
    return Pair(key=key, kind=kind, value=struct.pack(INTEGER_FORMATS[kind], value))


def text(key: str, value: str | bytes) -> Pair:
    """Return a pair with a string."""
    return Pair(key=key, kind=ValueType.STRING, value=string(value))


def array(
    key: str, kind: int, elements: Sequence[bytes], *, length: int | None = None
) -> Pair:
    """Return a pair with an array, which may lie about its ``length``."""
    head = struct.pack("<IQ", kind, len(elements) if length is None else length)
    return Pair(key=key, kind=ValueType.ARRAY, value=head + b"".join(elements))


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One entry of the tensor list."""

    name: str | bytes = "token_embd.weight"
    shape: tuple[int, ...] = (8, 2)
    kind: int = 0
    offset: int = 0
    dimensions: int | None = None

    def packed(self) -> bytes:
        """Return the entry as the format writes it."""
        count = len(self.shape) if self.dimensions is None else self.dimensions
        return b"".join(
            (
                string(self.name),
                struct.pack("<I", count),
                *(struct.pack("<Q", size) for size in self.shape),
                struct.pack("<IQ", self.kind, self.offset),
            )
        )


def ordinary_pairs() -> tuple[Pair, ...]:
    """Return the metadata of a small model that is in order."""
    return (
        text("general.architecture", "llama"),
        text("general.name", "Tiny"),
        number("llama.context_length", 64),
        number("llama.block_count", 1),
        number("llama.embedding_length", 8),
        text("tokenizer.ggml.model", "gpt2"),
        array(
            "tokenizer.ggml.tokens", ValueType.STRING, (string("a"), string("<|end|>"))
        ),
        array(
            "tokenizer.ggml.token_type",
            ValueType.INT32,
            (struct.pack("<i", 1), struct.pack("<i", 3)),
        ),
        text("tokenizer.chat_template", "{{ messages[0]['content'] }}"),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RawGguf:
    """A whole file in parts, each of which may be replaced by something wrong."""

    magic: bytes = b"GGUF"
    version: int = 3
    pairs: tuple[Pair, ...] = field(default_factory=ordinary_pairs)
    tensors: tuple[Tensor, ...] = (Tensor(),)
    pair_count: int | None = None
    tensor_count: int | None = None
    data: bytes = bytes(64)

    def header(self) -> bytes:
        """Return everything before the padding and the tensor data."""
        pair_count = len(self.pairs) if self.pair_count is None else self.pair_count
        tensor_count = (
            len(self.tensors) if self.tensor_count is None else self.tensor_count
        )
        return b"".join(
            (
                self.magic,
                struct.pack("<IQQ", self.version, tensor_count, pair_count),
                *(pair.packed() for pair in self.pairs),
                *(tensor.packed() for tensor in self.tensors),
            )
        )

    def packed(self) -> bytes:
        """Return the whole file."""
        header = self.header()
        return header + bytes(-len(header) % ALIGNMENT) + self.data

    def having(self, *pairs: Pair) -> "RawGguf":
        """Return this file with pairs replaced, or added at the end."""
        new = {pair.key: pair for pair in pairs}
        kept = tuple(new.pop(pair.key, pair) for pair in self.pairs)
        return replace(self, pairs=(*kept, *new.values()))

    def lacking(self, key: str) -> "RawGguf":
        """Return this file without one key."""
        return replace(
            self, pairs=tuple(pair for pair in self.pairs if pair.key != key)
        )
