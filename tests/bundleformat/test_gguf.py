"""The bounded GGUF reader against right, wrong and mutated files."""

import io
import struct
import tomllib
import tracemalloc
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundleformat.errors import LimitExceededError, MalformedError, RefusalError
from bundleformat.gguf import GgufLimits, ModelFacts, read_facts
from bundleformat.gguf_types import TENSOR_TYPES, ValueType
from tests.support.gguf_bytes import RawGguf, array, number, string, text
from tests.support.gguf_writer import ARCHITECTURES, FILE_TYPES, TinyModel, write_model
from tests.support.tokenizer import CHAT_TEMPLATE
from tests.vectors.make_gguf import FOLDER, write_vectors

ACCEPT = FOLDER / "accept" / "gguf"
REJECT = FOLDER / "reject" / "gguf"
EXPECT = tomllib.loads((REJECT / "expect.toml").read_text())


def read_bytes(data: bytes, limits: GgufLimits | None = None) -> ModelFacts:
    return read_facts(
        io.BytesIO(data), size_bytes=len(data), limits=limits or GgufLimits()
    )


@pytest.mark.parametrize("path", sorted(ACCEPT.glob("*.gguf")), ids=lambda p: p.stem)
def test_reader_takes_every_accept_vector(path: Path) -> None:
    facts = read_bytes(path.read_bytes())
    assert facts.architecture == "llama"
    assert facts.vocab_size == 2


@pytest.mark.parametrize("name", sorted(EXPECT))
def test_reader_refuses_every_reject_vector_with_its_code(name: str) -> None:
    with pytest.raises(RefusalError) as caught:
        read_bytes((REJECT / name).read_bytes())
    assert caught.value.code == EXPECT[name]["expect"]
    assert caught.value.where == EXPECT[name]["where"]


def test_every_reject_vector_is_in_the_index_and_small() -> None:
    assert {path.name for path in REJECT.glob("*.gguf")} == set(EXPECT)
    assert all(
        path.stat().st_size < 2048
        for path in REJECT.iterdir()
        if path.suffix == ".gguf"
    )


def test_the_script_writes_the_committed_vectors_again(tmp_path: Path) -> None:
    write_vectors(tmp_path)
    for side in ("accept", "reject"):
        new = {p.name: p.read_bytes() for p in (tmp_path / side / "gguf").iterdir()}
        old = {p.name: p.read_bytes() for p in (FOLDER / side / "gguf").iterdir()}
        assert new == old


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("weights", sorted(FILE_TYPES))
def test_reader_reports_the_facts_of_a_written_model(
    tmp_path: Path, architecture: str, weights: str
) -> None:
    model = TinyModel(
        architecture=architecture, weights=weights, layers=3, context=96, name="Été"
    )
    path = write_model(tmp_path / "m.gguf", model)
    with path.open("rb") as file:
        facts = read_facts(file, size_bytes=path.stat().st_size)
    reader = gguf.GGUFReader(path)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    assert facts == ModelFacts(
        version=3,
        architecture=architecture,
        name="Été",
        licence="",
        file_type=FILE_TYPES[weights],
        context_length=96,
        block_count=3,
        embedding_length=64,
        vocab_size=len(tokens),
        tokenizer_model="bert" if architecture == "bert" else "gpt2",
        chat_template=CHAT_TEMPLATE,
        tensor_count=len(reader.tensors),
        parameter_count=sum(int(tensor.n_elements) for tensor in reader.tensors),
        data_bytes=sum(int(tensor.n_bytes) for tensor in reader.tensors),
        alignment=32,
    )


def test_tensor_types_have_the_sizes_the_gguf_package_gives_them() -> None:
    theirs = {
        int(kind): (kind.name, *sizes)
        for kind, sizes in gguf.constants.GGML_QUANT_SIZES.items()
    }
    ours = {
        kind: (packing.name, packing.block_elements, packing.block_bytes)
        for kind, packing in TENSOR_TYPES.items()
    }
    assert ours == theirs


