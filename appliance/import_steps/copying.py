"""Copies what a bundle delivers from media, and from what is here already."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Self

from appliance.import_steps.host import Copied, ImportHost, ImportPlan, Observer
from appliance.import_steps.media import lacking_error
from appliance.import_steps.preflight import intact
from appliance.import_steps.reuse import Places, find_places, sources
from appliance.intake.copying import ArtifactCopy, Source
from appliance.intake.hashing import Hashers
from appliance.intake.staging import Staging
from bundleformat.bad_chunk import naming
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import RefusalError
from bundleformat.layout import chunk_path
from bundleformat.manifest import Chunk
from bundleformat.volume_set import VolumeSet


class Counter:
    """Adds up bytes and tells an observer."""

    def __init__(self, observer: Observer, total_bytes: int) -> None:
        self._observer = observer
        self._total_bytes = total_bytes
        self._done_bytes = 0

    def add(self, count: int) -> None:
        """Count ``count`` more bytes as dealt with."""
        self._done_bytes += count
        self._observer.on_progress(self._done_bytes, self._total_bytes)


class Copying:
    """The copies of one bundle's artifacts; a context manager that ends its threads.

    What the store holds is read again instead of copied; if it has decayed or
    cannot be read, it is copied like the rest and replaced.
    """

    def __init__(
        self, host: ImportHost, plan: ImportPlan, *, observer: Observer
    ) -> None:
        self._host = host
        self._bundle = plan.bundle
        self._wanted = plan.wanted
        self._staging = Staging(host.staging)
        self._hashers = Hashers()
        total = sum(each.size_bytes for each in plan.wanted.values())
        self._counter = Counter(observer, total)
        self._stored: dict[Sha256, Path] | None = None
        self._unfinished: dict[Sha256, ArtifactCopy] = {}
        self._finished: dict[Sha256, ArtifactCopy] = {}
        self._places: Places | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hashers.close()

    def take(self, volumes: VolumeSet) -> RefusalError | None:
        """Copy everything that ``volumes`` and this host have.

        Returns:
            Nothing when all is there; otherwise why not, and what to do about it.

        Raises:
            RefusalError: A chunk, or a whole, is not what was signed.
            StorageFaultError: The disk refused, or a medium cannot be read; good
                chunks stay for a later run.
        """
        if self._stored is None:
            self._stored = dict(self._held())
            self._begin(self._stored)
        lacking: set[Sha256] = set()
        for sha256, copy in tuple(self._unfinished.items()):
            try:
                absent = copy.fill(
                    partial(self._find, volumes), progress=self._counter.add
                )
            except RefusalError as error:
                raise naming(error, copy.artifact, volumes) from error
            if absent:
                lacking.update(chunk.sha256 for chunk in absent)
            else:
                self._finished[sha256] = self._unfinished.pop(sha256)
        return self._verdict(volumes, lacking) if lacking else None

    def result(self) -> Copied:
        """Return what was copied. ``take`` MUST have found everything."""
        copies = {sha256: copy.path for sha256, copy in self._finished.items()}
        done = self._finished.values()
        return Copied(
            copies={**(self._stored or {}), **copies},
            medium_bytes=sum(copy.medium_bytes for copy in done),
            reused_bytes=sum(copy.reused_bytes for copy in done),
        )

    def _held(self) -> Iterator[tuple[Sha256, Path]]:
        for sha256, artifact in self._wanted.items():
            if intact(self._host, artifact):
                self._counter.add(artifact.size_bytes)
                yield sha256, self._host.store.path_of(sha256)

    def _begin(self, stored: Mapping[Sha256, Path]) -> None:
        for sha256, artifact in self._wanted.items():
            if sha256 not in stored:
                self._unfinished[sha256] = self._staging.copy_of(
                    artifact, hashers=self._hashers
                )

    def _find(self, volumes: VolumeSet, chunk: Chunk) -> Iterator[Source]:
        if volumes.present(chunk):
            where = chunk_path(chunk.sha256)
            yield Source(where=where, open=partial(volumes.open, where))
            return
        if self._places is None:
            self._places = find_places(
                self._host,
                {
                    each.sha256
                    for copy in self._unfinished.values()
                    for each in copy.artifact.chunks
                },
            )
        yield from sources(self._host.store, self._places.get(chunk.sha256, ()))

    def _verdict(self, volumes: VolumeSet, lacking: set[Sha256]) -> RefusalError:
        bundle = sha256_of(self._bundle.manifest_bytes)
        broken = {number for each in lacking for number in volumes.claiming(each)}
        finished = [each for each in volumes.numbers() if each not in broken]
        self._staging.finish_volumes(bundle, finished)
        return lacking_error(
            volumes,
            lacking,
            finished=self._staging.finished_volumes(bundle),
            manifest=self._bundle.manifest,
        )
