"""What a context takes, read from what llama.cpp logs while it makes one.

Second best: numbers are rounded to 0.01 MiB, and nothing tells whose memory it
is. So it is used where ``breakdown.py`` cannot be, and without a GPU only.

Source: src/llama-kv-cache.cpp, src/llama-memory-recurrent.cpp and
src/llama-context.cpp of the llama.cpp inside llama-cpp-python 0.3.36.
"""

import ctypes
import re
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import llama_cpp.llama_cpp as native

MAX_LINES = 4_096
"""Log lines that are kept; a context writes some twenty."""

_MIB = 2**20
_CACHE = re.compile(r"\bllama_\w+: size = +([0-9]+\.[0-9]+) MiB \(")
_STATE = re.compile(r"state buffer size = +([0-9]+\.[0-9]+) MiB")
_COMPUTE = re.compile(r"compute buffer size = +([0-9]+\.[0-9]+) MiB")


class LogLines:
    """Keeps what llama.cpp logs while it is open, and passes it on.

    Attributes:
        lines: What it logged, in order.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._listener = native.llama_log_callback(self._keep)
        self._before = native.llama_log_callback()
        self._data = ctypes.c_void_p()

    def __enter__(self) -> Self:
        native.llama_log_get(ctypes.byref(self._before), ctypes.byref(self._data))
        native.llama_log_set(self._listener, ctypes.c_void_p(0))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        native.llama_log_set(self._before, self._data)

    def _keep(self, level: int, text: bytes, _data: object) -> None:
        self._before(level, text, self._data)
        if len(self.lines) < MAX_LINES:
            self.lines.append(text.decode("utf-8", "replace"))


def cache_bytes(lines: Sequence[str]) -> int:
    """Return the size of the cache, as the lines tell it."""
    return _sum(lines, _CACHE) + _sum(lines, _STATE)


def compute_bytes(lines: Sequence[str]) -> int:
    """Return the size of the scratch room, as the lines tell it."""
    return _sum(lines, _COMPUTE)


def _sum(lines: Sequence[str], pattern: re.Pattern[str]) -> int:
    found = (match[1] for line in lines for match in pattern.finditer(line))
    return round(sum(float(number) for number in found) * _MIB)
