"""Transformers whose every layer is attention and one feed-forward network."""

from collections.abc import Iterator

import gguf

from tests.support.gguf_writer.model import TinyModel

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma", "gemma3", "phi3")
"""Those written here; Mistral's is Llama's."""

Shape = tuple[int, ...]


def add_header(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    """Add what these architectures say besides what all say."""
    add_attention(writer, model)
    if model.architecture in {"gemma", "gemma3", "qwen3"}:
        writer.add_key_length(model.head_size)
        writer.add_value_length(model.head_size)
    if model.architecture in {"gemma3", "phi3"}:
        writer.add_sliding_window(model.sliding_window or model.context)
    elif model.sliding_window is not None:
        writer.add_sliding_window(model.sliding_window)
    if model.window_pattern is not None:
        writer.add_sliding_window_pattern(model.window_pattern)


def add_attention(
    writer: gguf.GGUFWriter, model: TinyModel, *, kv_heads: list[int] | None = None
) -> None:
    """Add the numbers of ordinary attention with rotary positions.

    ``kv_heads`` has one number a layer where not all layers attend.
    """
    writer.add_feed_forward_length(model.feed_forward)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.kv_heads if kv_heads is None else kv_heads)
    writer.add_rope_dimension_count(model.head_size)
    writer.add_rope_freq_base(10_000.0)


def block_shapes(model: TinyModel, _layer: int) -> Iterator[tuple[str, Shape]]:
    """Yield the tensors of one layer."""
    yield from attention_shapes(model)
    yield from feed_forward_shapes(model)
    if model.architecture == "gemma3":
        yield "post_attention_norm.weight", (model.embedding,)
        yield "post_ffw_norm.weight", (model.embedding,)


def attention_shapes(model: TinyModel) -> Iterator[tuple[str, Shape]]:
    """Yield the tensors of one layer's attention, its norm first."""
    width = model.embedding
    kv_width = model.kv_heads * model.head_size
    yield "attn_norm.weight", (width,)
    if model.architecture == "phi3":
        yield "attn_qkv.weight", (width + 2 * kv_width, width)
    else:
        for part, rows in (("q", width), ("k", kv_width), ("v", kv_width)):
            yield f"attn_{part}.weight", (rows, width)
            if model.architecture == "qwen2":
                yield f"attn_{part}.bias", (rows,)
    yield "attn_output.weight", (width, width)
    if model.architecture in {"qwen3", "qwen3moe", "gemma3"}:
        yield "attn_q_norm.weight", (model.head_size,)
        yield "attn_k_norm.weight", (model.head_size,)


def feed_forward_shapes(model: TinyModel) -> Iterator[tuple[str, Shape]]:
    """Yield the tensors of one layer's feed-forward network, its norm first."""
    width, wide = model.embedding, model.feed_forward
    yield "ffn_norm.weight", (width,)
    if model.architecture == "phi3":
        yield "ffn_up.weight", (2 * wide, width)
    else:
        yield "ffn_gate.weight", (wide, width)
        yield "ffn_up.weight", (wide, width)
    yield "ffn_down.weight", (width, wide)
