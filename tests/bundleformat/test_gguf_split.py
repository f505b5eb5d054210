"""Models in several files: the parts must be those of one model, all of them."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundleformat.errors import LimitExceededError, MalformedError, RefusalError
from bundleformat.gguf import ModelFacts
from bundleformat.gguf_split import (
    Part,
    parse_part_name,
    part_name,
    read_model_facts,
    read_split_facts,
)
from bundleformat.gguf_types import GgufLimits, ValueType
from tests.support.gguf_bytes import Pair, RawGguf, Tensor, number
from tests.support.gguf_writer import TinyModel, write_model, write_split_model


def marks(
    index: int, *, count: int = 3, tensors: int = 3, kind: ValueType = ValueType.UINT16
) -> tuple[Pair, ...]:
    return (
        number("split.no", index, kind),
        number("split.count", count, ValueType.UINT16),
        number("split.tensors.count", tensors, ValueType.INT32),
    )


def part(index: int, *, name: str = "", count: int = 3, tensors: int = 3) -> RawGguf:
    """A part with one tensor; the first has the metadata of a model."""
    tensor = Tensor(name=name or f"blk.{index}.weight")
    base = RawGguf(tensors=(tensor,))
    if index:
        base = replace(base, pairs=())
    return base.having(*marks(index, count=count, tensors=tensors))


THREE = (part(0), part(1), part(2))


def read(*parts: RawGguf | bytes, limits: GgufLimits | None = None) -> ModelFacts:
    data = [each if isinstance(each, bytes) else each.packed() for each in parts]
    return read_split_facts(
        [
            Part(file=io.BytesIO(each), size_bytes=len(each), where=f"p{index}")
            for index, each in enumerate(data)
        ],
        limits=limits or GgufLimits(),
    )


def refused(*parts: RawGguf | bytes, limits: GgufLimits | None = None) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        read(*parts, limits=limits)
    return caught.value


def test_the_facts_are_those_of_the_first_part_and_of_all_tensors() -> None:
    facts = read(*THREE)
    assert (facts.tensor_count, facts.parameter_count) == (3, 48)
    assert facts.data_bytes == 3 * 64
    assert (facts.architecture, facts.vocab_size) == ("llama", 2)


def test_a_first_part_without_tensors_is_taken() -> None:
    first = RawGguf(tensors=(), data=b"").having(*marks(0, count=2, tensors=1))
    second = part(1, count=2, tensors=1)
    assert read(first, second).tensor_count == 1
    assert read(first.header(), second).tensor_count == 1


@pytest.mark.parametrize(
    ("parts", "where"),
    [
        pytest.param((part(0), part(2), part(1)), "p1: split.no", id="order"),
        pytest.param((part(0), part(1), part(1)), "p2: split.no", id="doubled"),
        pytest.param((part(0), part(2)), "p0: split.count", id="gap"),
        pytest.param(
            (part(0), part(1), part(2), part(2)), "p0: split.count", id="too-many"
        ),
        pytest.param(
            (part(0), part(1, count=4), part(2)), "p1: split.count", id="count"
        ),
        pytest.param(
            (part(0), part(1), part(2, tensors=4)),
            "p2: split.tensors.count",
            id="foreign",
        ),
        pytest.param(
            (part(0), part(1), part(2, name="blk.1.weight")),
            "p2: tensor 0",
            id="tensor-twice",
        ),
        pytest.param(
            tuple(part(i, tensors=4) for i in range(3)),
            "p0: split.tensors.count",
            id="tensor-lost",
        ),
        pytest.param(
            (RawGguf(), part(1), part(2)), "p0: split.count", id="first-not-split"
        ),
        pytest.param(
            (part(0), RawGguf(), part(2)), "p1: split.count", id="second-not-split"
        ),
        pytest.param(
            (part(0), part(1).having(*marks(1, kind=ValueType.UINT32)), part(2)),
            "p1: split.no",
            id="type",
        ),
        pytest.param(
            (part(0).lacking("general.architecture"), part(1), part(2)),
            "p0: general.architecture",
            id="no-metadata",
        ),
        pytest.param(
            (part(0), replace(part(1), tensors=(), data=b""), part(2)),
            "p1: tensor count",
            id="empty-part",
        ),
        pytest.param((part(0), b"GGML", part(2)), "p1: magic", id="no-gguf"),
        pytest.param(
            (part(0), part(1).packed()[:-1], part(2)), "p1: tensor data", id="cut"
        ),
    ],
)
def test_parts_that_are_not_one_model_are_refused_and_named(
    parts: tuple[RawGguf | bytes, ...], where: str
) -> None:
    error = refused(*parts)
    assert (type(error), error.where) == (MalformedError, where)


@pytest.mark.parametrize(
    "limits", [GgufLimits(parts=2), GgufLimits(tensors=2)], ids=repr
)
def test_limits_hold_for_all_parts_together(limits: GgufLimits) -> None:
    assert isinstance(refused(*THREE, limits=limits), LimitExceededError)


def test_a_part_alone_is_no_model() -> None:
    data = part(0).packed()
    with pytest.raises(MalformedError) as caught:
        read_model_facts(
            [Part(file=io.BytesIO(data), size_bytes=len(data), where="m.gguf")]
        )
    assert caught.value.where == "m.gguf: split.count"


@given(data=st.data())
def test_noise_in_any_part_is_taken_or_refused(data: st.DataObject) -> None:
    packed = [each.packed() for each in THREE]
    index = data.draw(st.integers(0, 2))
    victim = packed[index]
    start = data.draw(st.integers(0, len(victim)))
    end = data.draw(st.integers(start, min(len(victim), start + 24)))
    packed[index] = victim[:start] + data.draw(st.binary(max_size=24)) + victim[end:]
    with contextlib.suppress(RefusalError):
        assert read(*packed).tensor_count == 3


@pytest.mark.parametrize("small_first", [False, True])
def test_a_written_split_model_has_the_facts_of_the_whole(
    tmp_path: Path, *, small_first: bool
) -> None:
    model = TinyModel(layers=3, weights="q8_0")
    paths = write_split_model(tmp_path / "m.gguf", model, small_first=small_first)
    whole = write_model(tmp_path / "m.gguf", model)
    found = [
        read_model_facts(
            [
                Part(
                    file=io.BytesIO(path.read_bytes()),
                    size_bytes=path.stat().st_size,
                    where=path.name,
                )
                for path in chosen
            ]
        )
        for chosen in (paths, (whole,))
    ]
    assert found[0] == found[1]


def test_names_of_parts_are_read_and_written_alike() -> None:
    name = f"{part_name('llama-3b', number=2, count=12)}.gguf"
    assert name == "llama-3b-00002-of-00012.gguf"
    found = parse_part_name(name)
    assert found is not None
    assert (found.stem, found.number, found.count) == ("llama-3b", 2, 12)
    assert parse_part_name("llama-3b.gguf") is None


@pytest.mark.parametrize("name", ["m-00000-of-00002.gguf", "m-00003-of-00002.gguf"])
def test_the_name_of_a_part_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        parse_part_name(name)
