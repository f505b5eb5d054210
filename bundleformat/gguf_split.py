"""Reads the facts of a model that is split over several GGUF files.

Every part is bounded as a whole file is, and the parts must be those of one
model: in their order, each once, as many as each says, and together holding
every tensor exactly once. llama.cpp looks at less than that.

The metadata of the first part is the model's. The others hold tensors; what
else their headers say is read past, because nothing loads it.

Source: llama.cpp ``tools/gguf-split`` and ``llama-model-loader.cpp``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from bundleformat.errors import LimitExceededError, MalformedError, RefusalError
from bundleformat.gguf import (
    ModelFacts,
    alignment_of,
    check_model,
    facts_of,
    read_facts,
)
from bundleformat.gguf_cursor import Cursor
from bundleformat.gguf_header import Header, read_header
from bundleformat.gguf_tensors import TensorTotals, check_extent, read_tensors
from bundleformat.gguf_types import DEFAULT_GGUF_LIMITS, GgufLimits, ValueType

TENSORS_KEY: Final = "split.tensors.count"
"""How many tensors all parts hold together."""

_PART_NAME: Final = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.gguf", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One file of a model, open at its beginning; ``where`` is for messages."""

    file: BinaryIO
    size_bytes: int
    where: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PartName:
    """What a file name says: ``STEM-00002-of-00005.gguf``."""

    stem: str
    number: int
    count: int


@dataclass(kw_only=True, slots=True)
class _Seen:
    """What the parts read so far hold together; ``first`` is the first header."""

    limits: GgufLimits
    count: int
    first: Header | None = None
    names: set[bytes] = field(default_factory=set)
    elements: int = 0
    data_bytes: int = 0


def read_model_facts(
    parts: Sequence[Part], *, limits: GgufLimits = DEFAULT_GGUF_LIMITS
) -> ModelFacts:
    """Return the facts of a model in one file or in several.

    Raises:
        MalformedError, LimitExceededError: As ``read_facts`` or
            ``read_split_facts``; ``where`` begins with the part's.
    """
    if len(parts) > 1:
        return read_split_facts(parts, limits=limits)
    part = parts[0]
    try:
        return read_facts(part.file, size_bytes=part.size_bytes, limits=limits)
    except RefusalError as error:
        raise error.inside(part.where) from error


def read_split_facts(
    parts: Sequence[Part], *, limits: GgufLimits = DEFAULT_GGUF_LIMITS
) -> ModelFacts:
    """Return the facts of the split model whose files are ``parts``, in order.

    Reads headers only, at most ``limits.header_bytes`` of each part.

    Raises:
        MalformedError: A part is no GGUF or contradicts its size; a part is
            missing, doubled, out of order or of another model; ``where``
            begins with the part's.
        LimitExceededError: A count or length above its cap.
    """
    if len(parts) > limits.parts:
        raise LimitExceededError(
            "too many parts",
            where=parts[0].where,
            expected=f"at most {limits.parts}",
            actual=str(len(parts)),
        )
    seen = _Seen(limits=limits, count=len(parts))
    for index, part in enumerate(parts):
        try:
            _read_part(part, index=index, seen=seen)
        except RefusalError as error:
            raise error.inside(part.where) from error
    try:
        return _facts(seen)
    except RefusalError as error:
        raise error.inside(parts[0].where) from error


def parse_part_name(name: str) -> PartName | None:
    """Return what the name of a part says, or None for any other file name.

    Raises:
        MalformedError: It is the name of a part that cannot be.
    """
    found = _PART_NAME.fullmatch(name)
    if found is None:
        return None
    part = PartName(stem=found[1], number=int(found[2]), count=int(found[3]))
    if not 1 <= part.number <= part.count:
        raise MalformedError("not the name of a part", where=ascii(name))
    return part


def part_name(stem: str, *, number: int, count: int) -> str:
    """Return the name of part ``number``, counted from 1, without ``.gguf``."""
    return f"{stem}-{number:05d}-of-{count:05d}"


def _read_part(part: Part, *, index: int, seen: _Seen) -> None:
    cursor = Cursor(part.file, size_bytes=part.size_bytes, limits=seen.limits)
    header = read_header(cursor, least_tensors=0 if index == 0 else 1)
    if seen.first is None:
        seen.first = header
    _check_place(header, first=seen.first, index=index, count=seen.count)
    _check_most(len(seen.names) + header.tensor_count, seen.limits)
    alignment = alignment_of(header, limits=seen.limits)
    totals = read_tensors(
        cursor, count=header.tensor_count, alignment=alignment, names=seen.names
    )
    check_extent(
        totals, start=cursor.position, alignment=alignment, size_bytes=part.size_bytes
    )
    seen.elements += totals.elements
    seen.data_bytes += totals.data_bytes


def _check_place(header: Header, *, first: Header, index: int, count: int) -> None:
    """Check that a part is the one wanted here, of the model ``first`` began."""
    said = header.whole("split.count", kind=ValueType.UINT16)
    if said != count:
        raise _other("not as many parts as this one says", "split.count", said, count)
    number = header.whole("split.no", kind=ValueType.UINT16)
    if number != index:
        raise _other("another part was wanted here", "split.no", index, number)
    wanted = first.whole(TENSORS_KEY, kind=ValueType.INT32)
    tensors = header.whole(TENSORS_KEY, kind=ValueType.INT32)
    if tensors != wanted:
        raise _other("a part of another model", TENSORS_KEY, wanted, tensors)


def _check_most(tensors: int, limits: GgufLimits) -> None:
    if tensors > limits.tensors:
        raise LimitExceededError(
            "too many tensors in all parts",
            where="tensor count",
            expected=f"at most {limits.tensors}",
            actual=f"{tensors} or more",
        )


def _facts(seen: _Seen) -> ModelFacts:
    if seen.first is None:
        raise MalformedError("no parts")
    check_model(seen.first)
    wanted = seen.first.whole(TENSORS_KEY, kind=ValueType.INT32)
    if wanted != len(seen.names):
        raise _other(
            "the parts do not hold the model's tensors",
            TENSORS_KEY,
            wanted,
            len(seen.names),
        )
    totals = TensorTotals(
        count=len(seen.names),
        elements=seen.elements,
        data_bytes=seen.data_bytes,
        end=0,
    )
    alignment = alignment_of(seen.first, limits=seen.limits)
    return facts_of(seen.first, totals=totals, alignment=alignment, limits=seen.limits)


def _other(problem: str, where: str, *found: int) -> MalformedError:
    expected, actual = found
    return MalformedError(
        problem,
        where=where,
        expected=str(expected),
        actual=str(actual),
        hint="A part is missing, doubled, out of order or of another model; get all "
        "parts again from one place.",
    )
