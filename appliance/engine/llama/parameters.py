"""Everything that makes a model and its context in llama.cpp, made in one place.

The probe that says how much memory a load will take and the load itself both go
through here, so that they can never differ. Nothing else fills in
``llama_model_params`` or ``llama_context_params``.

Source: llama.h of the llama.cpp inside llama-cpp-python 0.3.36.
"""

from dataclasses import dataclass

import llama_cpp.llama_cpp as native

from appliance.engine import protocol as wire
from appliance.engine.planning.choices import CacheType, FlashAttention
from appliance.engine.scheduling.admission import Limits
from appliance.engine.scheduling.vector_queue import VectorLimits

_CACHE_TYPES = {"f16": native.GGML_TYPE_F16, "q8_0": native.GGML_TYPE_Q8_0}

_FLASH_ATTENTION = {
    "auto": native.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": native.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": native.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """What one model and its context are made of.

    Attributes:
        cells: Places in the KV cache.
        sequences: Sequences that may be in the cache at once.
        outputs: Positions of one batch whose logits may be asked for; one more
            aborts the process.
        batch_tokens: Tokens of one batch.
        threads: Threads that compute.
        cache_type: How keys and values are kept.
        flash_attention: Whether flash attention is used.
        gpu_layers: Layers kept on a GPU; negative: all. No matter without one.
        mapped: Whether the weights stay in the file, or are read into memory.
        embeddings: Whether embeddings are given out besides logits.
        unified: Whether all sequences share the cells, or have a part each.
    """

    cells: int
    sequences: int
    outputs: int
    batch_tokens: int
    threads: int
    cache_type: CacheType = "f16"
    flash_attention: FlashAttention = "auto"
    gpu_layers: int = -1
    mapped: bool = True
    embeddings: bool = False
    unified: bool = True


def parameters_for(order: wire.Load, limits: Limits) -> Parameters:
    """Return what ``order`` asks for, within ``limits``."""
    return Parameters(
        cells=limits.cells,
        sequences=limits.resident_sequences,
        # llama.cpp makes room for one output of each sequence at least.
        outputs=max(limits.outputs, limits.resident_sequences),
        batch_tokens=limits.batch_tokens,
        threads=order.threads,
        cache_type=order.cache_type,
        flash_attention=order.flash_attention,
        gpu_layers=order.gpu_layers,
        mapped=order.mapped,
        unified=not limits.parted,
    )


def vector_parameters(order: wire.Load, limits: VectorLimits) -> Parameters:
    """Return what ``order`` asks for if the model makes vectors, within ``limits``.

    A text is computed at once, and all its tokens are outputs.
    """
    return Parameters(
        cells=limits.input_tokens,
        sequences=limits.inputs,
        outputs=limits.input_tokens,
        batch_tokens=limits.input_tokens,
        threads=order.threads,
        gpu_layers=order.gpu_layers,
        mapped=order.mapped,
        embeddings=True,
    )


def model_params(parameters: Parameters) -> native.llama_model_params:
    """Return what ``llama_model_load_from_file`` is given."""
    params = native.llama_model_default_params()
    params.n_gpu_layers = parameters.gpu_layers
    params.load_mode = (
        native.LLAMA_LOAD_MODE_AUTO
        if parameters.mapped
        else native.LLAMA_LOAD_MODE_NONE
    )
    return params


def outline_params(parameters: Parameters) -> native.llama_model_params:
    """Return what loads all of a model but its weights, and allocates no cache."""
    params = model_params(parameters)
    params.load_mode = native.LLAMA_LOAD_MODE_NONE
    params.no_alloc = True
    return params


def context_params(parameters: Parameters) -> native.llama_context_params:
    """Return what ``llama_init_from_model`` is given."""
    params = native.llama_context_default_params()
    params.n_ctx = parameters.cells
    params.n_seq_max = parameters.sequences
    params.n_outputs_max = parameters.outputs
    params.n_batch = params.n_ubatch = parameters.batch_tokens
    params.n_threads = params.n_threads_batch = parameters.threads
    params.type_k = params.type_v = _CACHE_TYPES[parameters.cache_type]
    params.flash_attn_type = _FLASH_ATTENTION[parameters.flash_attention]
    params.embeddings = parameters.embeddings
    params.kv_unified = parameters.unified
    # Layers with a sliding window keep that of each sequence, not every cell.
    params.swa_full = False
    params.no_perf = True
    return params
