"""Opens a context, and counts what it and its model take.

Used by the probe on a model without weights and by an engine on a loaded one, so
that both count alike. llama.cpp counts its own buffers; what it leaves out is
computed here: the output buffer, and the candidates of each sampler.

Source: llama_context::output_reserve and llama_sampler_sample in src/ of the
llama.cpp inside llama-cpp-python 0.3.36.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp.llama_cpp as native

from appliance.engine.llama import loglines
from appliance.engine.llama.breakdown import BufferType, can_read, read_breakdown
from appliance.engine.llama.parameters import Parameters, context_params
from appliance.engine.planning.memory import HOST, DeviceMemory, Memory
from appliance.engine.scheduling.admission import Limits
from appliance.errors import EngineUnavailableError
from bundleformat.errors import InternalFaultError

_FLOAT_BYTES = 4
_CANDIDATE_BYTES = 12
"""Size of a ``llama_token_data``."""

_TOKEN_BYTES = 40
"""One token in a list of Python: a pointer, and a number of its own."""

WORK_BYTES = 2**23
"""Heap and scratch room of an engine that works, besides what is counted."""

_ROUNDING_BYTES = 2**20 // 50
"""How far a log line may be from the truth; there may be several."""

_DISAGREEMENT = 0.01
"""How far both ways of counting may be apart before the exact one is not believed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A context and how it came to be.

    Attributes:
        handle: llama.cpp's pointer to it.
        model: llama.cpp's pointer to its model.
        parameters: What it was made of.
        lines: What llama.cpp logged meanwhile.
    """

    handle: Any
    model: Any
    parameters: Parameters
    lines: tuple[str, ...]


def open_context(model: Any, parameters: Parameters) -> Opened:  # noqa: ANN401  # a pointer of ctypes
    """Return a new context of ``model``; the caller MUST free its handle.

    Raises:
        EngineUnavailableError: llama.cpp cannot make it.
    """
    with loglines.LogLines() as log:
        handle = native.llama_init_from_model(model, context_params(parameters))
    if not handle or native.llama_n_ctx(handle) < parameters.cells:
        raise EngineUnavailableError("llama.cpp cannot make a context of that size")
    return Opened(
        handle=handle, model=model, parameters=parameters, lines=tuple(log.lines)
    )


def is_exact(opened: Opened) -> bool:
    """Return whether llama.cpp's own count can be had, and its log agrees with it."""
    if not can_read():
        return False
    buffers = read_breakdown(opened.handle)
    return _agree(
        sum(each.compute_bytes for each in buffers),
        loglines.compute_bytes(opened.lines),
    ) and _agree(
        sum(each.cache_bytes for each in buffers), loglines.cache_bytes(opened.lines)
    )


def memory_of(opened: Opened, limits: Limits | None, *, exact: bool) -> Memory:
    """Return what a context, its model and work within ``limits`` take.

    Without ``exact`` it is taken from log lines; without limits it draws no tokens.
    ``process_bytes`` is left for the caller to fill in.

    Raises:
        InternalFaultError: There is a GPU, and log lines do not tell what is on it.
    """
    if exact:
        buffers: Sequence[BufferType] = read_breakdown(opened.handle)
    elif native.llama_supports_gpu_offload() and opened.parameters.gpu_layers:
        raise InternalFaultError(
            "how much memory a model takes on a GPU cannot be told with this release "
            "of llama.cpp",
            hint="Set gpu_layers = 0 in the section [engine] of sallyport.toml.",
        )
    else:
        buffers = (_logged(opened),)
    names = sorted({each.gpu for each in buffers if each.gpu is not None})
    vocabulary = native.llama_vocab_n_tokens(native.llama_model_get_vocab(opened.model))
    return Memory(
        host=_device(buffers, None, output_bytes=_output_bytes(opened, vocabulary)),
        gpus=tuple(_device(buffers, name, output_bytes=0) for name in names),
        sampling_bytes=(limits.running if limits else 0)
        * vocabulary
        * _CANDIDATE_BYTES,
        spill_bytes=limits.spill_bytes if limits else 0,
        requests_bytes=WORK_BYTES + (_tokens_bytes(limits) if limits else 0),
    )


def _tokens_bytes(limits: Limits) -> int:
    """Return what the tokens of all requests take that may hold a place."""
    return limits.places * limits.context_tokens * _TOKEN_BYTES


def is_repacked(opened: Opened) -> bool:
    """Return whether weights are laid out anew for this machine's processor."""
    return can_read() and any(
        each.gpu is None and each.weights_bytes and each.name not in _PLAIN
        for each in read_breakdown(opened.handle)
    )


_PLAIN = frozenset({"CPU", "CPU_Mapped"})
"""Memory of the machine that holds weights as the file does."""


def _device(
    buffers: Sequence[BufferType], gpu: str | None, *, output_bytes: int
) -> DeviceMemory:
    mine = [each for each in buffers if each.gpu == gpu]
    return DeviceMemory(
        device=HOST if gpu is None else gpu,
        weights_bytes=sum(each.weights_bytes for each in mine),
        cache_bytes=sum(each.cache_bytes for each in mine),
        compute_bytes=sum(each.compute_bytes for each in mine),
        output_bytes=output_bytes,
    )


def _logged(opened: Opened) -> BufferType:
    return BufferType(
        name="CPU",
        gpu=None,
        weights_bytes=native.llama_model_size(opened.model),
        cache_bytes=loglines.cache_bytes(opened.lines),
        compute_bytes=loglines.compute_bytes(opened.lines),
    )


def _output_bytes(opened: Opened, vocabulary: int) -> int:
    parameters = opened.parameters
    row = vocabulary
    if parameters.embeddings:
        row += native.llama_model_n_embd_out(opened.model)
    return max(parameters.outputs, parameters.sequences) * row * _FLOAT_BYTES


def _agree(exact: int, logged: int) -> bool:
    return abs(exact - logged) <= _DISAGREEMENT * exact + _ROUNDING_BYTES
