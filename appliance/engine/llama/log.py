"""What llama.cpp says when it fails: its first error lines, bounded and printable."""

import ctypes
import sys

import llama_cpp.llama_cpp as native

LOG_LINES = 40
"""Error lines of llama.cpp that one process passes on to its standard error."""

LOG_LINE_BYTES = 300
"""Longest such line; the rest of it is cut off."""

_LEVEL_ERROR = 4

_INTERRUPTED = (
    b"ggml_backend_sched_graph_compute_async failed with error 1\n",
    b"failed to compute graph, compute status: 1\n",
    b"failed to decode, ret = 2\n",
)
"""How lines end about a batch that was interrupted, which is no failure.

Source: GGML_STATUS_ABORTED in ggml.h, and ``llama_decode``; see ``interruption.py``.
"""

_called: list[object] = []
"""The callback that llama.cpp has: it knows its address, and outlives every model."""


class Log:
    """Passes llama.cpp's first error lines on, and nothing else.

    Attributes:
        first: The first error line, or an empty string. It may quote the model
            file, so it is bounded and printable.
    """

    def __init__(self) -> None:
        self.first = ""
        self._left = LOG_LINES
        self._callback = native.llama_log_callback(self._write)
        native.llama_log_set(self._callback, ctypes.c_void_p(0))
        _called[:] = [self._callback]

    def _write(self, level: int, text: bytes, _data: object) -> None:
        if text.endswith(_INTERRUPTED):
            return
        if level == _LEVEL_ERROR and self._left > 0:
            self._left -= 1
            spelled = text[:LOG_LINE_BYTES].decode("utf-8", "replace").rstrip()
            line = "".join(char if char.isprintable() else "?" for char in spelled)
            self.first = self.first or line
            sys.stderr.write(f"llama.cpp: {line}\n")
