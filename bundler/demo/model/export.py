"""Writes a trained model as GGUF: as Q8_0, and as F16 for comparison."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from bundler.demo.model.chat import END, TEMPLATE
from bundler.demo.model.gguf_file import finish
from bundler.demo.model.network import Shape

KINDS = {
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
}
"""How rows are written, and what the header calls it."""

NAME = "Sallyport demo"


def write_gguf(
    path: Path,
    tensors: Mapping[str, Any],
    *,
    shape: Shape,
    tokenizer: Path,
    kind: str,
) -> None:
    """Write a model; norms stay F32, and the head is the embeddings' own.

    Args:
        path: The file to write.
        tensors: Arrays by their names in GGUF.
        shape: The sizes of the model.
        tokenizer: What the tokenizer's library has saved.
        kind: A key of ``KINDS``.
    """
    quantised, file_type = KINDS[kind]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(NAME)
    writer.add_file_type(file_type)
    _add_sizes(writer, shape)
    _add_tokenizer(writer, json.loads(tokenizer.read_text("utf-8")))
    finish(writer, tensors, quantised=quantised)


def _add_sizes(writer: Any, shape: Shape) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)


def _add_tokenizer(writer: Any, saved: Mapping[str, Any]) -> None:
    tokens = sorted(saved["model"]["vocab"], key=saved["model"]["vocab"].__getitem__)
    control = {each["content"] for each in saved["added_tokens"]}
    kinds = [
        gguf.TokenType.CONTROL if token in control else gguf.TokenType.NORMAL
        for token in tokens
    ]
    merges = saved["model"]["merges"]
    end = tokens.index(END)
    writer.add_tokenizer_model("gpt2")
    # llama.cpp's name for the rule by which ``vocabulary`` cuts a text into words.
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(end)
    writer.add_eot_token_id(end)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(value=False)
    writer.add_chat_template(TEMPLATE)
