"""A ``llama_batch`` over numpy arrays of our own: filled without a loop over tokens.

Source: llama.h of the llama.cpp inside llama-cpp-python 0.3.36, ``llama_batch``.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as native
import numpy as np

from appliance.engine.scheduling.decoder import Slice
from appliance.errors import EngineUnavailableError


class Batch:
    """Room for ``size`` tokens, laid out anew for every step.

    Attributes:
        native: What ``llama_decode`` is given.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._sequences = np.zeros(size, np.int32)
        self._ones = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        first = self._sequences.ctypes.data
        self._pointers = (ctypes.c_void_p * size)(*range(first, first + 4 * size, 4))
        self.native = native.llama_batch(
            n_tokens=0,
            token=_pointer(self._tokens, native.llama_token),
            pos=_pointer(self._positions, native.llama_pos),
            n_seq_id=_pointer(self._ones, ctypes.c_int32),
            seq_id=ctypes.cast(
                self._pointers, ctypes.POINTER(ctypes.POINTER(native.llama_seq_id))
            ),
            logits=_pointer(self._wanted, ctypes.c_int8),
        )

    def fill(self, slices: Sequence[Slice]) -> list[int]:
        """Lay the slices out; return for each the index behind its last token.

        Raises:
            EngineUnavailableError: They hold more tokens than there is room for.
        """
        if sum(len(part.tokens) for part in slices) > self._size:
            raise EngineUnavailableError("a batch holds more tokens than allowed")
        ends: list[int] = []
        begin = 0
        self._wanted[:] = 0
        for part in slices:
            end = begin + len(part.tokens)
            self._tokens[begin:end] = part.tokens
            self._positions[begin:end] = np.arange(
                part.position, part.position + end - begin
            )
            self._sequences[begin:end] = part.sequence
            self._wanted[end - part.outputs : end] = 1
            ends.append(end)
            begin = end
        self.native.n_tokens = begin
        return ends


def _pointer(array: "np.ndarray[Any, Any]", kind: type) -> Any:  # noqa: ANN401  # ctypes pointer types are made at run time
    return array.ctypes.data_as(ctypes.POINTER(kind))
