"""Reads the tokenizer of a GGUF: half a million strings in a second.

The ``gguf`` package makes arrays of every string, which takes gigabytes and minutes
for a large vocabulary. Only for files that a test trusts: nothing is checked here.
"""

import functools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFValueType as Kind

_PREFIX = "tokenizer."

_SCALARS = {
    Kind.UINT8: "B",
    Kind.INT8: "b",
    Kind.UINT16: "H",
    Kind.INT16: "h",
    Kind.UINT32: "I",
    Kind.INT32: "i",
    Kind.FLOAT32: "f",
    Kind.BOOL: "?",
    Kind.UINT64: "Q",
    Kind.INT64: "q",
    Kind.FLOAT64: "d",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """A value and its type, with the type of the elements if it is an array."""

    value: Any
    kind: Kind
    element: Kind | None = None


@functools.cache
def tokenizer_keys(path: Path) -> dict[str, Value]:
    """Return every key of the tokenizer in ``path``."""
    reader = _Reader(path.read_bytes())
    _, count = reader.take("<QQ", start=8)
    pairs = {}
    for _ in range(count):
        name, value = reader.string(), reader.value()
        if name.startswith(_PREFIX):
            pairs[name] = value
    return pairs


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, layout: str, *, start: int | None = None) -> tuple[Any, ...]:
        begin = self._at if start is None else start
        self._at = begin + struct.calcsize(layout)
        return struct.unpack_from(layout, self._data, begin)

    def string(self) -> str:
        (length,) = self.take("<Q")
        begin = self._at
        self._at += length
        return self._data[begin : self._at].decode("utf-8")

    def value(self) -> Value:
        kind = Kind(self.take("<I")[0])
        if kind is not Kind.ARRAY:
            return Value(value=self._one(kind), kind=kind)
        element, count = self.take("<IQ")
        if Kind(element) is Kind.STRING:
            values: list[Any] = [self.string() for _ in range(count)]
        else:
            values = list(self.take(f"<{count}{_SCALARS[Kind(element)]}"))
        return Value(value=values, kind=kind, element=Kind(element))

    def _one(self, kind: Kind) -> Any:
        if kind is Kind.STRING:
            return self.string()
        return self.take(f"<{_SCALARS[kind]}")[0]
