"""Multi-head latent attention and shared experts: DeepSeek-V2's.

The cache holds one latent vector and one rotated key for a token, whatever the
number of heads. The first layer has no experts.
"""

from collections.abc import Iterator

import gguf

from tests.support.gguf_writer import dense, experts
from tests.support.gguf_writer.dense import Shape
from tests.support.gguf_writer.model import TinyModel

ARCHITECTURES = ("deepseek2",)
"""Those written here."""

QUERY_RANK = 32
LATENT = 32
ROTATED = 32
PLAIN = 32
VALUE = 32
"""Elements of the compressed query, the latent, and the parts of one head."""

DENSE_LAYERS = 1
SHARED_EXPERTS = 1


def add_header(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    """Add what this architecture says besides what all say."""
    writer.add_feed_forward_length(model.feed_forward)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(ROTATED)
    writer.add_rope_freq_base(10_000.0)
    writer.add_q_lora_rank(QUERY_RANK)
    writer.add_kv_lora_rank(LATENT)
    writer.add_key_length(LATENT + ROTATED)
    writer.add_value_length(LATENT)
    writer.add_key_length_mla(PLAIN + ROTATED)
    writer.add_value_length_mla(VALUE)
    writer.add_leading_dense_block_count(DENSE_LAYERS)
    experts.add_experts(writer, model)
    writer.add_expert_shared_count(SHARED_EXPERTS)
    writer.add_expert_weights_scale(1.0)


def block_shapes(model: TinyModel, layer: int) -> Iterator[tuple[str, Shape]]:
    """Yield the tensors of one layer."""
    yield from _attention_shapes(model)
    if layer < DENSE_LAYERS:
        yield from dense.feed_forward_shapes(model)
    else:
        width, wide = model.embedding, SHARED_EXPERTS * experts.expert_width(model)
        yield "ffn_norm.weight", (width,)
        yield from experts.expert_shapes(model)
        yield "ffn_gate_shexp.weight", (wide, width)
        yield "ffn_up_shexp.weight", (wide, width)
        yield "ffn_down_shexp.weight", (width, wide)


def _attention_shapes(model: TinyModel) -> Iterator[tuple[str, Shape]]:
    width, heads = model.embedding, model.heads
    yield "attn_norm.weight", (width,)
    yield "attn_q_a.weight", (QUERY_RANK, width)
    yield "attn_q_a_norm.weight", (QUERY_RANK,)
    yield "attn_q_b.weight", (heads * (PLAIN + ROTATED), QUERY_RANK)
    yield "attn_kv_a_mqa.weight", (LATENT + ROTATED, width)
    yield "attn_kv_a_norm.weight", (LATENT,)
    yield "attn_k_b.weight", (heads, LATENT, PLAIN)
    yield "attn_v_b.weight", (heads, VALUE, LATENT)
    yield "attn_output.weight", (width, heads * VALUE)
