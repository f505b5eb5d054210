"""No text has fewer tokens than its size allows, in both kinds of vocabulary."""

import functools
import tempfile
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import Parameters
from appliance.engine.scheduling.admission import least_tokens
from tests.support.demo_engine import DEMO_MODEL
from tests.support.gguf_writer import TinyModel, tensor_shapes

pytestmark = pytest.mark.system

SPACE = "\u2581"
"""How SPM spells a space: three bytes for one."""

PIECES = (*(SPACE * count for count in (16, 8, 4, 2, 1)), SPACE + "the", "the", "é")

KINDS = ("bpe", "spm")

SMALL = Parameters(cells=256, sequences=1, outputs=1, batch_tokens=32, threads=1)


def write_spm_model(path: Path, *, tokenizer: str) -> None:
    """Write a model whose vocabulary is one of SentencePiece's two kinds."""
    shapes = dict(tensor_shapes(TinyModel()))
    size = shapes["token_embd.weight"][0]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2]
    types += [gguf.TokenType.BYTE] * 256
    tokens += [*PIECES, *(f"{SPACE}w{number}" for number in range(size))]
    types += [gguf.TokenType.NORMAL] * size
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model(tokenizer)
    writer.add_token_list(tokens[:size])
    writer.add_token_scores([-float(number) for number in range(size)])
    writer.add_token_types([int(each) for each in types[:size]])
    for name, shape in shapes.items():
        writer.add_tensor(name, np.ones(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@functools.cache
def model(kind: str) -> Model:
    """A model kept for good: llama.cpp goes on logging through it."""
    if kind == "bpe":
        return Model(str(DEMO_MODEL), parameters=SMALL)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_spm_model(path, tokenizer="llama" if kind == "spm" else "t5")
        return Model(str(path), parameters=SMALL)


@functools.cache
def longest(kind: str) -> int:
    found = model(kind).longest_token_bytes()
    assert found is not None
    return found


TEXTS = st.text(
    alphabet=st.one_of(
        st.sampled_from(" \n\tthe bundle é\u2581\u3000\x00\ufeff\u0301"),
        st.characters(codec="utf-8"),
    ),
    max_size=200,
)


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(KINDS), text=TEXTS)
def test_text_has_at_least_as_many_tokens_as_its_size_says(
    kind: str, text: str
) -> None:
    tokens = model(kind).tokenize(text, special=False)
    least = least_tokens(len(text.encode()), longest_token_bytes=longest(kind))
    assert len(tokens) >= least


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text", [" " * 4_096, "the" * 900, " the" * 900, "é" * 900, "\n" * 900, "😀" * 900]
)
def test_long_runs_have_at_least_as_many_tokens_as_their_size_says(
    kind: str, text: str
) -> None:
    tokens = model(kind).tokenize(text, special=False)
    least = least_tokens(len(text.encode()), longest_token_bytes=longest(kind))
    assert len(tokens) >= least > 0


def test_longest_token_is_that_of_the_spellings_in_the_file() -> None:
    assert longest("spm") == 16 * len(SPACE.encode())
    assert 1 < longest("bpe") < 64


def test_vocabulary_that_may_drop_text_has_no_longest_token() -> None:
    assert model("unigram").longest_token_bytes() is None
