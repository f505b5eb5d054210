"""The written models load, tokenize and decode in llama.cpp."""

import ctypes
import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llama_cpp
import pytest

from tests.support.gguf_writer import ARCHITECTURES, TinyModel, write_model

SPECIAL = True
"""Whether special tokens are read and written as such."""

PLAIN = (False, SPECIAL)
"""Nothing is added before the text, and special tokens are read as such."""

PROMPT = b"<|im_start|>user\nWho holds the tree? \xc3\xa9\xe2\x82\xac<|im_end|>\n"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_model_of_every_architecture_decodes(tmp_path: Path, architecture: str) -> None:
    path = write_model(tmp_path / "m.gguf", TinyModel(architecture=architecture))
    with _loaded(path) as (model, context):
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        tokens = _tokenize(vocabulary, PROMPT)
        batch = llama_cpp.llama_batch_get_one(tokens, len(tokens))
        assert llama_cpp.llama_decode(context, batch) == 0
        logits = llama_cpp.llama_get_logits_ith(context, -1)
        count = llama_cpp.llama_vocab_n_tokens(vocabulary)
        assert all(math.isfinite(logits[index]) for index in range(count))


def test_tokenizer_merges_words_keeps_specials_whole_and_loses_nothing(
    tmp_path: Path,
) -> None:
    with _loaded(write_model(tmp_path / "m.gguf")) as (model, _):
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        tokens = list(_tokenize(vocabulary, PROMPT))
        assert tokens[0] == 1
        assert tokens[-2] == 2
        assert len(tokens) < len(PROMPT) / 2
        assert b"".join(_piece(vocabulary, token) for token in tokens) == PROMPT


def test_same_arguments_give_the_same_bytes_and_another_seed_gives_others(
    tmp_path: Path,
) -> None:
    digests = [
        hashlib.sha256(
            write_model(tmp_path / "m.gguf", TinyModel(seed=seed)).read_bytes()
        ).hexdigest()
        for seed in (1, 1, 2)
    ]
    assert digests[0] == digests[1]
    assert digests[1] != digests[2]


@contextmanager
def _loaded(path: Path) -> Iterator[tuple[object, object]]:
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(
        str(path).encode(), llama_cpp.llama_model_default_params()
    )
    assert model
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = 128
    params.n_threads = params.n_threads_batch = 1
    context = llama_cpp.llama_init_from_model(model, params)
    assert context
    yield model, context
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)


def _tokenize(vocabulary: object, text: bytes) -> "ctypes.Array[ctypes.c_int]":
    buffer = (llama_cpp.llama_token * 256)()
    count = llama_cpp.llama_tokenize(
        vocabulary, text, len(text), buffer, len(buffer), *PLAIN
    )
    assert count > 0
    tokens: ctypes.Array[ctypes.c_int] = (llama_cpp.llama_token * count)()
    tokens[:] = buffer[:count]
    return tokens


def _piece(vocabulary: object, token: int) -> bytes:
    buffer = ctypes.create_string_buffer(64)
    count = llama_cpp.llama_token_to_piece(vocabulary, token, buffer, 64, 0, SPECIAL)
    return buffer.raw[:count]
