"""The likeliest tokens of one output, found without sorting the vocabulary.

The largest of every 64 logits tell a bound that as many tokens reach as are wanted;
only those that reach it are looked at again. So a vocabulary of 150,000 is read twice,
where llama.cpp's ``top_k`` writes it down as structures and sorts a part of it.
"""

import ctypes
from typing import Any

import llama_cpp.llama_cpp as native
import numpy as np
import numpy.typing as npt

GROUP = 64
"""Logits of which the largest is looked at first."""

Logits = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.intp]

_ENTRY = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
"""``llama_token_data`` of llama.h."""


def logits_at(context: int, output: int, vocabulary_size: int) -> Logits:
    """Return the logits at ``output``; they are llama.cpp's own until it decodes."""
    pointer = native.llama_get_logits_ith(context, output)
    numbers = (ctypes.c_float * vocabulary_size).from_address(
        ctypes.addressof(pointer.contents)
    )
    return np.frombuffer(memoryview(numbers), np.float32)


def likeliest(logits: Logits, count: int) -> Tokens:
    """Return the ``count`` tokens with the largest logits, and those as large.

    In the order of their numbers; all there are if there are not more.
    """
    groups = len(logits) // GROUP
    if groups <= count:
        return np.arange(len(logits))
    largest = logits[: groups * GROUP].reshape(GROUP, groups).max(axis=0)
    found: Tokens = np.flatnonzero(logits >= np.partition(largest, -count)[-count])
    values = logits[found]
    among: Tokens = found[values >= np.partition(values, -count)[-count]]
    return among


def draw(chain: Any, logits: Logits, tokens: Tokens) -> int:  # noqa: ANN401  # a pointer of llama.cpp
    """Return what ``chain`` chooses among these tokens, and have it remember that."""
    entries = np.zeros(len(tokens), _ENTRY)
    entries["id"], entries["logit"] = tokens, logits[tokens]
    array = native.llama_token_data_array(
        data=ctypes.cast(entries.ctypes.data, native.llama_token_data_p),
        size=len(tokens),
        selected=-1,
        sorted=False,
    )
    native.llama_sampler_apply(chain, ctypes.byref(array))
    token = int(array.data[array.selected].id)
    native.llama_sampler_accept(chain, token)
    return token
