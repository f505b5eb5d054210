"""The forms in which the files of a bundle lie before a host."""

from pathlib import Path
from typing import Final

from bundleformat.paths import ArchivePath
from bundleformat.single_file import order_of
from bundleformat.ustar import END, Header, encode_header, padding_of
from tests.support.iso_bytes import Iso, iso_image
from tests.vectors.bundles.estate import Files

TIME_S: Final = 1_790_000_000
"""The time in every header of a ``.mbundle``. Unit: seconds since 1970."""


def write_folder(files: Files, folder: Path) -> Path:
    """Write ``files`` below ``folder`` and return it."""
    for path, data in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return folder


def header(path: str, size_bytes: int, *, time_s: int = TIME_S) -> bytes:
    """Return the header of a file in a ``.mbundle``."""
    return encode_header(
        Header(path=ArchivePath(path), size_bytes=size_bytes, modified_s=time_s)
    )


def forged(block: bytes, offset: int, value: bytes) -> bytes:
    """Return a changed header whose checksum is right."""
    data = bytearray(block)
    data[offset : offset + len(value)] = value
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


def entry(path: str, data: bytes) -> bytes:
    """Return a file as it lies in a ``.mbundle``."""
    return header(path, len(data)) + padded(data)


def padded(data: bytes) -> bytes:
    """Return ``data`` up to the end of its block."""
    return data + bytes(padding_of(len(data)))


def entries(files: Files) -> list[bytes]:
    """Return ``files`` as they lie in a ``.mbundle``, in its order."""
    ordered = sorted(files, key=lambda path: order_of(path, where=path))
    return [entry(path, files[path]) for path in ordered]


def single_file(files: Files) -> bytes:
    """Return ``files`` as a ``.mbundle``."""
    return b"".join(entries(files)) + END


def image(files: Files) -> Iso:
    """Return ``files`` as an ISO 9660 image, to be spoilt."""
    return iso_image(files)
