"""Writes the GGUF vectors: ``python -m tests.vectors.make_gguf``.

``accept/gguf`` holds files a reader must take, ``reject/gguf`` files it must
refuse; ``expect.toml`` beside them says with which code and at which place. The
files are named after what is wrong with them. Running this again changes nothing.
"""

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bundleformat.gguf_types import ValueType
from tests.support.gguf_bytes import (
    Pair,
    RawGguf,
    Tensor,
    array,
    number,
    text,
)

FOLDER = Path(__file__).parent
GOOD = RawGguf()
MALFORMED, LIMIT = "malformed", "limit-exceeded"

Case = tuple[str, RawGguf | bytes, str, str]
"""Name, file, expected code and expected place."""


def accepted() -> Iterator[tuple[str, RawGguf | bytes]]:
    """Yield the files a reader must take."""
    aligned = GOOD.having(number("general.alignment", 8))
    yield "smallest", GOOD
    yield "version-2", replace(GOOD, version=2)
    yield "alignment-8", aligned.header() + bytes(-len(aligned.header()) % 8 + 64)
    yield "no-chat-template", GOOD.lacking("tokenizer.chat_template")
    yield (
        "two-tensors",
        replace(
            GOOD,
            tensors=(Tensor(), Tensor(name="output.weight", shape=(3,), offset=64)),
            data=bytes(96),
        ),
    )
    yield (
        "last-tensor-unpadded",
        replace(GOOD, tensors=(Tensor(shape=(3,)),), data=bytes(12)),
    )
    yield (
        "quantised",
        replace(GOOD, tensors=(Tensor(shape=(32, 2), kind=8),), data=bytes(96)),
    )
    yield (
        "heads-per-layer",
        GOOD.having(array("llama.attention.head_count", ValueType.INT32, (bytes(4),))),
    )
    yield "unprintable-name", GOOD.having(text("general.name", "a\x1b[2Jb\n"))


def rejected() -> Iterator[Case]:
    """Yield the files a reader must refuse."""
    yield from _prologue()
    yield from _pairs()
    yield from _facts()
    yield from _tensors()


def _prologue() -> Iterator[Case]:
    yield "empty", b"", MALFORMED, "magic"
    yield "magic", replace(GOOD, magic=b"GGML"), MALFORMED, "magic"
    yield "version-1", replace(GOOD, version=1), MALFORMED, "version"
    big_endian = struct.unpack(">I", struct.pack("<I", 3))[0]
    yield "big-endian", replace(GOOD, version=big_endian), MALFORMED, "version"
    yield (
        "tensor-count-2-to-60",
        replace(GOOD, tensor_count=2**60),
        LIMIT,
        ("tensor count"),
    )
    yield "tensor-count-0", replace(GOOD, tensors=()), MALFORMED, "tensor count"
    yield "pair-count-2-to-60", replace(GOOD, pair_count=2**60), LIMIT, "pair count"
    yield "cut-in-header", GOOD.header()[:100], MALFORMED, "general.name"


def _pairs() -> Iterator[Case]:
    first = GOOD.pairs[0]
    tokens = "tokenizer.ggml.tokens"
    yield "key-empty", GOOD.having(number("", 1)), MALFORMED, "key 9"
    yield "key-long", GOOD.having(number("k" * 300, 1)), LIMIT, "key 9"
    yield "key-escape", GOOD.having(number("a\x1b[2J", 1)), MALFORMED, "key 9"
    yield (
        "key-twice",
        replace(GOOD, pairs=(*GOOD.pairs, first)),
        MALFORMED,
        "general.architecture",
    )
    yield (
        "value-type-13",
        GOOD.having(Pair(key="x", kind=13, value=b"")),
        (MALFORMED),
        "x",
    )
    yield (
        "bool-2",
        GOOD.having(Pair(key="x", kind=ValueType.BOOL, value=b"\x02")),
        MALFORMED,
        "x",
    )
    yield (
        "string-2-to-63",
        GOOD.having(
            Pair(key="x", kind=ValueType.STRING, value=struct.pack("<Q", 2**63))
        ),
        LIMIT,
        "x",
    )
    yield (
        "string-past-end",
        GOOD.having(
            Pair(key="x", kind=ValueType.STRING, value=struct.pack("<Q", 2**16))
        ),
        MALFORMED,
        "x",
    )
    yield (
        "array-of-arrays",
        GOOD.having(array("x", ValueType.ARRAY, (bytes(12),))),
        MALFORMED,
        "x",
    )
    yield (
        "array-2-to-61",
        GOOD.having(array("x", ValueType.UINT64, (), length=2**61)),
        LIMIT,
        "x",
    )
    yield (
        "array-past-end",
        GOOD.having(array("x", ValueType.UINT64, (), length=2**20)),
        MALFORMED,
        "x",
    )
    yield (
        "tokens-string-2-to-40",
        GOOD.having(array(tokens, ValueType.STRING, (struct.pack("<Q", 2**40),))),
        LIMIT,
        tokens,
    )


