"""Reads the facts of a GGUF model from its header, and refuses what is unsafe.

A signature says who delivered a model, not that its bytes are harmless: a file
of 377 bytes can abort the process that loads it. This reader is pure Python, so
nothing it meets can do worse than be refused. It never reads tensor data, and
accepts a file only if every byte of it has a place: header, padding, tensors in
order without gap or overlap, end of file. It is stricter than llama.cpp
everywhere and laxer nowhere on purpose.

Source: ggml docs/gguf.md (v3), "File Structure".
"""

import re
from dataclasses import dataclass
from typing import BinaryIO, Final

from bundleformat.errors import MalformedError
from bundleformat.gguf_cursor import Cursor
from bundleformat.gguf_header import Header, read_header
from bundleformat.gguf_tensors import TensorTotals, check_extent, read_tensors
from bundleformat.gguf_types import DEFAULT_GGUF_LIMITS, GgufLimits, ValueType

__all__ = ["DEFAULT_GGUF_LIMITS", "GgufLimits", "ModelFacts", "read_facts"]

DEFAULT_ALIGNMENT: Final = 32
"""Alignment of tensor data when the header names none. Unit: bytes."""

MIN_ALIGNMENT: Final = 8
"""Smallest alignment the specification allows. Unit: bytes."""

MAX_NAME_CHARACTERS: Final = 200
"""Longest model name kept; the name is for people and decides nothing."""

_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """What a model's own header says of it.

    Attributes:
        version: GGUF version, 2 or 3.
        architecture: ``general.architecture``.
        name: ``general.name`` with unprintable characters replaced, or "".
        licence: ``general.license``, likewise.
        file_type: ``general.file_type``, or None.
        context_length: Tokens the model was made for.
        block_count: Layers.
        embedding_length: Width.
        vocab_size: Tokens of the vocabulary.
        tokenizer_model: ``tokenizer.ggml.model``.
        chat_template: Jinja source, or None. It is a program: render it only
            inside a sandbox with limits.
        tensor_count: Tensors.
        parameter_count: Elements of all tensors together.
        data_bytes: Bytes of all tensors together, without padding.
        alignment: Alignment of tensor data in bytes.
    """

    version: int
    architecture: str
    name: str
    licence: str
    file_type: int | None
    context_length: int
    block_count: int
    embedding_length: int
    vocab_size: int
    tokenizer_model: str
    chat_template: str | None
    tensor_count: int
    parameter_count: int
    data_bytes: int
    alignment: int


def read_facts(
    file: BinaryIO, *, size_bytes: int, limits: GgufLimits = DEFAULT_GGUF_LIMITS
) -> ModelFacts:
    """Return the facts of the model in ``file``, read from its beginning.

    Reads the header only, at most ``limits.header_bytes``. ``size_bytes`` is
    the size of the whole file.

    Raises:
        MalformedError: Not GGUF, not a whole model, or a header that
            contradicts itself or the file's size.
        LimitExceededError: A count or length above its cap.
    """
    cursor = Cursor(file, size_bytes=size_bytes, limits=limits)
    header = read_header(cursor)
    check_model(header)
    _check_whole(header)
    alignment = alignment_of(header, limits=limits)
    totals = read_tensors(cursor, count=header.tensor_count, alignment=alignment)
    check_extent(
        totals, start=cursor.position, alignment=alignment, size_bytes=size_bytes
    )
    return facts_of(header, totals=totals, alignment=alignment, limits=limits)


def check_model(header: Header) -> None:
    """Refuse adapters and projectors.

    Raises:
        MalformedError: The header says that it is no model.
    """
    kind = header.text("general.type", default="model")
    if kind != "model":
        raise MalformedError(
            "not a model", where="general.type", expected="model", actual=repr(kind)
        )


def _check_whole(header: Header) -> None:
    _, parts = header.values.get("split.count", (None, 1))
    if parts != 1:
        raise MalformedError(
            "one part of a split model",
            where="split.count",
            hint="Name the first part, NAME-00001-of-0000N.gguf; the others are found "
            "beside it.",
        )


def alignment_of(header: Header, *, limits: GgufLimits) -> int:
    """Return the alignment of tensor data that ``header`` asks for.

    Raises:
        MalformedError, LimitExceededError: Not a power of two within bounds.
    """
    where = "general.alignment"
    if not header.has(where):
        return DEFAULT_ALIGNMENT
    alignment = header.uint32(where, least=MIN_ALIGNMENT, most=limits.alignment_bytes)
    if alignment & (alignment - 1):
        raise MalformedError("not a power of two", where=where, actual=str(alignment))
    return alignment


def facts_of(
    header: Header, *, totals: TensorTotals, alignment: int, limits: GgufLimits
) -> ModelFacts:
    """Return the facts in ``header`` of a model whose tensors are ``totals``.

    Raises:
        MalformedError, LimitExceededError: As ``read_facts``.
    """
    architecture = header.text("general.architecture")
    if not _ARCHITECTURE.fullmatch(architecture):
        raise MalformedError(
            "not an architecture's name",
            where="general.architecture",
            actual=repr(architecture[:64]),
        )
    _check_counts(header, architecture=architecture, limits=limits)
    template = "tokenizer.chat_template"
    return ModelFacts(
        version=header.version,
        architecture=architecture,
        name=_printable(header.text("general.name", default="")),
        licence=_printable(header.text("general.license", default="")),
        file_type=(
            header.uint32("general.file_type", least=0, most=2**31)
            if header.has("general.file_type")
            else None
        ),
        context_length=header.uint32(
            f"{architecture}.context_length", least=1, most=limits.context_tokens
        ),
        block_count=header.uint32(
            f"{architecture}.block_count", least=1, most=limits.blocks
        ),
        embedding_length=header.uint32(
            f"{architecture}.embedding_length", least=1, most=limits.embedding_elements
        ),
        vocab_size=_vocab_size(header),
        tokenizer_model=_printable(header.text("tokenizer.ggml.model")),
        chat_template=header.text(template) if header.has(template) else None,
        tensor_count=totals.count,
        parameter_count=totals.elements,
        data_bytes=totals.data_bytes,
        alignment=alignment,
    )


def _check_counts(header: Header, *, architecture: str, limits: GgufLimits) -> None:
    """Refuse counts that llama.cpp asserts on, or multiplies, instead of checking.

    Some architectures give one number per layer; such arrays are left to the
    process that loads the model.
    """

    def count(name: str, *, most: int) -> int | None:
        key = f"{architecture}.{name}"
        if not header.has_number(key):
            return None
        return header.uint32(key, least=0, most=most)

    experts = count("expert_count", most=limits.experts)
    count("expert_used_count", most=experts or 0)
    heads = count("attention.head_count", most=limits.embedding_elements)
    most_kv_heads = limits.embedding_elements if heads is None else heads
    count("attention.head_count_kv", most=most_kv_heads)


def _vocab_size(header: Header) -> int:
    """Return the number of tokens, which every list beside them must share."""
    where = "tokenizer.ggml.tokens"
    count = header.array_length(where, kind=ValueType.STRING)
    if count == 0:
        raise MalformedError("an empty vocabulary", where=where)
    for name, kind in (("scores", ValueType.FLOAT32), ("token_type", ValueType.INT32)):
        beside = f"tokenizer.ggml.{name}"
        if header.has(beside):
            length = header.array_length(beside, kind=kind)
            if length != count:
                raise MalformedError(
                    "not one entry per token",
                    where=beside,
                    expected=str(count),
                    actual=str(length),
                )
    return count


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in text[:MAX_NAME_CHARACTERS]
    )
