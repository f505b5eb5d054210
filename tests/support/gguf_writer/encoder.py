"""A text encoder that makes vectors and writes nothing: BERT's."""

from collections.abc import Iterator

import gguf

from tests.support.gguf_writer.dense import Shape
from tests.support.gguf_writer.model import TinyModel

ARCHITECTURES = ("bert",)
"""Those written here."""

TOKEN_TYPES = 2
"""Kinds of token that the vocabulary trained here knows."""


def add_header(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    """Add what this architecture says besides what all say."""
    writer.add_feed_forward_length(model.feed_forward)
    writer.add_head_count(model.heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(value=False)


def top_shapes(
    model: TinyModel, *, vocabulary: int, token_types: int
) -> Iterator[tuple[str, Shape]]:
    """Yield the tensors that belong to no layer."""
    width = model.embedding
    yield "token_embd.weight", (vocabulary, width)
    yield "token_types.weight", (token_types, width)
    yield "position_embd.weight", (model.context, width)
    yield from _norm("token_embd_norm", width)


def block_shapes(model: TinyModel, _layer: int) -> Iterator[tuple[str, Shape]]:
    """Yield the tensors of one layer."""
    width, wide = model.embedding, model.feed_forward
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        yield from _linear(part, width, width)
    yield from _norm("attn_output_norm", width)
    yield from _linear("ffn_up", wide, width)
    yield from _linear("ffn_down", width, wide)
    yield from _norm("layer_output_norm", width)


def _linear(name: str, rows: int, columns: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
