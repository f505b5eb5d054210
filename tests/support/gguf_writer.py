"""Writes GGUF models of random weights that llama.cpp loads and decodes.

The same arguments give the same bytes. A model says nothing sensible, but it
has a real tokenizer, a chat template and the tensors of its architecture, so
everything around the weights can be tested as it will run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as TensorType

from tests.support.tokenizer import CHAT_TEMPLATE, SPECIAL_TOKENS, train

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma", "gemma3", "phi3")
"""Architectures this writer knows the tensors of."""

FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7}
"""Values of ``general.file_type`` for each kind of weights."""

NORM_EPSILON = 1e-5
"""Added under the root of every RMS norm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TinyModel:
    """What to write. Embedding must divide by heads, and by 32 for ``q8_0``."""

    architecture: str = "llama"
    name: str = "Tiny"
    layers: int = 2
    embedding: int = 64
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 128
    context: int = 512
    weights: str = "f32"
    seed: int = 1
    chat_template: str | None = CHAT_TEMPLATE
    pre_tokenizer: str | None = None

    @property
    def head_size(self) -> int:
        """Elements of one attention head."""
        return self.embedding // self.heads


def write_model(path: Path, model: TinyModel | None = None) -> Path:
    """Write ``model`` to ``path`` and return the path."""
    chosen = model or TinyModel()
    _write(gguf.GGUFWriter(str(path), chosen.architecture), chosen)
    return path


def write_split_model(
    path: Path,
    model: TinyModel | None = None,
    *,
    tensors: int = 6,
    small_first: bool = False,
) -> tuple[Path, ...]:
    """Write ``model`` as parts of at most ``tensors`` each; return their paths.

    ``path`` is that of the whole; parts lie beside it, named as llama.cpp does.
    With ``small_first`` the first part holds metadata and no tensor.
    """
    chosen = model or TinyModel()
    writer = gguf.GGUFWriter(
        str(path),
        chosen.architecture,
        split_max_tensors=tensors,
        small_first_shard=small_first,
    )
    _write(writer, chosen)
    return tuple(sorted(path.parent.glob(f"{path.stem}-0*.gguf")))


def _write(writer: gguf.GGUFWriter, chosen: TinyModel) -> None:
    if chosen.architecture not in ARCHITECTURES:
        raise ValueError(chosen.architecture)
    _add_hyperparameters(writer, chosen)
    _add_tokenizer(writer, chosen)
    _add_tensors(writer, chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_hyperparameters(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    writer.add_name(model.name)
    writer.add_context_length(model.context)
    writer.add_embedding_length(model.embedding)
    writer.add_block_count(model.layers)
    writer.add_feed_forward_length(model.feed_forward)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.kv_heads)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_rope_dimension_count(model.head_size)
    writer.add_rope_freq_base(10_000.0)
    writer.add_file_type(FILE_TYPES[model.weights])
    if model.architecture in {"gemma", "gemma3", "qwen3"}:
        writer.add_key_length(model.head_size)
        writer.add_value_length(model.head_size)
    if model.architecture in {"gemma3", "phi3"}:
        writer.add_sliding_window(model.context)


def _add_tokenizer(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    tokenizer = train()
    specials = len(SPECIAL_TOKENS)
    normal = len(tokenizer.tokens) - specials
    control_type, normal_type = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_vocab_size(len(tokenizer.tokens))
    writer.add_tokenizer_model("gpt2")
    usual = "qwen2" if "qwen" in model.architecture else "gpt-2"
    writer.add_tokenizer_pre(model.pre_tokenizer or usual)
    writer.add_token_list(list(tokenizer.tokens))
    writer.add_token_types([control_type] * specials + [normal_type] * normal)
    writer.add_token_merges(list(tokenizer.merges))
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(value=False)
    writer.add_add_eos_token(value=False)
    if model.chat_template is not None:
        writer.add_chat_template(model.chat_template)


def _add_tensors(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    generator = np.random.default_rng(model.seed)
    raw_type = TensorType[model.weights.upper()]
    for name, shape in tensor_shapes(model):
        if name.endswith("norm.weight"):
            writer.add_tensor(name, np.ones(shape, dtype=np.float32))
        elif len(shape) == 1:
            writer.add_tensor(name, np.zeros(shape, dtype=np.float32))
        else:
            values = generator.standard_normal(shape, dtype=np.float32)
            scaled = values / np.float32(np.sqrt(shape[1]))
            writer.add_tensor(
                name, gguf.quants.quantize(scaled, raw_type), raw_dtype=raw_type
            )


def tensor_shapes(model: TinyModel) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield each tensor of ``model`` with its shape, rows first, in file order."""
    vocabulary = len(train().tokens)
    yield "token_embd.weight", (vocabulary, model.embedding)
    yield "output_norm.weight", (model.embedding,)
    if not model.architecture.startswith("gemma"):
        yield "output.weight", (vocabulary, model.embedding)
    for layer in range(model.layers):
        for name, shape in _block_shapes(model):
            yield f"blk.{layer}.{name}", shape


def _block_shapes(model: TinyModel) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, wide = model.embedding, model.feed_forward
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
    if model.architecture in {"qwen3", "gemma3"}:
        yield "attn_q_norm.weight", (model.head_size,)
        yield "attn_k_norm.weight", (model.head_size,)
    yield "ffn_norm.weight", (width,)
    if model.architecture == "phi3":
        yield "ffn_up.weight", (2 * wide, width)
    else:
        yield "ffn_gate.weight", (wide, width)
        yield "ffn_up.weight", (wide, width)
    yield "ffn_down.weight", (width, wide)
    if model.architecture == "gemma3":
        yield "post_attention_norm.weight", (width,)
        yield "post_ffw_norm.weight", (width,)
