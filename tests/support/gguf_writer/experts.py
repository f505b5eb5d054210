"""A mixture of experts with ordinary attention: Qwen 3's."""

from collections.abc import Iterator

import gguf

from tests.support.gguf_writer import dense
from tests.support.gguf_writer.dense import Shape
from tests.support.gguf_writer.model import TinyModel

ARCHITECTURES = ("qwen3moe",)
"""Those written here."""


def add_header(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    """Add what this architecture says besides what all say."""
    dense.add_attention(writer, model)
    writer.add_key_length(model.head_size)
    writer.add_value_length(model.head_size)
    add_experts(writer, model)


def add_experts(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    """Add how many experts there are, how many see a token, and their width."""
    writer.add_expert_count(model.experts)
    writer.add_expert_used_count(model.experts_used)
    writer.add_expert_feed_forward_length(expert_width(model))


def expert_width(model: TinyModel) -> int:
    """Return the inner width of one expert."""
    return model.feed_forward // 2


def block_shapes(model: TinyModel, _layer: int) -> Iterator[tuple[str, Shape]]:
    """Yield the tensors of one layer."""
    yield from dense.attention_shapes(model)
    yield "ffn_norm.weight", (model.embedding,)
    yield from expert_shapes(model)


def expert_shapes(model: TinyModel) -> Iterator[tuple[str, Shape]]:
    """Yield the router and the experts of one layer, expert by expert."""
    width, wide, count = model.embedding, expert_width(model), model.experts
    yield "ffn_gate_inp.weight", (count, width)
    yield "ffn_gate_exps.weight", (count, wide, width)
    yield "ffn_up_exps.weight", (count, wide, width)
    yield "ffn_down_exps.weight", (count, width, wide)
