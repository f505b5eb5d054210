"""Fuzz targets that read a medium: its metadata, its hints, and files that are one."""

import functools
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from bundleformat import strictjson, volume_hint
from bundleformat.digest import Sha256
from bundleformat.errors import LimitExceededError, MissingError, RefusalError
from bundleformat.image_file import ImageFile
from bundleformat.iso9660 import IsoImage
from bundleformat.layout import (
    MANIFEST_PATH,
    TIMESTAMP_PATH,
    VOLUME_HINT_PATH,
    root_path,
    snapshot_path,
    targets_path,
)
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import encode_manifest, parse_manifest
from bundleformat.paths import ArchivePath, parse_name
from bundleformat.single_file import SingleFile
from bundleformat.ustar import BLOCK_BYTES, END, Header, encode_header, has_magic
from bundleformat.verify import verify_metadata
from bundleformat.volume_set import VolumeSet
from tests.fuzz.target import Target, pack, unpack
from tests.support.compliance import compliance_signer
from tests.support.iso_bytes import both, iso_image
from tests.support.publisher import (
    NOW,
    TERMS,
    Keys,
    Published,
    make_root,
    next_root,
    publish_bundle,
)

CHUNK = "c/ab/ab" + "0" * 62
FILES = {
    "metadata/timestamp.json": b"{}",
    "targets/manifest.json": b"m" * 600,
    "volume.json": b"{}",
    CHUNK: bytes(range(256)) * 3,
}
"""What the images to begin with hold."""

METADATA = (
    TIMESTAMP_PATH,
    root_path(2),
    snapshot_path(1),
    targets_path(1),
    MANIFEST_PATH,
)
"""The files of the metadata target, in the order in which they are packed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InMemory:
    """A medium of a few files that lies in memory."""

    files: Mapping[str, bytes]
    label: str = "in memory"

    def open(self, path: ArchivePath) -> BinaryIO:
        return io.BytesIO(self._find(path))

    def read(self, path: ArchivePath, *, max_bytes: int) -> bytes:
        data = self._find(path)
        if len(data) > max_bytes:
            raise LimitExceededError("too long", where=path)
        return data

    def exists(self, path: ArchivePath) -> bool:
        return path in self.files

    def names(self, folder: ArchivePath, *, max_entries: int) -> tuple[str, ...]:
        found = [path for path in self.files if path.startswith(f"{folder}/")]
        assert len(found) <= max_entries
        return tuple(sorted(path.rpartition("/")[2] for path in found))

    def close(self) -> None:
        """Keep everything."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep everything."""

    def _find(self, path: ArchivePath) -> bytes:
        if path not in self.files:
            raise MissingError("not on this medium", where=path)
        return self.files[path]


def _read_manifest(data: bytes) -> None:
    manifest = parse_manifest(data, limits=DEFAULT_LIMITS)
    assert encode_manifest(manifest) == data


def _read_hint(data: bytes) -> None:
    hint = volume_hint.parse(data, limits=DEFAULT_LIMITS)
    assert volume_hint.encode(hint) == data


def _read_volumes(data: bytes) -> None:
    """Read the hints of several volumes of one bundle, and what follows from them."""
    same: dict[str, bytes] = {TIMESTAMP_PATH: b"{}", MANIFEST_PATH: b"{}"}
    volumes = VolumeSet(
        [
            InMemory(files={**same, VOLUME_HINT_PATH: hint} if hint else same)
            for hint in unpack(data, most=3)
        ]
    )
    assert set(volumes.numbers()) | set(volumes.wanted()) == {*range(1, volumes.of + 1)}
    assert len(volumes.duplicates()) + len(volumes.numbers()) == len(volumes.media)
    with suppress(RefusalError):
        volumes.open(ArchivePath(CHUNK))


def canonical(data: bytes) -> bytes:
    """Return JSON in its one spelling, or ``data`` where there is none."""
    try:
        value = strictjson.decode(data, max_bytes=2**20, max_depth=16, where="")
        return strictjson.encode(value)
    except RefusalError:
        return data


def canonical_parts(data: bytes) -> bytes:
    """Return packed JSON documents, each in its one spelling."""
    return pack(*map(canonical, unpack(data, most=8)))


