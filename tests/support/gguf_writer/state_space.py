"""State-space models: Mamba, whose every layer is one, and Granite 4's hybrid.

Their state has one size whatever the length of a text. In the hybrid every
second layer is attention.
"""

from collections.abc import Iterator

import gguf

from tests.support.gguf_writer import dense
from tests.support.gguf_writer.dense import Shape
from tests.support.gguf_writer.model import TinyModel

ARCHITECTURES = ("mamba", "granitehybrid")
"""Those written here."""

STATE = 16
CONVOLUTION = 4
GROUPS = 1


def add_header(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    """Add what these architectures say besides what all say."""
    writer.add_ssm_conv_kernel(CONVOLUTION)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_inner_size(_inner(model))
    if model.architecture == "mamba":
        writer.add_ssm_time_step_rank(_time_rank(model))
        writer.add_feed_forward_length(0)
        writer.add_head_count(0)
        return
    # Which layers are recurrent is told by their having no keys and values.
    kv_heads = [model.kv_heads * _attends(layer) for layer in range(model.layers)]
    dense.add_attention(writer, model, kv_heads=kv_heads)
    writer.add_ssm_time_step_rank(model.heads)
    writer.add_ssm_group_count(GROUPS)


def block_shapes(model: TinyModel, layer: int) -> Iterator[tuple[str, Shape]]:
    """Yield the tensors of one layer."""
    if model.architecture == "mamba":
        yield from _mamba_shapes(model)
        return
    if _attends(layer):
        yield from dense.attention_shapes(model)
    else:
        yield from _mamba2_shapes(model)
    yield from dense.feed_forward_shapes(model)


def _attends(layer: int) -> bool:
    return layer % 2 == 1


def _inner(model: TinyModel) -> int:
    return 2 * model.embedding


def _time_rank(model: TinyModel) -> int:
    return -(-model.embedding // 16)


def _mamba_shapes(model: TinyModel) -> Iterator[tuple[str, Shape]]:
    width, inner, rank = model.embedding, _inner(model), _time_rank(model)
    yield "attn_norm.weight", (width,)
    yield "ssm_in.weight", (2 * inner, width)
    yield "ssm_conv1d.weight", (inner, CONVOLUTION)
    yield "ssm_conv1d.bias", (inner,)
    yield "ssm_x.weight", (rank + 2 * STATE, inner)
    yield "ssm_dt.weight", (inner, rank)
    yield "ssm_dt.bias", (inner,)
    yield "ssm_a", (inner, STATE)
    yield "ssm_d", (inner,)
    yield "ssm_out.weight", (width, inner)


def _mamba2_shapes(model: TinyModel) -> Iterator[tuple[str, Shape]]:
    width, inner, heads = model.embedding, _inner(model), model.heads
    mixed = inner + 2 * GROUPS * STATE
    yield "attn_norm.weight", (width,)
    yield "ssm_in.weight", (inner + mixed + heads, width)
    yield "ssm_conv1d.weight", (mixed, CONVOLUTION)
    yield "ssm_conv1d.bias", (mixed,)
    yield "ssm_dt.bias", (heads,)
    yield "ssm_a", (heads, 1)
    yield "ssm_d", (heads, 1)
    yield "ssm_norm.weight", (GROUPS, inner // GROUPS)
    yield "ssm_out.weight", (width, inner)
