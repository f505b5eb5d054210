"""Writes a ``.mbundle``: the files of a bundle in the one order of that format."""

from collections.abc import Callable, Sequence
from typing import BinaryIO

from bundleformat.digest import Sha256
from bundleformat.layout import chunk_path
from bundleformat.manifest import Chunk
from bundleformat.paths import ArchivePath
from bundleformat.single_file import order_of
from bundleformat.ustar import END, Header, encode_header, padding_of

CopyChunk = Callable[[Chunk, Callable[[bytes], object]], object]
"""Hands every byte of a chunk to the function given, and checks them."""


def write_single_file(
    file: BinaryIO,
    *,
    files: Sequence[tuple[ArchivePath, bytes]],
    chunks: Sequence[Chunk],
    copy: CopyChunk,
    modified_s: int,
) -> None:
    """Write all of a ``.mbundle`` to ``file``; the same content, the same bytes.

    Raises:
        LimitExceededError: A name, a size or the time does not fit a header.
        RefusalError, StorageFaultError: Whatever ``copy`` raises.
    """
    for path, data in sorted(files, key=lambda item: order_of(item[0], where=item[0])):
        file.write(encode_header(_header(path, len(data), modified_s)))
        file.write(data)
        file.write(bytes(padding_of(len(data))))
    for chunk in sorted(chunks, key=_digest):
        path = chunk_path(chunk.sha256)
        file.write(encode_header(_header(path, chunk.size_bytes, modified_s)))
        copy(chunk, file.write)
        file.write(bytes(padding_of(chunk.size_bytes)))
    file.write(END)


def _header(path: ArchivePath, size_bytes: int, modified_s: int) -> Header:
    return Header(path=path, size_bytes=size_bytes, modified_s=modified_s)


def _digest(chunk: Chunk) -> Sha256:
    return chunk.sha256