@functools.cache
def published() -> tuple[Published, bytes]:
    """Return a signed bundle, always the same, and its packed metadata."""
    root, release, bundler, compliance = map(compliance_signer, range(4))
    keys = Keys(root=(root,), release=release, bundler=bundler, compliance=compliance)
    first = make_root(keys)
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / "m.gguf"
        model.write_bytes(bytes(range(256)) * 20)
        bundle = publish_bundle(
            Path(name) / "bundle",
            models=[("m", model, TERMS)],
            policies=[("site", b"permit (principal, action, resource);\n")],
            keys=keys,
            roots=(first, next_root(first, signers=keys.root)),
            chunk_bytes=2_000,
        )
        files = [(bundle.folder / path).read_bytes() for path in METADATA]
    return bundle, pack(*files)


def _read_metadata(data: bytes) -> object:
    parts = unpack(data, most=len(METADATA))
    with tempfile.TemporaryDirectory() as scratch:
        bundle = verify_metadata(
            InMemory(files=dict(zip(METADATA, parts, strict=False))),
            state=published()[0].state(),
            floor=None,
            now=NOW,
            scratch=Path(scratch),
            limits=DEFAULT_LIMITS,
        )
        assert list(Path(scratch).iterdir()) == []
        return bundle


@contextmanager
def _as_file(data: bytes) -> Iterator[Path]:
    descriptor = os.memfd_create("input")
    try:
        os.write(descriptor, data)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _read_image(reader: type[ImageFile], data: bytes) -> None:
    with _as_file(data) as path, reader(path) as image:
        for folder in ("metadata", "targets", "c"):
            with suppress(RefusalError):
                image.names(ArchivePath(folder), max_entries=100)
        for name in FILES:
            with suppress(RefusalError):
                whole = image.read(ArchivePath(name), max_bytes=2**20)
                with image.open(ArchivePath(name)) as file:
                    assert file.read() == whole


def _archive(files: Mapping[str, bytes]) -> bytes:
    entries = []
    for path, data in files.items():
        head = Header(path=ArchivePath(path), size_bytes=len(data), modified_s=1)
        entries += [encode_header(head), data, bytes(-len(data) % BLOCK_BYTES)]
    return b"".join(entries) + END


def checksummed(data: bytes) -> bytes:
    """Return a tar archive in which the checksum of every header is right."""
    whole = bytearray(data)
    for start in range(0, len(data) - BLOCK_BYTES + 1, BLOCK_BYTES):
        block = whole[start : start + BLOCK_BYTES]
        if has_magic(bytes(block)):
            block[148:156] = b" " * 8
            whole[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    return bytes(whole)


def _iso_seeds() -> Sequence[bytes]:
    several = {CHUNK: 2_048}
    files = {**FILES, CHUNK: bytes(5_000)}
    odd = iso_image({**FILES, "metadata/a\x1b[2J": b"x"})
    odd.put(odd.records["metadata/a\x1b[2J"] + 2, both(10**6, 4))
    images = [iso_image(FILES), iso_image(files, runs=several), odd]
    return [bytes(image.data) for image in images]


def _hint_seeds() -> Sequence[bytes]:
    hints = [
        volume_hint.VolumeHint(
            channel=parse_name("main"),
            version=7,
            volume=volume,
            of=2,
            since=since,
            chunks=(Sha256("ab" * 32),),
        )
        for volume, since in ((1, None), (2, 3), (2, None))
    ]
    return [volume_hint.encode(hint) for hint in hints]


TARGETS = (
    Target(
        name="manifest",
        read=_read_manifest,
        seeds=lambda: [encode_manifest(published()[0].manifest)],
        mend=canonical,
    ),
    Target(name="volume-hint", read=_read_hint, seeds=_hint_seeds, mend=canonical),
    Target(
        name="volume-set",
        read=_read_volumes,
        seeds=lambda: [
            pack(_hint_seeds()[0], _hint_seeds()[2]),
            pack(_hint_seeds()[1], _hint_seeds()[1]),
            pack(b"", _hint_seeds()[0]),
        ],
        mend=canonical_parts,
    ),
    Target(
        name="metadata",
        read=_read_metadata,
        seeds=lambda: [published()[1]],
        mend=canonical_parts,
    ),
    Target(
        name="single-file",
        read=functools.partial(_read_image, SingleFile),
        seeds=lambda: [_archive(FILES), _archive({})],
        mend=checksummed,
    ),
    Target(
        name="iso9660",
        read=functools.partial(_read_image, IsoImage),
        seeds=_iso_seeds,
    ),
)
