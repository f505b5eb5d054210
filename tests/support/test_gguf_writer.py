"""The written models load, tokenize and decode in llama.cpp."""

import ctypes
import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import llama_cpp
import pytest

from tests.support.gguf_writer import (
    ARCHITECTURES,
    FAMILIES,
    TinyModel,
    family,
    write_model,
)

SPECIAL = True
"""Whether special tokens are read and written as such."""

PROMPT = b"<|im_start|>user\nWho holds the tree? \xc3\xa9\xe2\x82\xac<|im_end|>\n"


WRITERS = sorted(name for name in FAMILIES if FAMILIES[name].pooling is None)


def test_every_architecture_has_a_family() -> None:
    assert {model.architecture for model in FAMILIES.values()} | {"gemma"} == set(
        ARCHITECTURES
    )


@pytest.mark.parametrize("weights", ["f32", "q8_0"])
@pytest.mark.parametrize("name", [*WRITERS, "gemma"])
def test_model_of_every_family_decodes(tmp_path: Path, name: str, weights: str) -> None:
    wanted = FAMILIES.get(name, TinyModel(architecture=name))
    path = write_model(tmp_path / "m.gguf", replace(wanted, weights=weights))
    with _loaded(path) as (model, context):
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        tokens = _tokenize(vocabulary, PROMPT)
        batch = llama_cpp.llama_batch_get_one(tokens, len(tokens))
        assert llama_cpp.llama_decode(context, batch) == 0
        logits = llama_cpp.llama_get_logits_ith(context, -1)
        count = llama_cpp.llama_vocab_n_tokens(vocabulary)
        values = [logits[index] for index in range(count)]
        assert all(math.isfinite(value) for value in values)
        assert max(values) - min(values) > 1


@pytest.mark.parametrize(
    ("name", "recurrent", "hybrid", "window", "cached"),
    [
        ("llama", False, False, 0, True),
        ("mistral", False, False, 0, True),
        ("gemma3", False, False, 64, True),
        ("deepseek2", False, False, 0, True),
        ("mamba", True, False, 0, True),
        ("granitehybrid", False, True, 0, True),
        ("bert", False, False, 0, False),
    ],
)
def test_a_family_has_the_kind_of_cache_it_stands_for(
    tmp_path: Path,
    name: str,
    *,
    recurrent: bool,
    hybrid: bool,
    window: int,
    cached: bool,
) -> None:
    with _loaded(write_model(tmp_path / "m.gguf", family(name))) as (model, context):
        assert llama_cpp.llama_model_is_recurrent(model) is recurrent
        assert llama_cpp.llama_model_is_hybrid(model) is hybrid
        assert llama_cpp.llama_model_n_swa(model) == window
        assert bool(llama_cpp.llama_get_memory(context)) is cached


def test_the_encoder_makes_one_vector_of_a_text_and_takes_it_for_its_words(
    tmp_path: Path,
) -> None:
    with _loaded(write_model(tmp_path / "m.gguf", family("bert"))) as (model, context):
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        tokens = _tokenize(vocabulary, b"The Auditor reads!", add_special=True)
        assert [_text(vocabulary, token) for token in tokens] == [
            "[CLS]", "\u2581the", "\u2581auditor", "\u2581reads", "\u2581!", "[SEP]"
        ]  # fmt: skip
        batch = llama_cpp.llama_batch_get_one(tokens, len(tokens))
        assert llama_cpp.llama_encode(context, batch) == 0
        vector = llama_cpp.llama_get_embeddings_seq(context, 0)
        values = [vector[index] for index in range(llama_cpp.llama_model_n_embd(model))]
        assert all(math.isfinite(value) for value in values)
        assert any(values)


def test_a_vocabulary_is_copied_whole_from_another_file(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source.gguf", family("bert"))
    path = write_model(tmp_path / "m.gguf", family("llama", tokenizer=source))
    with _loaded(path) as (model, _):
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        tokens = list(_tokenize(vocabulary, b"the auditor", add_special=True))
        assert (tokens[0], tokens[-1], len(tokens)) == (2, 3, 4)


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
    params.embeddings = _architecture(model) == b"bert"
    context = llama_cpp.llama_init_from_model(model, params)
    assert context
    yield model, context
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)


def _architecture(model: object) -> bytes:
    buffer = ctypes.create_string_buffer(64)
    key = b"general.architecture"
    assert llama_cpp.llama_model_meta_val_str(model, key, buffer, len(buffer)) > 0
    return buffer.value


def _tokenize(
    vocabulary: object, text: bytes, *, add_special: bool = False
) -> "ctypes.Array[ctypes.c_int]":
    buffer = (llama_cpp.llama_token * 256)()
    count = llama_cpp.llama_tokenize(
        vocabulary, text, len(text), buffer, len(buffer), add_special, SPECIAL
    )
    assert count > 0
    tokens: ctypes.Array[ctypes.c_int] = (llama_cpp.llama_token * count)()
    tokens[:] = buffer[:count]
    return tokens


def _text(vocabulary: object, token: int) -> str:
    text: bytes = llama_cpp.llama_vocab_get_text(vocabulary, token)
    return text.decode()


def _piece(vocabulary: object, token: int) -> bytes:
    buffer = ctypes.create_string_buffer(64)
    count = llama_cpp.llama_token_to_piece(vocabulary, token, buffer, 64, 0, SPECIAL)
    return buffer.raw[:count]
