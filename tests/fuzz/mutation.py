"""Inputs for Hypothesis: good ones with a few wounds, which it knows how to shrink."""

import struct
from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

NUMBERS: Final = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 2**15, 2**16 - 1, 2**31, 2**32 - 1)
"""Whole numbers at which readers go wrong."""

FORMATS: Final = ("<B", "<H", "<I", "<Q", ">H", ">I", ">Q")

TEXTS: Final = (
    *(b'"', b"\\u0000", b"\\ud800", b"\xff", b"\xc2", b"\x1b[2J", b"\r\n", b"\0", b"/"),
    *(b"[", b"]", b"{", b"}", b",", b":", b"null", b"true", b"-0", b"1e9", b"../"),
)
"""Text at which readers go wrong."""


def _number(pair: tuple[str, int]) -> bytes:
    packing, number = pair
    return struct.pack(packing, number % 2 ** (8 * struct.calcsize(packing)))


INSERTIONS: Final = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(TEXTS),
    st.tuples(st.sampled_from(FORMATS), st.sampled_from(NUMBERS)).map(_number),
)


@st.composite
def wounded(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """Return a seed of which some runs were replaced, cut, doubled or moved in."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 16)))
        middle = draw(st.one_of(INSERTIONS, st.just(data[start:end] * 2)))
        if draw(st.booleans()):
            # As many bytes as before: lengths that were right stay right.
            middle = middle[: end - start].ljust(end - start, b"\0")
        data = data[:start] + middle + data[end:]
    return data
