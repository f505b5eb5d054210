"""Reads the parts of a GGUF header in order, never past a limit or the file.

Nothing is allocated on the word of the file: every length is compared with its
cap and with what is left of the header budget and of the file before a byte of
it is read. Values nobody asked for are read past in small pieces, not kept.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.gguf_types import (
    INTEGER_FORMATS,
    VALUE_SIZES,
    GgufLimits,
    ValueType,
)

PIECE_BYTES = 64 * 1024
"""Most that is read at once while skipping. Unit: bytes."""


class Cursor:
    """A position in the header, with what may still be read from there."""

    def __init__(self, file: BinaryIO, *, size_bytes: int, limits: GgufLimits) -> None:
        self.limits = limits
        self.position = 0
        self._file = file
        self._size_bytes = size_bytes

    def take(self, count: int, *, where: str) -> bytes:
        """Return the next ``count`` bytes.

        Raises:
            LimitExceededError: They lie beyond the largest header accepted.
            MalformedError: They lie beyond the end of the file.
        """
        self._reserve(count, where=where)
        data = self._file.read(count)
        if len(data) != count:
            raise MalformedError("the file ends early", where=where)
        return data

    def skip(self, count: int, *, where: str) -> None:
        """Read past ``count`` bytes. Raises as ``take`` does."""
        for _ in self._pieces(count, where=where):
            pass

    def integer(self, kind: ValueType, *, where: str) -> int:
        """Return the next whole number, packed as ``kind``."""
        packing = INTEGER_FORMATS[kind]
        number: int = struct.unpack(
            packing, self.take(struct.calcsize(packing), where=where)
        )[0]
        return number

    def uint32(self, *, where: str) -> int:
        """Return the next 32-bit unsigned number."""
        return self.integer(ValueType.UINT32, where=where)

    def uint64(self, *, where: str) -> int:
        """Return the next 64-bit unsigned number."""
        return self.integer(ValueType.UINT64, where=where)

    def count(self, *, most: int, where: str) -> int:
        """Return the next 64-bit count, which is at most ``most``.

        Raises:
            LimitExceededError: The file says more.
        """
        number = self.uint64(where=where)
        if number > most:
            raise LimitExceededError(
                "too many or too long",
                where=where,
                expected=f"at most {most}",
                actual=str(number),
            )
        return number

    def string(self, *, most: int, where: str) -> bytes:
        """Return the next string of at most ``most`` bytes, not decoded."""
        return self.take(self.count(most=most, where=where), where=where)

    def value_type(self, *, where: str) -> ValueType:
        """Return the next value type.

        Raises:
            MalformedError: There is no such type.
        """
        number = self.uint32(where=where)
        try:
            return ValueType(number)
        except ValueError as error:
            raise MalformedError(
                "unknown value type", where=where, actual=str(number)
            ) from error

    def skip_scalar(self, kind: ValueType, *, where: str) -> None:
        """Read past one value that is neither string nor array.

        Raises:
            MalformedError: A truth value that is neither 0 nor 1.
        """
        if kind is ValueType.BOOL:
            self._skip_truths(1, where=where)
        else:
            self.skip(VALUE_SIZES[kind], where=where)

    def skip_array(self, *, where: str) -> tuple[ValueType, int]:
        """Read past an array and return the type and number of its elements.

        Raises:
            MalformedError: An array of arrays, which no reader of GGUF takes.
        """
        kind = self.value_type(where=where)
        if kind is ValueType.ARRAY:
            raise MalformedError("an array of arrays", where=where)
        count = self.count(most=self.limits.array_elements, where=where)
        if kind is ValueType.STRING:
            for _ in range(count):
                most = self.limits.string_bytes
                self.skip(self.count(most=most, where=where), where=where)
        elif kind is ValueType.BOOL:
            self._skip_truths(count, where=where)
        else:
            self.skip(count * VALUE_SIZES[kind], where=where)
        return kind, count

    def _skip_truths(self, count: int, *, where: str) -> None:
        for piece in self._pieces(count, where=where):
            other = piece.translate(None, b"\x00\x01")
            if other:
                raise MalformedError(
                    "not a truth value", where=where, actual=f"0x{other[0]:02x}"
                )

    def _pieces(self, count: int, *, where: str) -> Iterator[bytes]:
        self._reserve(count, where=where)
        while count > 0:
            piece = self._file.read(min(count, PIECE_BYTES))
            if not piece:
                raise MalformedError("the file ends early", where=where)
            count -= len(piece)
            yield piece

    def _reserve(self, count: int, *, where: str) -> None:
        end = self.position + count
        if end > self._size_bytes:
            raise MalformedError(
                "the file ends early",
                where=where,
                expected=f"{end} bytes",
                actual=str(self._size_bytes),
            )
        if end > self.limits.header_bytes:
            raise LimitExceededError(
                "the header is too long",
                where=where,
                expected=f"at most {self.limits.header_bytes} bytes",
                actual=f"{end} bytes or more",
            )
        self.position = end
