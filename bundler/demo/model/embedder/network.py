"""BERT's architecture in plain PyTorch, by the names of GGUF; one vector of each text.

Source: llama.cpp, ``llm_build_bert``; the vector is the mean over all tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

Tensors = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The sizes of an encoder. Rows are multiples of 32, as Q8_0 wants them."""

    vocabulary: int
    width: int = 128
    layers: int = 2
    heads: int = 4
    feed_forward: int = 512
    context: int = 128
    epsilon: float = 1e-12


def fresh(shape: Shape, *, seed: int) -> dict[str, Any]:
    """Return the tensors of an untrained encoder; a seed gives the same ones."""
    draw = torch.Generator().manual_seed(seed)
    width, wide = shape.width, shape.feed_forward

    def table(rows: int, scale: float = 0.05) -> Any:
        return torch.randn(rows, width, generator=draw) * scale

    def linear(name: str, rows: int, columns: int) -> dict[str, Any]:
        weight = torch.randn(rows, columns, generator=draw) * 0.5 * columns**-0.5
        return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(rows)}

    def norm(name: str) -> dict[str, Any]:
        return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}

    tensors = {
        "token_embd.weight": table(shape.vocabulary),
        "token_types.weight": table(2, 0.01),
        "position_embd.weight": table(shape.context, 0.01),
        **norm("token_embd_norm"),
    }
    for layer in range(shape.layers):
        at = f"blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors |= linear(f"{at}.{part}", width, width)
        tensors |= norm(f"{at}.attn_output_norm")
        tensors |= linear(f"{at}.ffn_up", wide, width)
        tensors |= linear(f"{at}.ffn_down", width, wide)
        tensors |= norm(f"{at}.layer_output_norm")
    return tensors


def vectors(tensors: Tensors, tokens: Any, shape: Shape) -> Any:
    """Return a vector of length 1 for each row; token 0 fills rows up."""
    there = tokens != 0
    state = functional.embedding(tokens, tensors["token_embd.weight"])
    state = state + tensors["token_types.weight"][0]
    state = state + tensors["position_embd.weight"][: tokens.shape[1]]
    state = _norm(tensors, "token_embd_norm", state, shape)
    for layer in range(shape.layers):
        at = f"blk.{layer}"
        mixed = _attention(tensors, at, state, there, shape)
        state = _norm(tensors, f"{at}.attn_output_norm", state + mixed, shape)
        raised = functional.gelu(
            _linear(tensors, f"{at}.ffn_up", state), approximate="tanh"
        )
        lowered = _linear(tensors, f"{at}.ffn_down", raised)
        state = _norm(tensors, f"{at}.layer_output_norm", state + lowered, shape)
    shares = there[..., None] / there.sum(1)[:, None, None]
    return functional.normalize((state * shares).sum(1), dim=-1)


def _attention(tensors: Tensors, at: str, state: Any, there: Any, shape: Shape) -> Any:
    batch, length, width = state.shape
    query, key, value = (
        _linear(tensors, f"{at}.attn_{name}", state)
        .view(batch, length, shape.heads, -1)
        .transpose(1, 2)
        for name in "qkv"
    )
    scores = query @ key.transpose(-1, -2) * (width // shape.heads) ** -0.5
    scores = scores.masked_fill(~there[:, None, None], float("-inf"))
    mixed = scores.softmax(-1) @ value
    flat = mixed.transpose(1, 2).reshape(batch, length, width)
    return _linear(tensors, f"{at}.attn_output", flat)


def _linear(tensors: Tensors, name: str, state: Any) -> Any:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    return functional.linear(state, weight, bias)


def _norm(tensors: Tensors, name: str, state: Any, shape: Shape) -> Any:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    return functional.layer_norm(state, (shape.width,), weight, bias, shape.epsilon)
