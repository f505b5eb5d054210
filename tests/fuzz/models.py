"""Fuzz targets that read what a bundle delivers: models and wheels."""

import io
from collections.abc import Sequence

from bundleformat.gguf import read_facts
from bundleformat.gguf_split import Part, read_split_facts
from bundleformat.gguf_types import ValueType
from bundleformat.wheel_lint import lint_wheel
from tests.fuzz.target import Target, pack, unpack
from tests.support.gguf_bytes import RawGguf, Tensor, number
from tests.support.wheel_bytes import GOOD, INFO, METADATA, NAME, WHEEL, Entry
from tests.vectors.make_gguf import FOLDER

FILES = ("METADATA", "WHEEL", "entry_points.txt", "RECORD")
"""The files of a wheel that are read as text."""


def _read_gguf(data: bytes) -> object:
    return read_facts(io.BytesIO(data), size_bytes=len(data))


def _read_split(data: bytes) -> object:
    parts = [
        Part(file=io.BytesIO(part), size_bytes=len(part), where=f"part {number}")
        for number, part in enumerate(unpack(data, most=4), start=1)
    ]
    return read_split_facts(parts)


def _split_seeds() -> Sequence[bytes]:
    marked = [
        RawGguf(tensors=(Tensor(name=f"blk.{index}.weight"),))
        .having(
            number("split.no", index, ValueType.UINT16),
            number("split.count", 2, ValueType.UINT16),
            number("split.tensors.count", 2, ValueType.INT32),
        )
        .packed()
        for index in range(2)
    ]
    return [pack(*marked), pack(*reversed(marked)), pack(marked[0])]


def _lint(data: bytes) -> object:
    return lint_wheel(io.BytesIO(data), filename=NAME, size_bytes=len(data))


def _lint_files(data: bytes) -> object:
    """Lint a wheel that is right but for the files that say what it is."""
    texts = dict(zip(FILES, unpack(data, most=len(FILES)), strict=False))
    record = texts.pop("RECORD", b"")
    files = [
        Entry(name=f"{INFO}/{name}".encode(), data=text, method=8)
        for name, text in texts.items()
    ]
    wheel = GOOD.having(*files)
    own = Entry(name=f"{INFO}/RECORD".encode(), data=record)
    return _lint(wheel.having(own).packed() if record else wheel.packed())


def _vectors(pattern: str) -> Sequence[bytes]:
    paths = [*FOLDER.glob(f"accept/{pattern}"), *FOLDER.glob(f"reject/{pattern}")]
    return [path.read_bytes() for path in sorted(paths)]


TARGETS = (
    Target(
        name="gguf",
        read=_read_gguf,
        seeds=lambda: _vectors("gguf/*.gguf"),
    ),
    Target(name="gguf-split", read=_read_split, seeds=_split_seeds),
    Target(name="wheel", read=_lint, seeds=lambda: _vectors("wheel/*/*.whl")),
    Target(
        name="wheel-files",
        read=_lint_files,
        seeds=lambda: [
            pack(
                METADATA.encode(),
                WHEEL.format("py3-none-any").encode(),
                b"[console_scripts]\ndemo = demo:main\n",
            ),
            pack(
                METADATA.encode(),
                WHEEL.format("py3-none-any").encode(),
                b"",
                b"demo/a.py,sha256=" + b"A" * 43 + b",3\n",
            ),
        ],
    ),
)
