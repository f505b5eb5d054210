"""Gathers lost files from whatever lies at hand: the store itself, and any media.

A chunk is wanted by its digest and nothing else. Where it comes from vouches for
nothing, and what is there and is not the chunk is passed over: the next place may
have it.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from appliance.import_steps.copying import Counter
from appliance.import_steps.host import ImportHost, Observer
from appliance.import_steps.reuse import find_places, sources
from appliance.intake import preflight as checks
from appliance.intake.copying import ArtifactCopy, Source
from appliance.intake.hashing import Hashers
from appliance.intake.staging import Staging
from bundleformat.digest import Sha256
from bundleformat.errors import MissingError
from bundleformat.layout import chunk_path
from bundleformat.manifest import Artifact, Chunk
from bundleformat.media import open_medium
from bundleformat.medium import Medium
from bundleformat.paths import ArchivePath

Lost = Mapping[Sha256, Sequence[Artifact]]
"""What is wanted: by digest, each way in which a publisher cut it into chunks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """What was found.

    Attributes:
        copies: Where the verified bytes of what was found lie.
        lacking: Digests of what was not found whole.
        bad: Places on media where something else lies than the chunk of that name.
        medium_bytes: Read from media in this run.
        reused_bytes: Read from files of the store in this run.
    """

    copies: Mapping[Sha256, Path]
    lacking: frozenset[Sha256]
    bad: tuple[str, ...]
    medium_bytes: int
    reused_bytes: int


@contextlib.contextmanager
def opened_media(paths: Sequence[Path]) -> Iterator[tuple[Medium, ...]]:
    """Give the media at ``paths``, of whatever bundles; nothing is read of them.

    Raises:
        MissingError: There is nothing at one of them.
        MalformedError: What is there is no medium.
        StorageFaultError: One cannot be read.
    """
    with contextlib.ExitStack() as stack:
        yield tuple(stack.enter_context(open_medium(path)) for path in paths)


def gather(
    host: ImportHost, lost: Lost, media: Sequence[Medium], *, observer: Observer
) -> Gathered:
    """Return copies of all of ``lost`` that ``media`` and this host have.

    What is not whole stays unfinished in the staging folder, for another medium,
    unless nothing of it was found.

    Raises:
        DigestMismatchError: A whole is not what was signed, whatever its chunks are.
        StorageFaultError: There is no room, or the disk refused; good chunks stay
            for a later run.
    """
    staging = Staging(host.staging)
    each_once = tuple(ways[0] for ways in lost.values())
    staged_bytes = sum(staging.staged_bytes(each) for each in each_once)
    need = checks.need_of(each_once, staged_bytes=staged_bytes)
    checks.check_room(need, staging.room(), where=str(host.staging))
    finder = _Finder(host, lost, media)
    counter = Counter(observer, sum(each.size_bytes for each in each_once))
    copies: dict[Sha256, ArtifactCopy] = {}
    lacking: set[Sha256] = set()
    with Hashers() as hashers:
        for sha256, ways in lost.items():
            for artifact in ways:
                copy = staging.copy_of(artifact, hashers=hashers)
                copies[sha256] = copy
                if not copy.fill(finder.find, progress=counter.add):
                    lacking.discard(sha256)
                    break
                lacking.add(sha256)
            else:
                _forget_if_empty(staging, ways[-1])
    return Gathered(
        copies={sha: copy.path for sha, copy in copies.items() if sha not in lacking},
        lacking=frozenset(lacking),
        bad=finder.bad(),
        medium_bytes=sum(copy.medium_bytes for copy in copies.values()),
        reused_bytes=sum(copy.reused_bytes for copy in copies.values()),
    )


def _forget_if_empty(staging: Staging, artifact: Artifact) -> None:
    if not staging.claimed_chunks(artifact):
        staging.forget(artifact.sha256)


class _Finder:
    """Says where a chunk may lie: in the store first, which is here anyway."""

    def __init__(self, host: ImportHost, lost: Lost, media: Collection[Medium]) -> None:
        self._store = host.store
        self._media = media
        self._places = find_places(
            host,
            {
                chunk.sha256
                for ways in lost.values()
                for a in ways
                for chunk in a.chunks
            },
        )
        self._there: set[str] = set()
        self._bad: dict[str, None] = {}

    def find(self, chunk: Chunk) -> Iterator[Source]:
        """Yield one place after the other; asking on says that one did not do."""
        yield from sources(self._store, self._places.get(chunk.sha256, ()))
        path = chunk_path(chunk.sha256)
        for medium in self._media:
            place = f"{medium.label}/{path}"
            yield Source(
                where=place,
                open=partial(self._open, medium, path, place),
                optional=True,
            )
            if place in self._there:
                self._bad[place] = None

    def bad(self) -> tuple[str, ...]:
        """Return the places where something else lies than a chunk of that name."""
        return tuple(self._bad)

    def _open(self, medium: Medium, path: ArchivePath, place: str) -> BinaryIO:
        self._there.add(place)
        try:
            return medium.open(path)
        except MissingError:
            self._there.discard(place)
            raise
