"""The Llama architecture in plain PyTorch: named tensors, and functions of them.

The names are those of GGUF. Rotary positions turn neighbouring pairs, as llama.cpp
does for this architecture, so no row changes its place on export. The head is tied
to the embeddings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from bundler.demo.model.rows import up_to

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Rows of tokens, one after another.

    Attributes:
        tokens: All of them, flat; at the end may stand some that belong to no row.
        places: Where in its row each token stands.
        blocks: Rows of like lengths that follow one another: how many, and how long.
    """

    tokens: Any
    places: Any
    blocks: tuple[tuple[int, int], ...]


def pack(
    groups: Sequence[Sequence[Sequence[int]]], *, by: int = 1, whole: int = 1
) -> Batch:
    """Return rows as a batch, those of a group made equally long.

    Lengths are multiples of ``by`` and the batch is one of ``whole``: for every new
    size of a product, the library that computes it writes a program first.
    """
    blocks = tuple((len(rows), up_to(max(map(len, rows)), by)) for rows in groups)
    size = up_to(sum(rows * length for rows, length in blocks), whole)
    tokens = torch.zeros(size, dtype=torch.long)
    places = torch.zeros(size, dtype=torch.long)
    at = 0
    for rows, (_, length) in zip(groups, blocks, strict=True):
        for row in rows:
            tokens[at : at + len(row)] = torch.tensor(row)
            places[at : at + length] = torch.arange(length)
            at += length
    return Batch(tokens=tokens, places=places, blocks=blocks)


def hidden(
    tensors: Tensors, batch: Batch, shape: Shape, turns: Any, wanted: Any = None
) -> Any:
    """Return the last layer's state at every token of a batch, or at those wanted.

    ``wanted`` has the places of the tokens in the batch.
    """
    state = functional.embedding(batch.tokens, tensors["token_embd.weight"])
    turned = turns[batch.places]
    for layer in range(shape.layers):
        block = {name: tensors[f"blk.{layer}.{name}.weight"] for name in _BLOCK}
        state = state + _attention(block, state, shape, turned, batch.blocks)
        if wanted is not None and layer == shape.layers - 1:
            # Nothing mixes tokens from here on.
            state = state.index_select(0, wanted)
        joined = torch.cat((block["ffn_gate"], block["ffn_up"]))
        made = functional.linear(_norm(state, block["ffn_norm"], shape), joined)
        gate, raised = made.chunk(2, -1)
        gated = functional.silu(gate) * raised
        state = state + functional.linear(gated, block["ffn_down"])
    return _norm(state, tensors["output_norm.weight"], shape)


def logits(tensors: Tensors, state: Any) -> Any:
    """Return how likely each token follows a state."""
    return functional.linear(state, tensors["token_embd.weight"])


def _attention(
    block: Tensors, state: Any, shape: Shape, turns: Any, blocks: tuple[Any, ...]
) -> Any:
    """Return what each token takes from those before it in its row."""
    groups, head = shape.key_heads, shape.head_width
    joined = torch.cat([block[f"attn_{name}"] for name in "qkv"])
    made = functional.linear(_norm(state, block["attn_norm"], shape), joined)
    query, key, value = (
        each.view(len(state), -1, head)
        for each in made.split((shape.width, groups * head, groups * head), -1)
    )
    query, key, value = _turned(query, turns), _turned(key, turns), value.float()
    sizes = [rows * length for rows, length in blocks]
    sizes.append(len(state) - sum(sizes))
    *parts, (rest, _, _) = zip(
        *(each.split(sizes) for each in (query, key, value)), strict=True
    )
    with torch.autocast("cpu", enabled=False):
        mixed = [
            _mixed(*part, rows=rows, shape=shape)
            for part, (rows, _) in zip(parts, blocks, strict=True)
        ]
    taken = torch.cat((*mixed, rest.flatten(1)))
    return functional.linear(taken, block["attn_output"])


def _mixed(query: Any, key: Any, value: Any, *, rows: int, shape: Shape) -> Any:
    """Return the values of a block, mixed.

    Written out: for rows this short it takes half the time of PyTorch's own.
    """
    groups, head = shape.key_heads, shape.head_width
    shared = shape.heads // groups
    query = query.view(rows, -1, groups, shared, head)
    length = query.shape[1]
    query = query.permute(0, 2, 3, 1, 4).reshape(rows * groups, -1, head)
    key = key.view(rows, length, groups, head).permute(0, 2, 3, 1)
    key = key.reshape(rows * groups, head, length)
    value = value.view(rows, length, groups, head).transpose(1, 2)
    value = value.reshape(rows * groups, length, head)
    later = torch.full((length, length), float("-inf")).triu(1).repeat(shared, 1)
    shares = torch.baddbmm(later, query, key, alpha=head**-0.5).softmax(-1)
    mixed = torch.bmm(shares, value)
    mixed = mixed.view(rows, groups, shared, length, head).permute(0, 3, 1, 2, 4)
    return mixed.reshape(rows * length, shape.width)


def _norm(state: Any, weight: Any, shape: Shape) -> Any:
    return functional.rms_norm(state, (shape.width,), weight, shape.epsilon)


def _turned(heads: Any, turns: Any) -> Any:
    """Return queries or keys, each neighbouring pair turned by its position."""
    pairs = torch.view_as_complex(heads.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2)
