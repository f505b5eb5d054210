"""Which architectures can be written, and one tiny model of every family."""

from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import gguf

from tests.support.gguf_writer import dense, encoder, experts, latent, state_space
from tests.support.gguf_writer.model import TinyModel

_WRITERS = (dense, experts, latent, state_space, encoder)

_BY_ARCHITECTURE: Mapping[str, ModuleType] = {
    name: module for module in _WRITERS for name in module.ARCHITECTURES
}

ARCHITECTURES = tuple(_BY_ARCHITECTURE)
"""Architectures this writer knows the tensors of, as llama.cpp spells them."""

FAMILIES: Mapping[str, TinyModel] = {
    "llama": TinyModel(),
    # llama.cpp reads a Mistral as a Llama, and the window not at all.
    "mistral": TinyModel(sliding_window=64),
    "gemma3": TinyModel(architecture="gemma3", sliding_window=64, window_pattern=2),
    "phi3": TinyModel(architecture="phi3", sliding_window=64),
    "qwen2": TinyModel(architecture="qwen2"),
    "qwen3": TinyModel(architecture="qwen3"),
    "qwen3moe": TinyModel(architecture="qwen3moe"),
    "deepseek2": TinyModel(architecture="deepseek2"),
    "mamba": TinyModel(architecture="mamba"),
    "granitehybrid": TinyModel(architecture="granitehybrid"),
    "bert": TinyModel(
        architecture="bert", chat_template=None, pooling=gguf.PoolingType.MEAN
    ),
}
"""A tiny model of every family that is served; ``bert`` makes vectors.

Of Gemma's two layers one looks back 64 tokens and one everywhere, DeepSeek's
second has experts beside a shared one, and Granite's second is attention.
"""


def family(name: str, **changes: Any) -> TinyModel:
    """Return the tiny model of a family with ``changes`` to its fields."""
    return replace(FAMILIES[name], **changes)


def writer_of(model: TinyModel) -> ModuleType:
    """Return the module that writes the architecture of ``model``.

    Raises:
        ValueError: None does.
    """
    try:
        return _BY_ARCHITECTURE[model.architecture]
    except KeyError:
        raise ValueError(model.architecture) from None
