"""Packs wheels byte by byte, right ones and wrong ones, without ``zipfile``."""

import base64
import hashlib
import struct
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

NAME = "demo-1.0-py3-none-any.whl"
INFO = "demo-1.0.dist-info"
METADATA = "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {}\n"
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + bytes(44)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A member; what is None is what it should be."""

    name: bytes
    data: bytes
    method: int = 0
    flags: int = 0
    mode: int = 0o100644
    extra: bytes = b""
    packed: bytes | None = None
    local_name: bytes | None = None
    local_size: int | None = None
    size: int | None = None
    crc: int | None = None

    @property
    def content(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return deflate(self.data) if self.method == 8 else self.data


@dataclass(frozen=True, kw_only=True)
class RawWheel:
    """A wheel; entries come in this order, then RECORD unless it is given."""

    entries: tuple[Entry, ...] = ()
    record: bytes | None = None
    before: bytes = b""
    between: bytes = b""
    before_directory: bytes = b""
    after: bytes = b""
    comment: bytes = b""
    info: str = INFO
    unlisted: frozenset[bytes] = field(default_factory=frozenset)

    def having(self, *entries: Entry) -> "RawWheel":
        names = {entry.name for entry in entries}
        kept = tuple(entry for entry in self.entries if entry.name not in names)
        return replace(self, entries=kept + entries)

    def lacking(self, name: bytes) -> "RawWheel":
        return replace(
            self, entries=tuple(entry for entry in self.entries if entry.name != name)
        )

    def packed(self) -> bytes:
        record = self.record if self.record is not None else self._record()
        own = Entry(name=f"{self.info}/RECORD".encode(), data=record)
        return pack((*self.entries, own), self)

    def _record(self) -> bytes:
        rows = [
            b",".join((entry.name, digest(entry.data), str(len(entry.data)).encode()))
            for entry in self.entries
            if not entry.name.endswith(b"/") and entry.name not in self.unlisted
        ]
        return b"\n".join([*rows, f"{self.info}/RECORD,,".encode(), b""])


def deflate(data: bytes) -> bytes:
    state = zlib.compressobj(9, zlib.DEFLATED, -15)
    return state.compress(data) + state.flush()


def digest(data: bytes) -> bytes:
    raw = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return b"sha256=" + raw


def pack(entries: tuple[Entry, ...], wheel: RawWheel) -> bytes:
    out, directory = wheel.before, b""
    for index, entry in enumerate(entries):
        out += wheel.between if index == 1 else b""
        content = entry.content
        size = len(entry.data) if entry.size is None else entry.size
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        local_name = entry.name if entry.local_name is None else entry.local_name
        local_size = size if entry.local_size is None else entry.local_size
        common = (entry.flags, entry.method, 0, 0x21, crc, len(content))
        offset = len(out)
        sizes = (local_size, len(local_name), len(entry.extra))
        out += struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, *common, *sizes)
        out += local_name + entry.extra + content
        rest = (size, len(entry.name), len(entry.extra), 0, 0, 0, entry.mode << 16)
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 0x0314, 20, *common, *rest, offset
        )
        directory += entry.name + entry.extra
    out += wheel.before_directory
    counts = (0, 0, len(entries), len(entries), len(directory), len(out))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", *counts, len(wheel.comment))
    return out + directory + end + wheel.comment + wheel.after


def wheel_file(tag: str = "py3-none-any") -> Entry:
    return Entry(name=f"{INFO}/WHEEL".encode(), data=WHEEL.format(tag).encode())


GOOD = RawWheel(
    entries=(
        Entry(name=b"demo/__init__.py", data=b"VALUE = 1\n"),
        Entry(name=f"{INFO}/METADATA".encode(), data=METADATA.encode()),
        wheel_file(),
    )
)


def write_wheel(
    folder: Path, name: str, *, requires: tuple[str, ...] = (), version: str = "1.0"
) -> Path:
    """Write a small wheel that installs, and return its path."""
    info = f"{name}-{version}.dist-info"
    headers = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
    headers += "License-Expression: Apache-2.0\n"
    headers += "".join(f"Requires-Dist: {text}\n" for text in requires)
    raw = RawWheel(
        info=info,
        entries=(
            Entry(name=f"{name}/__init__.py".encode(), data=b"VALUE = 1\n"),
            Entry(name=f"{info}/METADATA".encode(), data=headers.encode()),
            Entry(
                name=f"{info}/WHEEL".encode(),
                data=WHEEL.format("py3-none-any").encode(),
            ),
        ),
    )
    path = folder / f"{name}-{version}-py3-none-any.whl"
    path.write_bytes(raw.packed())
    return path
