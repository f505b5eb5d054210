"""Ends a batch that llama.cpp is computing, between two of its operations.

llama.cpp asks a callback between operations whether to go on. Hundreds of times a
batch that may not be Python; so it is libc's ``strlen`` on a text that is empty until
somebody interrupts: its length is the answer.

Source: ``llama_set_abort_callback`` and ``ggml_graph_compute`` (ggml-cpu.c).
"""

import ctypes

import llama_cpp.llama_cpp as native


class Interruption:
    """A flag that one context looks at while it computes on the CPU."""

    def __init__(self, handle: int) -> None:
        self._text = ctypes.create_string_buffer(2)
        length = ctypes.cast(ctypes.CDLL(None).strlen, native.ggml_abort_callback)
        native.llama_set_abort_callback(
            handle, length, ctypes.cast(self._text, ctypes.c_void_p)
        )

    def set(self) -> None:
        """End what is computed now, or else what is computed next."""
        self._text[0] = b"!"

    def clear(self) -> None:
        """Let the next batch be computed; called when one has ended."""
        self._text[0] = b"\0"
