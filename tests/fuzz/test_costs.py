"""What the most expensive inputs cost, at the very limits of their formats.

Each was found by fuzzing, or by asking what a limit still lets through. The bounds
are many times what the readers take today, and many times less than they took.
"""

import time
import tracemalloc
from collections.abc import Callable

import pytest

from bundleformat.errors import RefusalError
from bundleformat.gguf_types import ValueType
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.wheel_metadata import parse_headers, parse_record
from tests.fuzz.target import Target, pack
from tests.fuzz.targets import TARGETS
from tests.support.gguf_bytes import RawGguf, array
from tests.support.wheel_bytes import METADATA, WHEEL

MIB = 2**20
HINT_BYTES = DEFAULT_LIMITS.volume_hint_bytes


def truths() -> bytes:
    """A header of 60 MiB, nearly all of it truth values, which are looked at."""
    ones = [bytes(2 * MIB)]
    arrays = [
        array(f"x.{number}", ValueType.BOOL, ones, length=2 * MIB)
        for number in range(30)
    ]
    return RawGguf().having(*arrays).packed()


def strings() -> bytes:
    """A header of a million strings of no length."""
    many = array("x", ValueType.STRING, [bytes(8 * MIB)], length=MIB)
    return RawGguf().having(many).packed()


def wheel_files(*texts: str) -> bytes:
    given = [METADATA, WHEEL.format("py3-none-any"), ""]
    given[: len(texts)] = [text or given[n] for n, text in enumerate(texts)]
    return pack(*(text.encode() for text in given))


def spaces() -> bytes:
    """A list of commands of one line, nearly all of it spaces."""
    line = "a" + " " * (MIB - 100) + "b"
    return wheel_files("", "", f"[console_scripts]\n{line}\n")


def short_spaces() -> bytes:
    """A list of commands whose lines are as long as they may be."""
    line = "a" + " " * 510 + "b\n"
    return wheel_files("", "", "[console_scripts]\n" + f"x = {line}" * 1_900)


def tags() -> bytes:
    """Lines of tags that each stand for half a million combinations."""
    part = ".".join(["a"] * 80)
    line = f"Tag: {part}-{part}-{part}\n"
    return wheel_files("", WHEEL.format("py3-none-any") + line * 8_000)


def folded() -> bytes:
    """A field that goes on for as many lines as a header may have."""
    return wheel_files(METADATA + "X: a\n" + (" " + "a" * 200 + "\n") * 19_000)


def lists() -> bytes:
    """A hint of as many lists as its bytes hold, some inside others."""
    return b"[" + b"[[[[[[[[]]]]]]]]," * (HINT_BYTES // 17 - 1) + b"[]]"


def keys() -> bytes:
    """A hint of as many keys as its bytes hold."""
    return b"{%s}" % b",".join(b'"%x":0' % number for number in range(400_000))


def digests() -> bytes:
    """A hint of as many chunks as there may be, and a field too many."""
    listed = b",".join(b'"%064x"' % number for number in range(32_768))
    return b'{"channel":"main","chunks":[%s],"format":1,"z":1}' % listed


TIMES: list[tuple[str, Callable[[], bytes], float]] = [
    ("gguf", truths, 1),
    ("wheel-files", spaces, 1),
    ("wheel-files", short_spaces, 1),
    ("wheel-files", tags, 1),
    ("wheel-files", folded, 1),
    ("volume-hint", lists, 1),
    ("volume-hint", digests, 1),
]
"""Target, input, and how many seconds of processor time are too much."""

SLOW: list[tuple[str, Callable[[], bytes], float]] = [
    ("gguf", strings, 5),
    ("volume-hint", keys, 5),
]
"""The same, of those that take a second and more."""

SIZES: list[tuple[str, Callable[[], bytes], int]] = [
    ("gguf", truths, MIB),
    ("wheel-files", tags, 32 * MIB),
    ("volume-hint", lists, 16 * MIB),
    ("volume-hint", digests, 48 * MIB),
]
"""Target, input, and how many bytes of memory are too much."""


@pytest.mark.parametrize(
    ("name", "make", "limit_s"), TIMES, ids=[each[1].__name__ for each in TIMES]
)
def test_the_costliest_input_takes_little_time(
    name: str, make: Callable[[], bytes], limit_s: float
) -> None:
    assert cpu_s(TARGETS[name], make()) < limit_s


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make", "limit_s"), SLOW, ids=[each[1].__name__ for each in SLOW]
)
def test_an_input_of_a_million_small_things_takes_seconds(
    name: str, make: Callable[[], bytes], limit_s: float
) -> None:
    assert cpu_s(TARGETS[name], make()) < limit_s


@pytest.mark.parametrize(
    ("name", "make", "limit_bytes"), SIZES, ids=[each[1].__name__ for each in SIZES]
)
def test_the_costliest_input_takes_little_memory(
    name: str, make: Callable[[], bytes], limit_bytes: int
) -> None:
    data = make()
    assert peak_bytes(lambda: read(TARGETS[name], data)) < limit_bytes


@pytest.mark.parametrize("row", [b"\n", b"a\n", b",\n", b'"\n'])
def test_a_record_of_millions_of_rows_that_are_none_is_refused_at_the_first(
    row: bytes,
) -> None:
    data = row * (8 * MIB // len(row))
    assert peak_bytes(lambda: refuse(lambda: parse_record(data, own="R"))) < 16 * MIB


def test_a_header_file_of_millions_of_lines_is_refused() -> None:
    data = b"A:\n" * MIB
    assert peak_bytes(lambda: refuse(lambda: parse_headers(data, where="M"))) < 32 * MIB


def read(target: Target, data: bytes) -> None:
    try:
        target.read(data)
    except RefusalError:
        return


def cpu_s(target: Target, data: bytes) -> float:
    """Return how much processor time an input takes. Unit: seconds."""
    begin = time.process_time()
    read(target, data)
    return time.process_time() - begin


def refuse(deed: Callable[[], object]) -> None:
    with pytest.raises(RefusalError):
        deed()


def peak_bytes(deed: Callable[[], object]) -> int:
    """Return the most memory that ``deed`` took at once."""
    tracemalloc.start()
    try:
        deed()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
