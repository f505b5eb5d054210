"""Chunks that this host already has, inside files of kept generations.

A differential bundle leaves them out, and a volume that was lost may be spared.
A manifest says at which place of which file a chunk lies. What is read there is
hashed again: a stored file may have decayed since it was admitted.
"""

import io
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, cast

from appliance.db.session import database_faults, reader
from appliance.import_steps.host import ImportHost
from appliance.intake.copying import Source
from appliance.registry.generations import list_generations
from appliance.registry.store import Store
from bundleformat.digest import Sha256
from bundleformat.manifest import Artifact


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a chunk lies: in which stored file, from which byte on."""

    file: Sha256
    offset: int
    size_bytes: int


Places = Mapping[Sha256, tuple[Place, ...]]
"""Where chunks lie in the store, by their digests."""


def find_places(host: ImportHost, chunks: Collection[Sha256]) -> Places:
    """Return the places in stored files at which ``chunks`` should lie."""
    if not chunks:
        return {}
    with database_faults(host.database), reader(host.database).begin() as connection:
        generations = list_generations(connection)
    artifacts = {
        artifact.sha256: artifact
        for generation in generations
        for artifact in generation.manifest.artifacts
    }
    found: dict[Sha256, list[Place]] = defaultdict(list)
    for artifact in artifacts.values():
        if host.store.has(artifact.sha256):
            _add_places(found, artifact, wanted=chunks)
    return {chunk: tuple(places) for chunk, places in found.items()}


def sources(store: Store, places: tuple[Place, ...]) -> tuple[Source, ...]:
    """Return where a chunk can be read in the store."""
    return tuple(
        Source(
            where=str(store.path_of(place.file)),
            open=partial(_open, store, place),
            from_medium=False,
            optional=True,
        )
        for place in places
    )


def _add_places(
    found: dict[Sha256, list[Place]], artifact: Artifact, *, wanted: Collection[Sha256]
) -> None:
    offset = 0
    for chunk in artifact.chunks:
        if chunk.sha256 in wanted:
            found[chunk.sha256].append(
                Place(file=artifact.sha256, offset=offset, size_bytes=chunk.size_bytes)
            )
        offset += chunk.size_bytes


def _open(store: Store, place: Place) -> BinaryIO:
    file = store.open(place.file)
    file.seek(place.offset)
    return cast("BinaryIO", io.BufferedReader(_Part(file, place.size_bytes)))


class _Part(io.RawIOBase):
    """The next bytes of a file and no more; closes the file with itself."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        super().__init__()
        self._file = file
        self._left = size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
