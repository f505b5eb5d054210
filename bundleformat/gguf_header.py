"""The first part of a GGUF file: prologue and metadata pairs.

Keeps whole numbers, the few strings that are asked for later, and of arrays
only their type and length. Source: ggml docs/gguf.md (v3), "File Structure".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.gguf_cursor import Cursor
from bundleformat.gguf_types import INTEGER_FORMATS, ValueType

MAGIC: Final = b"GGUF"
"""First bytes of every file."""

VERSIONS: Final = (2, 3)
"""Versions accepted; both have this layout, in little-endian order."""

CHAT_TEMPLATE: Final = "tokenizer.chat_template"
"""The key whose string has a cap of its own."""

KEPT_STRINGS: Final = frozenset(
    {
        "general.architecture",
        "general.license",
        "general.name",
        "general.type",
        "tokenizer.ggml.model",
        CHAT_TEMPLATE,
    }
)
"""Strings kept; all others are read past."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayShape:
    """Type and number of the elements of an array that was read past."""

    kind: ValueType
    length: int


Value = int | bytes | ArrayShape | None
"""What is kept of a value; None for those nobody asks for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """Prologue and metadata, with typed access to what was kept."""

    version: int
    tensor_count: int
    values: Mapping[str, tuple[ValueType, Value]]

    def has(self, key: str) -> bool:
        """Return whether the file gives ``key``, of whatever type."""
        return key in self.values

    def has_number(self, key: str) -> bool:
        """Return whether the file gives ``key`` as a single whole number."""
        return isinstance(self.values.get(key, (None, None))[1], int)

    def uint32(self, key: str, *, least: int, most: int) -> int:
        """Return the number at ``key``, which must be there and within bounds.

        Raises:
            MalformedError: Absent, or of another type than llama.cpp reads.
            LimitExceededError: Out of bounds.
        """
        kind, number = self.values.get(key, (None, None))
        if kind is not ValueType.UINT32 or not isinstance(number, int):
            raise self._unlike(key, "a 32-bit unsigned number")
        if not least <= number <= most:
            raise LimitExceededError(
                "out of bounds",
                where=key,
                expected=f"{least} to {most}",
                actual=str(number),
            )
        return number

    def whole(self, key: str, *, kind: ValueType) -> int:
        """Return the whole number at ``key``, which must be there as ``kind``.

        Raises:
            MalformedError: Absent, or of another type than llama.cpp reads.
        """
        found, number = self.values.get(key, (None, None))
        if found is not kind or not isinstance(number, int):
            raise self._unlike(key, f"a number of type {kind.name}")
        return number

    def text(self, key: str, *, default: str | None = None) -> str:
        """Return the string at ``key``, which must be one of ``KEPT_STRINGS``.

        Raises:
            MalformedError: Absent without a default, not a string, not UTF-8.
        """
        if default is not None and not self.has(key):
            return default
        _, raw = self.values.get(key, (None, None))
        if not isinstance(raw, bytes):
            raise self._unlike(key, "a string")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedError("not UTF-8", where=key) from error

    def array_length(self, key: str, *, kind: ValueType) -> int:
        """Return the length of the array at ``key``, whose elements are ``kind``.

        Raises:
            MalformedError: Absent, or another type.
        """
        _, shape = self.values.get(key, (None, None))
        if not isinstance(shape, ArrayShape) or shape.kind is not kind:
            raise self._unlike(key, f"an array of {kind.name}")
        return shape.length

    def _unlike(self, key: str, wanted: str) -> MalformedError:
        kind, _ = self.values.get(key, (None, None))
        return MalformedError(
            "missing" if kind is None else "of another type",
            where=key,
            expected=wanted,
            actual="" if kind is None else kind.name,
        )


def read_header(cursor: Cursor, *, least_tensors: int = 1) -> Header:
    """Return the prologue and metadata at the beginning of a file.

    Only the first part of a split model may hold no tensors.

    Raises:
        MalformedError: Not GGUF 2 or 3, or a pair that does not follow it.
        LimitExceededError: A count or length above its cap.
    """
    if cursor.take(len(MAGIC), where="magic") != MAGIC:
        raise MalformedError("not a GGUF file", where="magic")
    version = cursor.uint32(where="version")
    if version not in VERSIONS:
        raise MalformedError(
            "unknown GGUF version",
            where="version",
            expected="2 or 3",
            actual=str(version),
        )
    tensor_count = cursor.count(most=cursor.limits.tensors, where="tensor count")
    if tensor_count < least_tensors:
        raise MalformedError("no tensors", where="tensor count")
    return Header(
        version=version, tensor_count=tensor_count, values=_read_pairs(cursor)
    )


def _read_pairs(cursor: Cursor) -> Mapping[str, tuple[ValueType, Value]]:
    values: dict[str, tuple[ValueType, Value]] = {}
    for index in range(cursor.count(most=cursor.limits.pairs, where="pair count")):
        key = _read_key(cursor, where=f"key {index}")
        if key in values:
            raise MalformedError("given twice", where=key)
        values[key] = _read_value(cursor, key=key)
    return values


def _read_key(cursor: Cursor, *, where: str) -> str:
    raw = cursor.string(most=cursor.limits.key_bytes, where=where)
    # Graphic ASCII only: a key goes into messages that people read.
    if not raw or any(not 0x21 <= byte <= 0x7E for byte in raw):
        raise MalformedError("not a metadata key", where=where, actual=repr(raw))
    return raw.decode("ascii")


def _read_value(cursor: Cursor, *, key: str) -> tuple[ValueType, Value]:
    kind = cursor.value_type(where=key)
    if kind is ValueType.ARRAY:
        element_kind, length = cursor.skip_array(where=key)
        return kind, ArrayShape(kind=element_kind, length=length)
    if kind is ValueType.STRING:
        return kind, _read_string(cursor, key=key)
    if kind in INTEGER_FORMATS:
        return kind, cursor.integer(kind, where=key)
    cursor.skip_scalar(kind, where=key)
    return kind, None


def _read_string(cursor: Cursor, *, key: str) -> bytes | None:
    limits = cursor.limits
    template = key == CHAT_TEMPLATE
    most = limits.chat_template_bytes if template else limits.string_bytes
    length = cursor.count(most=most, where=key)
    if key in KEPT_STRINGS:
        return cursor.take(length, where=key)
    cursor.skip(length, where=key)
    return None