def test_value_types_have_the_numbers_the_gguf_package_gives_them() -> None:
    assert {kind.name: kind.value for kind in ValueType} == {
        kind.name: kind.value for kind in gguf.GGUFValueType
    }


def test_every_byte_of_a_header_may_be_anything_and_the_answer_is_a_refusal() -> None:
    good = RawGguf().having(number("general.alignment", 32)).packed()
    header = len(good) - 64
    for position in range(header):
        for value in (0x00, 0x01, 0x7F, 0x80, 0xFF, good[position] ^ 1):
            mutated = bytearray(good)
            mutated[position] = value
            _take_or_refuse(bytes(mutated))


@given(data=st.data())
def test_runs_of_bytes_replaced_cut_or_inserted_are_taken_or_refused(
    data: st.DataObject,
) -> None:
    good = RawGguf().packed()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 24)))
    middle = data.draw(st.binary(max_size=24))
    _take_or_refuse(good[:start] + middle + good[end:])


@given(st.binary(max_size=300))
def test_noise_after_the_magic_is_taken_or_refused(noise: bytes) -> None:
    _take_or_refuse(b"GGUF" + struct.pack("<I", 3) + noise)


@pytest.mark.parametrize("cut", range(0, len(RawGguf().packed()), 7))
def test_reader_refuses_a_file_cut_anywhere(cut: int) -> None:
    with pytest.raises(MalformedError):
        read_bytes(RawGguf().packed()[:cut])


def test_reader_refuses_a_file_shorter_than_it_was_said_to_be() -> None:
    data = RawGguf().packed()
    with pytest.raises(MalformedError):
        read_facts(io.BytesIO(data[:200]), size_bytes=len(data))


def test_reader_keeps_little_of_a_large_vocabulary() -> None:
    tokens = array(
        "tokenizer.ggml.tokens", ValueType.STRING, [string("x" * 90)] * 50_000
    )
    data = RawGguf().lacking("tokenizer.ggml.token_type").having(tokens).packed()
    file = io.BytesIO(data)
    tracemalloc.start()
    facts = read_facts(file, size_bytes=len(data))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert facts.vocab_size == 50_000
    assert peak_bytes < 1024 * 1024


def test_reader_never_reads_beyond_its_header_limit() -> None:
    limits = GgufLimits(header_bytes=256)
    file = io.BytesIO(RawGguf().packed())
    with pytest.raises(LimitExceededError):
        read_facts(file, size_bytes=len(file.getvalue()), limits=limits)
    assert file.tell() <= 256


@pytest.mark.parametrize(
    "limits",
    [
        GgufLimits(pairs=8),
        GgufLimits(key_bytes=10),
        GgufLimits(string_bytes=1),
        GgufLimits(array_elements=1),
        GgufLimits(tensors=0),
        GgufLimits(dimensions=1),
        GgufLimits(tensor_name_bytes=5),
        GgufLimits(blocks=0),
        GgufLimits(context_tokens=63),
        GgufLimits(embedding_elements=7),
        GgufLimits(chat_template_bytes=10),
    ],
    ids=repr,
)
def test_every_limit_is_enforced(limits: GgufLimits) -> None:
    with pytest.raises(LimitExceededError):
        read_bytes(RawGguf().packed(), limits)


def test_a_name_for_people_cannot_drive_their_terminal() -> None:
    facts = read_bytes((ACCEPT / "unprintable-name.gguf").read_bytes())
    assert facts.name.isprintable()


def test_reader_takes_a_model_whose_type_is_given() -> None:
    data = RawGguf().having(text("general.type", "model")).packed()
    assert read_bytes(data).architecture == "llama"


def _take_or_refuse(data: bytes) -> None:
    tracemalloc.start()
    try:
        read_bytes(data)
    except RefusalError:
        pass
    finally:
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 256 * 1024