def _facts() -> Iterator[Case]:
    llama = "llama."
    yield (
        "architecture-missing",
        GOOD.lacking("general.architecture"),
        MALFORMED,
        ("general.architecture"),
    )
    yield (
        "architecture-path",
        GOOD.having(text("general.architecture", "../llama")),
        MALFORMED,
        "general.architecture",
    )
    yield (
        "architecture-not-utf8",
        GOOD.having(text("general.architecture", b"\xff")),
        MALFORMED,
        "general.architecture",
    )
    yield (
        "architecture-number",
        GOOD.having(number("general.architecture", 1)),
        MALFORMED,
        "general.architecture",
    )
    yield (
        "adapter",
        GOOD.having(text("general.type", "adapter")),
        MALFORMED,
        ("general.type"),
    )
    yield (
        "split",
        GOOD.having(number("split.count", 2, ValueType.UINT16)),
        MALFORMED,
        "split.count",
    )
    for key in ("context_length", "block_count", "embedding_length"):
        where = llama + key
        name = key.replace("_", "-")
        yield f"{name}-missing", GOOD.lacking(where), MALFORMED, where
        yield f"{name}-0", GOOD.having(number(where, 0)), LIMIT, where
        yield f"{name}-max", GOOD.having(number(where, 2**32 - 1)), LIMIT, where
    # An assertion in llama.cpp on this value aborts the process that loads it.
    where = "llama.block_count"
    yield "block-count-100000", GOOD.having(number(where, 100_000)), LIMIT, where
    yield (
        "block-count-int32",
        GOOD.having(number(where, 1, ValueType.INT32)),
        MALFORMED,
        where,
    )
    yield (
        "expert-count-513",
        GOOD.having(number("llama.expert_count", 513)),
        LIMIT,
        "llama.expert_count",
    )
    yield (
        "expert-used-above-count",
        GOOD.having(
            number("llama.expert_count", 2), number("llama.expert_used_count", 3)
        ),
        LIMIT,
        "llama.expert_used_count",
    )
    yield (
        "heads-kv-above-heads",
        GOOD.having(
            number("llama.attention.head_count", 4),
            number("llama.attention.head_count_kv", 2**31 + 1),
        ),
        LIMIT,
        "llama.attention.head_count_kv",
    )
    yield from _tokenizer_facts()


def _tokenizer_facts() -> Iterator[Case]:
    tokens, types = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
    yield "tokens-missing", GOOD.lacking(tokens), MALFORMED, tokens
    yield (
        "tokens-empty",
        GOOD.having(array(tokens, ValueType.STRING, ())),
        MALFORMED,
        tokens,
    )
    yield (
        "tokens-numbers",
        GOOD.having(array(tokens, ValueType.INT32, (bytes(4),))),
        MALFORMED,
        tokens,
    )
    yield (
        "token-types-short",
        GOOD.having(array(types, ValueType.INT32, (bytes(4),))),
        MALFORMED,
        types,
    )
    yield (
        "scores-long",
        GOOD.having(array("tokenizer.ggml.scores", ValueType.FLOAT32, (bytes(4),) * 3)),
        MALFORMED,
        "tokenizer.ggml.scores",
    )
    yield (
        "tokenizer-missing",
        GOOD.lacking("tokenizer.ggml.model"),
        MALFORMED,
        ("tokenizer.ggml.model"),
    )
    yield (
        "chat-template-not-utf8",
        GOOD.having(text("tokenizer.chat_template", b"\xc3\x28")),
        MALFORMED,
        "tokenizer.chat_template",
    )
    yield (
        "chat-template-2-to-20",
        GOOD.having(
            Pair(
                key="tokenizer.chat_template",
                kind=ValueType.STRING,
                value=struct.pack("<Q", 2**20),
            )
        ),
        LIMIT,
        "tokenizer.chat_template",
    )


