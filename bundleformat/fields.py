"""Reads the fields of a decoded JSON object, and says which one is wrong.

Each reader names the key path, so that an error reads
``artifacts[0].size_bytes: not an integer``. A key that nobody read is an error:
a field this version does not know could change the meaning of the others.
"""

from collections.abc import Iterator
from typing import Any

from bundleformat.errors import LimitExceededError, MalformedError


class Fields:
    """One JSON object whose fields are read by name, each once."""

    def __init__(self, value: Any, *, where: str) -> None:  # noqa: ANN401 - any JSON value
        if not isinstance(value, dict):
            raise MalformedError("not an object", where=where)
        self._unread: dict[str, Any] = dict(value)
        self._prefix = where

    def place(self, key: str) -> str:
        """Return the key path of field ``key``."""
        return f"{self._prefix}.{key}" if self._prefix else key

    def has(self, key: str) -> bool:
        """Return whether the field is there and was not read yet."""
        return key in self._unread

    def text(self, key: str, *, max_characters: int) -> str:
        """Return a text for people or for a stricter parser.

        Raises:
            MalformedError: Absent, no text, empty, or with unprintable characters.
            LimitExceededError: Longer than ``max_characters``.
        """
        value = self._take(key)
        if not isinstance(value, str) or not value or not value.isprintable():
            raise MalformedError("not a printable text", where=self.place(key))
        self._check_most(len(value), max_characters, where=self.place(key))
        return value

    def integer(self, key: str, *, minimum: int, maximum: int) -> int:
        """Return an integer within its limits.

        Raises:
            MalformedError: Absent, no integer (``true`` is none), or too small.
            LimitExceededError: Above ``maximum``.
        """
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise MalformedError("not an integer", where=self.place(key))
        if value < minimum:
            raise MalformedError(
                "too small",
                where=self.place(key),
                expected=f"at least {minimum}",
                actual=str(value),
            )
        self._check_most(value, maximum, where=self.place(key))
        return value

    def items(self, key: str, *, max_items: int) -> Iterator[tuple[Any, str]]:
        """Return the items of a list, each with its key path.

        Raises:
            MalformedError: Absent, or no list.
            LimitExceededError: More than ``max_items``; none was looked at.
        """
        value = self._take(key)
        if not isinstance(value, list):
            raise MalformedError("not a list", where=self.place(key))
        self._check_most(len(value), max_items, where=self.place(key))
        return ((item, f"{self.place(key)}[{i}]") for i, item in enumerate(value))

    def nested(self, key: str) -> "Fields":
        """Return the object in field ``key``.

        Raises:
            MalformedError: Absent, or no object.
        """
        return Fields(self._take(key), where=self.place(key))

    def finish(self) -> None:
        """Check that every field was read.

        Raises:
            MalformedError: A field this version does not know.
        """
        for key in sorted(self._unread):
            raise MalformedError("unknown field", where=self.place(ascii(key)[1:-1]))

    def _take(self, key: str) -> Any:  # noqa: ANN401 - any JSON value
        if key not in self._unread:
            raise MalformedError("missing field", where=self.place(key))
        return self._unread.pop(key)

    @staticmethod
    def _check_most(value: int, maximum: int, *, where: str) -> None:
        if value > maximum:
            raise LimitExceededError(
                "above its limit",
                where=where,
                expected=f"at most {maximum}",
                actual=str(value),
            )
