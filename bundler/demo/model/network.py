"""The Llama architecture in plain PyTorch: named tensors, and functions of them.

The names are those of GGUF. Rotary positions turn neighbouring pairs, as llama.cpp
does for this architecture, so no row changes its place on export. The head is tied
to the embeddings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

Tensors = Mapping[str, Any]

_BLOCK = (
    *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
    *("ffn_norm", "ffn_gate", "ffn_up", "ffn_down"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The sizes of a model. Rows are multiples of 32, as Q8_0 wants them."""

    vocabulary: int
    width: int = 192
    layers: int = 3
    heads: int = 6
    key_heads: int = 2
    feed_forward: int = 512
    context: int = 512
    rope_base: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Numbers of one head."""
        return self.width // self.heads


def fresh(shape: Shape, *, seed: int) -> dict[str, Any]:
    """Return the tensors of an untrained model; a seed gives the same ones."""
    draw = torch.Generator().manual_seed(seed)
    width, wide = shape.width, shape.feed_forward
    keys = shape.key_heads * shape.head_width
    quiet = 0.5 / shape.layers**0.5

    def linear(rows: int, columns: int, scale: float = 0.7) -> Any:
        return torch.randn(rows, columns, generator=draw) * scale * columns**-0.5

    tensors = {
        "token_embd.weight": torch.randn(shape.vocabulary, width, generator=draw) * 0.02
    }
    for layer in range(shape.layers):
        block = {
            "attn_norm": torch.ones(width),
            "attn_q": linear(width, width),
            "attn_k": linear(keys, width),
            "attn_v": linear(keys, width),
            "attn_output": linear(width, width, quiet),
            "ffn_norm": torch.ones(width),
            "ffn_gate": linear(wide, width),
            "ffn_up": linear(wide, width),
            "ffn_down": linear(width, wide, quiet),
        }
        tensors |= {f"blk.{layer}.{name}.weight": t for name, t in block.items()}
    return {**tensors, "output_norm.weight": torch.ones(width)}


def rotations(shape: Shape) -> Any:
    """Return the turns of every position, as complex numbers of length 1."""
    pairs = torch.arange(0, shape.head_width, 2) / shape.head_width
    angles = torch.arange(shape.context)[:, None] * shape.rope_base**-pairs
    return torch.polar(torch.ones_like(angles), angles)[:, None]


def hidden(
    tensors: Tensors, tokens: Any, shape: Shape, turns: Any, wanted: Any = None
) -> Any:
    """Return the last layer's state at every token of a batch, or at those wanted.

    ``wanted`` is a mask of the tokens; their states are then one after another.
    """
    state = functional.embedding(tokens, tensors["token_embd.weight"])
    for layer in range(shape.layers):
        block = {name: tensors[f"blk.{layer}.{name}.weight"] for name in _BLOCK}
        state = state + _attention(block, state, shape, turns[: tokens.shape[1]])
        if wanted is not None and layer == shape.layers - 1:
            # Nothing mixes tokens from here on.
            state = state[wanted]
        normal = _norm(state, block["ffn_norm"], shape)
        joined = torch.cat((block["ffn_gate"], block["ffn_up"]))
        gate, raised = functional.linear(normal, joined).chunk(2, -1)
        gated = functional.silu(gate) * raised
        state = state + functional.linear(gated, block["ffn_down"])
    return _norm(state, tensors["output_norm.weight"], shape)


def logits(tensors: Tensors, state: Any) -> Any:
    """Return how likely each token follows a state."""
    return functional.linear(state, tensors["token_embd.weight"])


def _attention(block: Tensors, state: Any, shape: Shape, turns: Any) -> Any:
    """Return what each token takes from those before it.

    Written out: for rows this short it takes half the time of PyTorch's own.
    """
    batch, length, width = state.shape
    groups, head = shape.key_heads, shape.head_width
    shared = shape.heads // groups
    normal = _norm(state, block["attn_norm"], shape)
    joined = torch.cat([block[f"attn_{name}"] for name in "qkv"])
    made = functional.linear(normal, joined)
    query, key, value = (
        each.view(batch, length, -1, head)
        for each in made.split((width, groups * head, groups * head), -1)
    )
    query = _turned(query, turns).view(batch, length, groups, shared, head)
    query = query.permute(0, 2, 3, 1, 4).reshape(batch * groups, -1, head)
    key = _turned(key, turns).permute(0, 2, 3, 1).reshape(batch * groups, head, length)
    value = value.transpose(1, 2).reshape(batch * groups, length, head)
    scores = torch.bmm(query, key).float().view(batch * groups, shared, length, length)
    later = torch.full((length, length), float("-inf")).triu(1)
    shares = (scores * head**-0.5 + later).softmax(-1).to(value.dtype)
    mixed = torch.bmm(shares.view(batch * groups, -1, length), value)
    mixed = mixed.view(batch, groups, shared, length, head).permute(0, 3, 1, 2, 4)
    return functional.linear(mixed.reshape(batch, length, width), block["attn_output"])


def _norm(state: Any, weight: Any, shape: Shape) -> Any:
    return functional.rms_norm(state, (shape.width,), weight, shape.epsilon)


def _turned(heads: Any, turns: Any) -> Any:
    """Return queries or keys, each neighbouring pair turned by its position."""
    pairs = torch.view_as_complex(heads.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2).to(heads.dtype)