def _tensors() -> Iterator[Case]:
    alignment = "general.alignment"
    for value, code in ((0, LIMIT), (4, LIMIT), (24, MALFORMED), (2**17, LIMIT)):
        yield (
            f"alignment-{value}",
            GOOD.having(number(alignment, value)),
            code,
            (alignment),
        )
    yield (
        "alignment-uint64",
        GOOD.having(number(alignment, 32, ValueType.UINT64)),
        MALFORMED,
        alignment,
    )
    for name, tensor, code in (
        ("name-empty", Tensor(name=""), MALFORMED),
        ("name-long", Tensor(name="t" * 64), LIMIT),
        ("name-zero-byte", Tensor(name="a\x00b"), MALFORMED),
        ("dimensions-0", Tensor(shape=()), LIMIT),
        ("dimensions-5", Tensor(shape=(1, 1, 1, 1, 1)), LIMIT),
        ("dimension-0", Tensor(shape=(8, 0)), MALFORMED),
        ("type-4-removed", Tensor(kind=4), MALFORMED),
        ("type-max", Tensor(kind=2**32 - 1), MALFORMED),
        ("block-broken", Tensor(shape=(31, 2), kind=8), MALFORMED),
        ("offset-gap", Tensor(offset=32), MALFORMED),
        ("offset-max", Tensor(offset=2**64 - 32), MALFORMED),
    ):
        yield f"tensor-{name}", replace(GOOD, tensors=(tensor,)), code, "tensor 0"
    twice = (Tensor(), Tensor(offset=64))
    yield (
        "tensor-twice",
        replace(GOOD, tensors=twice, data=bytes(128)),
        MALFORMED,
        ("tensor 1"),
    )
    overlap = (Tensor(), Tensor(name="output.weight"))
    yield "tensor-overlap", replace(GOOD, tensors=overlap), MALFORMED, "tensor 1"
    yield from _extents()


def _extents() -> Iterator[Case]:
    where = "tensor data"
    for name, shape in (
        # 2^32 * 2^32 elements are 0 in 64 bits; 2^62 of four bytes as well.
        ("product-2-to-64", (2**32, 2**32)),
        ("bytes-2-to-64", (2**62,)),
        ("int64-max", (2**63 - 1, 2**63 - 1, 2**63 - 1, 2**63 - 1)),
        ("uint64-max", (2**64 - 1,)),
        ("past-end", (8, 3)),
    ):
        yield (
            f"tensor-{name}",
            replace(GOOD, tensors=(Tensor(shape=shape),)),
            MALFORMED,
            where,
        )
    yield "data-missing", replace(GOOD, data=b""), MALFORMED, where
    yield "data-one-byte-short", replace(GOOD, data=bytes(63)), MALFORMED, where
    yield "data-after-end", replace(GOOD, data=bytes(96)), MALFORMED, where


def write_vectors(folder: Path) -> None:
    """Write every vector and both indexes below ``folder``."""
    for side in ("accept", "reject"):
        (folder / side / "gguf").mkdir(parents=True, exist_ok=True)
    for name, file in accepted():
        (folder / "accept" / "gguf" / f"{name}.gguf").write_bytes(_bytes(file))
    lines = ["# Written by tests/vectors/make_gguf.py."]
    for name, file, code, where in rejected():
        (folder / "reject" / "gguf" / f"{name}.gguf").write_bytes(_bytes(file))
        lines += ["", f'["{name}.gguf"]', f'expect = "{code}"', f'where = "{where}"']
    (folder / "reject" / "gguf" / "expect.toml").write_text("\n".join(lines) + "\n")


def _bytes(file: RawGguf | bytes) -> bytes:
    return file if isinstance(file, bytes) else file.packed()


if __name__ == "__main__":
    write_vectors(FOLDER)
