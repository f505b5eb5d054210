"""Writes the encoder as GGUF, and ranks answers with it through llama.cpp."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np

from bundler.demo.model.embedder.network import Shape
from bundler.demo.model.embedder.pieces import CONTROL
from bundler.demo.model.gguf_file import finish

NAME = "Sallyport demo embedder"


def write_gguf(
    path: Path,
    tensors: Mapping[str, Any],
    *,
    shape: Shape,
    vocabulary: Sequence[str],
) -> None:
    """Write the encoder: matrices as Q8_0, everything else and small tables as F32."""
    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_name(NAME)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_eps(shape.epsilon)
    writer.add_causal_attention(value=False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    _add_pieces(writer, vocabulary)
    finish(
        writer,
        tensors,
        quantised=gguf.GGMLQuantizationType.Q8_0,
        whole=("position_embd", "token_types"),
    )


def _add_pieces(writer: Any, vocabulary: Sequence[str]) -> None:
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    inner = len(vocabulary) - len(CONTROL)
    padding, unknown, first, separator, mask = range(len(CONTROL))
    writer.add_tokenizer_model("bert")
    writer.add_vocab_size(len(vocabulary))
    writer.add_token_type_count(2)
    writer.add_token_list(list(vocabulary))
    writer.add_token_types([control] * len(CONTROL) + [normal] * inner)
    writer.add_pad_token_id(padding)
    writer.add_unk_token_id(unknown)
    writer.add_bos_token_id(first)
    writer.add_sep_token_id(separator)
    writer.add_mask_token_id(mask)


class Embedder:
    """A loaded encoder."""

    def __init__(self, path: Path) -> None:
        self._llama: Any = llama_cpp.Llama(
            str(path), embedding=True, n_ctx=128, n_threads=1, verbose=False
        )

    def vectors(self, texts: Sequence[str]) -> Any:
        """Return a row of length 1 for each text."""
        rows = np.array([self._llama.embed(text) for text in texts], dtype=np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ranked_first(
    embedder: Embedder,
    pairs: Sequence[tuple[str, str]],
    answers: Sequence[str],
) -> int:
    """Return how many questions are nearer to their answer than to any other."""
    told = embedder.vectors(answers)
    asked = embedder.vectors([question for question, _ in pairs])
    nearest = (asked @ told.T).argmax(axis=1)
    own = [answers.index(answer) for _, answer in pairs]
    return int((nearest == np.array(own)).sum())
