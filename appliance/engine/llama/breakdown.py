"""What a context takes in each kind of memory, as llama.cpp itself counts it.

``llama_get_memory_breakdown`` is exported by the library and declared in its
private header only: it returns a ``std::map`` through a hidden pointer. On x86-64
that pointer is the first argument, so ctypes can call it, and libstdc++'s map is a
red-black tree of a layout that has not changed since 1998. Where either does not
hold, or the library is another than was looked at, nothing is read
(:func:`can_read`), and ``loglines.py`` tells what it can from log lines.

Runs in a child process only. The tree's nodes are not given back: some hundred
bytes a call.

Source: src/llama-ext.h of the llama.cpp inside llama-cpp-python 0.3.36; System V
ABI for x86-64, 3.2.3; libstdc++, bits/stl_tree.h.
"""

import ctypes
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import llama_cpp
import llama_cpp.llama_cpp as native

from appliance.engine.llama.devices import base_library, on_gpu
from bundleformat.errors import InternalFaultError

READABLE_VERSIONS = frozenset({"0.3.36"})
"""Releases of llama-cpp-python whose map was looked at; add one with its test."""

MAX_BUFFER_TYPES = 64
"""Most kinds of memory one context may have; more is not a map."""

_SYMBOL = "_Z26llama_get_memory_breakdownPK13llama_context"
_MAP_WORDS = 6
_HEADER, _LEFTMOST, _COUNT = 1, 3, 5
"""Words of a std::map: comparator, then its header node, then the count."""

_PARENT, _LEFT, _RIGHT, _VALUE = 8, 16, 24, 32
"""Where a node keeps its links and its value. Unit: bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BufferType:
    """One kind of memory and what lies in it.

    Attributes:
        name: llama.cpp's name of it, such as ``CPU_REPACK``.
        gpu: Name of the GPU it belongs to, or None if it is the machine's own.
        weights_bytes: Tensors of the model.
        cache_bytes: Keys, values, recurrent state.
        compute_bytes: Scratch room.
    """

    name: str
    gpu: str | None
    weights_bytes: int
    cache_bytes: int
    compute_bytes: int


def can_read() -> bool:
    """Return whether the map of this library, on this machine, can be read."""
    return (
        platform.machine() == "x86_64"
        and llama_cpp.__version__ in READABLE_VERSIONS
        and hasattr(native._lib, _SYMBOL)  # noqa: SLF001  # the bindings export no way to it
    )


def read_breakdown(context: Any) -> tuple[BufferType, ...]:  # noqa: ANN401  # a pointer of ctypes
    """Return what ``context`` and its model take; the caller MUST ask ``can_read``.

    Raises:
        InternalFaultError: What came back is no map.
    """
    call = native._lib[_SYMBOL]  # noqa: SLF001  # as above
    call.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    call.restype = ctypes.c_void_p
    words = (ctypes.c_uint64 * _MAP_WORDS)()
    call(ctypes.addressof(words), context)
    if words[_COUNT] > MAX_BUFFER_TYPES:
        raise InternalFaultError(
            "llama.cpp's memory breakdown cannot be read",
            actual=f"{words[_COUNT]} kinds of memory",
        )
    return tuple(map(_buffer_type, _nodes(words)))


def _nodes(words: "ctypes.Array[ctypes.c_uint64]") -> Iterator[int]:
    """Yield the address of each node, in order; ``words`` MUST outlive it."""
    node = words[_LEFTMOST]
    for number in range(words[_COUNT]):
        if number:
            node = _next(node)
        yield node


def _next(node: int) -> int:
    """Return the node after ``node``, which is not the last.

    Source: libstdc++, src/c++98/tree.cc, local_Rb_tree_increment.
    """
    if right := _word(node + _RIGHT):
        while left := _word(right + _LEFT):
            right = left
        return right
    parent = _word(node + _PARENT)
    while node == _word(parent + _RIGHT):
        node, parent = parent, _word(parent + _PARENT)
    return parent


def _buffer_type(node: int) -> BufferType:
    kind, weights, cache, compute = (
        _word(node + _VALUE + 8 * number) for number in range(4)
    )
    name = base_library().ggml_backend_buft_name(kind)
    return BufferType(
        name=name.decode("ascii", "replace"),
        gpu=on_gpu(kind),
        weights_bytes=weights,
        cache_bytes=cache,
        compute_bytes=compute,
    )


def _word(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value
