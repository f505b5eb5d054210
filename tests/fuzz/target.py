"""What a fuzz target is, and which outcomes of one are in order.

A target is a reader of bytes from outside. It may return a value or refuse; every
other exception is a bug, and so are a message that a terminal would not print as it
is, and an answer that takes longer than a person waits.
"""

import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bundleformat.errors import RefusalError

MAX_CPU_S: Final = 4.0
"""Longest that any input may take, in seconds of this process's processor time."""

_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A reader that is fuzzed.

    Attributes:
        name: What it is called on the command line.
        read: Reads an input; returns, or refuses.
        seeds: Gives inputs to begin with, some taken and some refused.
        mend: Returns the input with what a reader checks first put right, such as
            a checksum, so that what lies behind it is reached as well.
    """

    name: str
    read: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    mend: Callable[[bytes], bytes] | None = None

    def try_both(self, data: bytes) -> None:
        """Read ``data`` as it is and mended; anything wrong is raised."""
        self.refusal(data)
        if self.mend is not None:
            mended = self.mend(data)
            if mended != data:
                self.refusal(mended)

    def refusal(self, data: bytes) -> RefusalError | None:
        """Return why ``data`` is refused, or None if it is taken.

        Raises:
            AssertionError: It took too long, or the message is not printable.
            Exception: Whatever a reader may not raise.
        """
        begin = time.process_time()
        try:
            self.read(data)
        except RefusalError as error:
            assert_printable(error)
            return error
        finally:
            spent_s = time.process_time() - begin
            if spent_s > MAX_CPU_S:
                raise AssertionError(f"{self.name} took {spent_s:.1f} s")
        return None


def assert_printable(error: RefusalError) -> None:
    """Check that no byte of the input reaches a terminal as anything but a sign."""
    for field in (error.problem, error.where, error.expected, error.actual, error.hint):
        assert field.isprintable(), ascii(field)


def pack(*parts: bytes) -> bytes:
    """Return several inputs as one."""
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def unpack(data: bytes, *, most: int) -> list[bytes]:
    """Return the inputs in ``data``, whatever that is: one at least."""
    parts: list[bytes] = []
    while len(data) >= _LENGTH.size and len(parts) < most:
        (length,) = _LENGTH.unpack(data[: _LENGTH.size])
        end = _LENGTH.size + length
        parts.append(data[_LENGTH.size : end])
        data = data[end:]
    return parts or [data]
