"""The GPUs that this build of llama.cpp can use, and which memory is whose.

Source: ggml/include/ggml-backend.h of the llama.cpp inside llama-cpp-python 0.3.36.
"""

import ctypes
import functools
from collections.abc import Iterator
from pathlib import Path

import llama_cpp.llama_cpp as native

from appliance.engine.planning.memory import Gpu

_GPU_TYPES = frozenset({1, 2})
"""``GGML_BACKEND_DEVICE_TYPE_GPU`` and ``_IGPU``."""


@functools.cache
def base_library() -> ctypes.CDLL:
    """Return ggml's core, which llama.cpp has loaded already."""
    library = _library("libggml-base.so")
    library.ggml_backend_buft_name.argtypes = [ctypes.c_void_p]
    library.ggml_backend_buft_name.restype = ctypes.c_char_p
    library.ggml_backend_buft_is_host.argtypes = [ctypes.c_void_p]
    library.ggml_backend_buft_is_host.restype = ctypes.c_bool
    library.ggml_backend_buft_get_device.argtypes = [ctypes.c_void_p]
    library.ggml_backend_buft_get_device.restype = ctypes.c_void_p
    for name in ("name", "description"):
        call = getattr(library, f"ggml_backend_dev_{name}")
        call.argtypes, call.restype = [ctypes.c_void_p], ctypes.c_char_p
    library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    size = ctypes.POINTER(ctypes.c_size_t)
    library.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, size, size]
    return library


def wake_devices() -> None:
    """Have llama.cpp find the devices there are; nothing of a model is read."""
    native.llama_backend_init()
    gpus()


def gpus() -> tuple[Gpu, ...]:
    """Return every GPU, with its free memory as it is now."""
    return tuple(
        _gpu(device)
        for device in _devices()
        if base_library().ggml_backend_dev_type(device) in _GPU_TYPES
    )


def on_gpu(buffer_type: int) -> str | None:
    """Return the name of the GPU whose memory this is; None: the machine's own.

    What a GPU reads from pinned memory is the machine's own, and so are weights
    that are laid out anew for its processor.
    """
    library = base_library()
    if library.ggml_backend_buft_is_host(buffer_type):
        return None
    device = library.ggml_backend_buft_get_device(buffer_type)
    if not device or library.ggml_backend_dev_type(device) not in _GPU_TYPES:
        return None
    return _text(library.ggml_backend_dev_name(device))


def _devices() -> Iterator[int]:
    registry = _library("libggml.so")
    registry.ggml_backend_dev_count.restype = ctypes.c_size_t
    registry.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    registry.ggml_backend_dev_get.restype = ctypes.c_void_p
    for index in range(registry.ggml_backend_dev_count()):
        yield registry.ggml_backend_dev_get(index)


def _gpu(device: int) -> Gpu:
    library = base_library()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    library.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    return Gpu(
        name=_text(library.ggml_backend_dev_name(device)),
        description=_text(library.ggml_backend_dev_description(device)),
        free_bytes=free.value,
        memory_bytes=total.value,
    )


def _library(name: str) -> ctypes.CDLL:
    return ctypes.CDLL(str(Path(native.__file__).parent / "lib" / name))


def _text(name: bytes | None) -> str:
    return (name or b"").decode("utf-8", "replace")
