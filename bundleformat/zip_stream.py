"""Reads a member of a ZIP archive piece by piece, never past what it declared."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.zip_layout import DEFLATED, Member

PIECE_BYTES: Final = 2**18
"""Most that is held at once, packed or unpacked. Unit: bytes."""


def read_whole(file: BinaryIO, member: Member, *, max_bytes: int) -> bytes:
    """Return all bytes of ``member``.

    Raises:
        LimitExceededError: It declares more than ``max_bytes``; nothing was read.
        MalformedError: As ``pieces``.
    """
    if member.size_bytes > max_bytes:
        raise LimitExceededError(
            "too long",
            where=member.name,
            expected=f"at most {max_bytes} bytes",
            actual=f"{member.size_bytes} bytes",
        )
    return b"".join(pieces(file, member))


def pieces(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield the bytes of ``member``; once exhausted, they are what it declared.

    The caller MUST exhaust it before it believes what it was given.

    Raises:
        MalformedError: Longer, shorter or other bytes than declared, or no
            deflated data.
    """
    crc = size_bytes = 0
    packed = _packed(file, member)
    for piece in _inflated(packed, member) if member.method == DEFLATED else packed:
        size_bytes += len(piece)
        if size_bytes > member.size_bytes:
            raise MalformedError(
                "holds more than it declares",
                where=member.name,
                expected=f"{member.size_bytes} bytes",
            )
        crc = zlib.crc32(piece, crc)
        yield piece
    if size_bytes != member.size_bytes or crc != member.crc:
        raise MalformedError("not the bytes it declares", where=member.name)


def _packed(file: BinaryIO, member: Member) -> Iterator[bytes]:
    position, remaining = member.data_offset, member.packed_bytes
    while remaining:
        file.seek(position)
        piece = file.read(min(remaining, PIECE_BYTES))
        if not piece:
            raise MalformedError("the file ends early", where=member.name)
        position += len(piece)
        remaining -= len(piece)
        yield piece


def _inflated(packed: Iterator[bytes], member: Member) -> Iterator[bytes]:
    state = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for piece in packed:
            rest = piece
            while rest and not state.eof:
                yield state.decompress(rest, PIECE_BYTES)
                rest = state.unconsumed_tail
            if state.eof and (state.unused_data or rest):
                break
        while not state.eof and (more := state.decompress(b"", PIECE_BYTES)):
            yield more
    except zlib.error as error:
        raise MalformedError("not deflated data", where=member.name) from error
    if not state.eof or state.unused_data or next(packed, None):
        raise MalformedError("bytes after its deflated data", where=member.name)
