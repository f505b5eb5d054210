"""Writes small ISO 9660 images with Rock Ridge names, right or wrong on purpose.

Independent of xorriso, so that what a hostile image looks like does not depend on
what a good program can be talked into.
"""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

SECTOR = 2_048
FIRST_FREE = 20
FILE_MODE = stat.S_IFREG | 0o444
FOLDER_MODE = stat.S_IFDIR | 0o555


def both(value: int, size: int) -> bytes:
    """Return a number in both byte orders."""
    return value.to_bytes(size, "little") + value.to_bytes(size, "big")


def entry(signature: bytes, body: bytes, *, version: int = 1) -> bytes:
    """Return one entry of a system use area."""
    return signature + bytes([4 + len(body), version]) + body


def px(mode: int) -> bytes:
    return entry(b"PX", both(mode, 4) + both(1, 4) + both(0, 4) + both(0, 4))


def nm(name: bytes, flags: int = 0) -> bytes:
    return entry(b"NM", bytes([flags]) + name)


def ce(block: int, offset: int, length: int) -> bytes:
    return entry(b"CE", both(block, 4) + both(offset, 4) + both(length, 4))


SP = entry(b"SP", b"\xbe\xef\x00")
ER = entry(b"ER", b"\x0a\x00\x00\x01RRIP_1991A")


def record(
    identifier: bytes, *, block: int, size: int, flags: int = 0, system_use: bytes = b""
) -> bytes:
    """Return one directory record."""
    pad = bytes((len(identifier) + 1) % 2)
    body = (
        b"\0"
        + both(block, 4)
        + both(size, 4)
        + bytes(7)
        + bytes([flags, 0, 0])
        + both(1, 2)
        + bytes([len(identifier)])
        + identifier
        + pad
        + system_use
    )
    return bytes([len(body) + 1]) + body


@dataclass
class Iso:
    """An image, and where its parts lie.

    Attributes:
        data: The bytes; tests change them in place.
        records: Offset of every record, by path; of a file, of its first run.
        folders: Offset of every folder, by path.
        files: Offset of every file's bytes, by path.
    """

    data: bytearray = field(default_factory=bytearray)
    records: dict[str, int] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)

    def put(self, offset: int, value: bytes | bytearray) -> None:
        self.data[offset : offset + len(value)] = value


def iso_image(
    files: Mapping[str, bytes],
    *,
    system_use: Mapping[str, bytes] | None = None,
    runs: Mapping[str, int] | None = None,
) -> Iso:
    """Return an image of ``files``, by path.

    ``system_use`` replaces the Rock Ridge entries of a path, ``runs`` says of how
    many bytes each run of a file but its last is.
    """
    return _Builder(files, system_use or {}, runs or {}).build()


class _Builder:
    def __init__(
        self,
        files: Mapping[str, bytes],
        system_use: Mapping[str, bytes],
        runs: Mapping[str, int],
    ) -> None:
        self.files = dict(sorted(files.items()))
        self.system_use = system_use
        self.runs = runs
        self.iso = Iso()
        self.below: dict[str, list[str]] = {"": []}
        for path in self.files:
            self._add(path)

    def _add(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent not in self.below:
            self.below[parent] = []
            self._add(parent)
        if path not in self.below[parent]:
            self.below[parent].append(path)

    def build(self) -> Iso:
        # Laid out twice: records need the places of what they point to.
        places = dict.fromkeys((*self.below, *self.files), (0, 0))
        for _ in range(2):
            block = FIRST_FREE
            for folder in self.below:
                size = len(self._folder(folder, places))
                places[folder] = (block, size)
                block += size // SECTOR
            for path, data in self.files.items():
                places[path] = (block, len(data))
                block += -(-len(data) // SECTOR)
        self.iso.data = bytearray(block * SECTOR)
        self._fill(places, block)
        return self.iso

    def _fill(self, places: dict[str, tuple[int, int]], blocks: int) -> None:
        iso = self.iso
        for folder in self.below:
            iso.folders[folder] = places[folder][0] * SECTOR
            iso.put(iso.folders[folder], self._folder(folder, places))
        for path, data in self.files.items():
            iso.files[path] = places[path][0] * SECTOR
            iso.put(iso.files[path], data)
        root = record(b"\0", block=places[""][0], size=places[""][1], flags=2)
        iso.put(16 * SECTOR, primary(blocks, root))
        iso.put(17 * SECTOR, b"\xffCD001\x01")

    def _folder(self, folder: str, places: dict[str, tuple[int, int]]) -> bytes:
        parent = folder.rpartition("/")[0]
        own = px(FOLDER_MODE) if folder else SP + px(FOLDER_MODE) + ER
        raws = [
            ("", self._point(b"\0", places[folder], system_use=own)),
            ("", self._point(b"\1", places[parent], system_use=px(FOLDER_MODE))),
        ]
        for number, path in enumerate(self.below[folder]):
            raws += self._records(path, f"F{number}".encode(), places)
        data = bytearray()
        for path, raw in raws:
            if len(data) % SECTOR + len(raw) > SECTOR:
                data += bytes(-len(data) % SECTOR)
            if path:
                base = self.iso.folders.get(folder, 0)
                self.iso.records.setdefault(path, 0)
                if base and self.iso.records[path] == 0:
                    self.iso.records[path] = base + len(data)
            data += raw
        return bytes(data) + bytes(-len(data) % SECTOR)

    def _point(
        self, identifier: bytes, place: tuple[int, int], *, system_use: bytes
    ) -> bytes:
        return record(
            identifier, block=place[0], size=place[1], flags=2, system_use=system_use
        )

    def _records(
        self, path: str, identifier: bytes, places: dict[str, tuple[int, int]]
    ) -> list[tuple[str, bytes]]:
        name = path.rpartition("/")[2].encode()
        folder = path in self.below
        mode = FOLDER_MODE if folder else FILE_MODE
        use = self.system_use.get(path, px(mode) + nm(name))
        block, size = places[path]
        if folder:
            return [(path, self._point(identifier, (block, size), system_use=use))]
        found = []
        step = self.runs.get(path, size or 1)
        for start in range(0, size or 1, step):
            length = min(step, size - start)
            raw = record(
                identifier,
                block=block + start // SECTOR,
                size=length,
                flags=0x80 if start + length < size else 0,
                system_use=use,
            )
            found.append((path, raw))
        return found


def primary(blocks: int, root: bytes) -> bytes:
    """Return a primary volume descriptor."""
    sector = bytearray(SECTOR)
    sector[0:7] = b"\x01CD001\x01"
    sector[80:88] = both(blocks, 4)
    sector[120:124] = both(1, 2)
    sector[124:128] = both(1, 2)
    sector[128:132] = both(SECTOR, 2)
    sector[156:190] = root
    sector[881] = 1
    return bytes(sector)
