"""The models that are measured: random weights, the shape and words of real ones.

A random model answers nonsense, but as fast as a trained one of its shape. The
rows of its control tokens are zero, so that no greedy answer ends before its last
token and every server writes equally many.
"""

import dataclasses
from pathlib import Path

import gguf
import numpy as np

from benchmarks.engine.peers import Peers
from tests.support.gguf_writer import TinyModel, write_model

LARGE = TinyModel(
    architecture="qwen2",
    name="Bench 0.4B",
    layers=20,
    embedding=896,
    heads=14,
    kv_heads=2,
    feed_forward=4_864,
    context=32_768,
    weights="q8_0",
)
"""About 0.43 billion parameters, 0.14 of them for Qwen 2's 151,936 tokens."""

SMALL = TinyModel(
    architecture="llama",
    name="Bench 20M",
    layers=6,
    embedding=512,
    heads=8,
    kv_heads=4,
    feed_forward=1_536,
    context=32_768,
    weights="q8_0",
)
"""About 20 million parameters: here everything around the model shows."""


def large_model(folder: Path, peers: Peers) -> Path:
    """Write the large model and return its path."""
    vocabulary = peers.vocabulary("qwen2")
    return _written(folder / "bench-large.gguf", LARGE, vocabulary)


def small_model(folder: Path) -> Path:
    """Write the small model and return its path."""
    return _written(folder / "bench-small.gguf", SMALL, None)


def _written(path: Path, model: TinyModel, vocabulary: Path | None) -> Path:
    write_model(path, dataclasses.replace(model, tokenizer=vocabulary))
    _mute_control_tokens(path)
    return path


def _mute_control_tokens(path: Path) -> None:
    """Zero the output rows of all tokens that are not text."""
    reader = gguf.GGUFReader(path, "r+")
    kinds = reader.fields["tokenizer.ggml.token_type"]
    special = [
        number
        for number, index in enumerate(kinds.data)
        if int(kinds.parts[index][0]) != gguf.TokenType.NORMAL
    ]
    for tensor in reader.tensors:
        if tensor.name in {"output.weight", "token_embd.weight"}:
            tensor.data[special] = np.zeros_like(tensor.data[special])
    reader.data.flush()
