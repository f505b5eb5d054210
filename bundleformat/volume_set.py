"""Several volumes of one bundle, read as one medium.

Metadata comes from the first volume; every other one must carry the same, byte
for byte, or it is foreign. A chunk is read from whichever volume has it. Which
volumes are still wanted is known from the hints, so it is only ever said, never
relied on: what a bundle holds, its manifest says.
"""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import BinaryIO, Final, Self

from bundleformat.digest import Sha256
from bundleformat.errors import (
    ConflictError,
    LimitExceededError,
    MalformedError,
    MissingError,
    RefusalError,
    UsageError,
    VolumesMissingError,
)
from bundleformat.layout import (
    MANIFEST_PATH,
    TIMESTAMP_PATH,
    chunk_path,
)
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.manifest import Chunk
from bundleformat.medium import COPY_AGAIN, Medium
from bundleformat.paths import ArchivePath
from bundleformat.volume_hint import VolumeHint, read_hint

CHUNKS_FOLDER: Final = ArchivePath("c")
"""Folder of the folders of chunks; the one that differs between volumes."""


class VolumeSet:
    """Open volumes of one bundle, which are one medium together.

    Attributes:
        media: The volumes, in the order given.
        hints: What each says of itself; None for one that says nothing.
        label: How messages call it: the paths given.
    """

    def __init__(
        self, media: Sequence[Medium], *, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        """Take over open ``media``; ``close`` closes them.

        Raises:
            ConflictError: One is of another bundle than the first, or of the same
                bundle split in another way.
            MissingError: One carries no metadata.
            MalformedError, LimitExceededError, StorageFaultError: One cannot be
                read.
        """
        if not media:
            raise UsageError("no volume was named")
        self.media = tuple(media)
        self.label = ", ".join(medium.label for medium in self.media)
        self._limits = limits
        self.hints = tuple(self._hint(medium) for medium in self.media)
        for medium, hint in zip(self.media[1:], self.hints[1:], strict=True):
            self._check_same_bundle(medium)
            self._check_same_split(medium, hint)

    def close(self) -> None:
        """Close all volumes."""
        for medium in self.media:
            medium.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def of(self) -> int:
        """How many volumes there are, by the volumes' own account."""
        return _split_of(self.hints[0])[0]

    @property
    def since(self) -> int | None:
        """The version whose chunks were left out, by the volumes' own account."""
        return _split_of(self.hints[0])[1]

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the volumes at hand, ascending, each once."""
        return tuple(sorted({_number(hint) for hint in self.hints}))

    def wanted(self) -> tuple[int, ...]:
        """Return the numbers of the volumes that are not at hand, ascending."""
        return tuple(sorted({*range(1, self.of + 1)} - {*self.numbers()}))

    def duplicates(self) -> tuple[str, ...]:
        """Return the labels of volumes whose number came before, in their order."""
        seen: Counter[int] = Counter()
        found: list[str] = []
        for medium, hint in zip(self.media, self.hints, strict=True):
            seen[_number(hint)] += 1
            if seen[_number(hint)] > 1:
                found.append(medium.label)
        return tuple(found)

    def holder(self, path: ArchivePath) -> str:
        """Return the label of the volume that ``path`` is read from.

        Where none has it, that is what all of them are called together.
        """
        for medium in self._searched(path):
            try:
                found = medium.exists(path)
            except MalformedError:
                found = True
            if found:
                return medium.label
        return self.label

    def claiming(self, sha256: Sha256) -> tuple[int, ...]:
        """Return the numbers of the volumes at hand that say they hold the chunk."""
        hints = [hint for hint in self.hints if hint is not None]
        return tuple(sorted({one.volume for one in hints if sha256 in one.chunks}))

    def present(self, chunk: Chunk) -> bool:
        """Return whether a volume at hand has ``chunk``.

        Raises:
            MalformedError: Something that is no regular file lies in its place.
        """
        return self.exists(chunk_path(chunk.sha256))

    def exists(self, path: ArchivePath) -> bool:
        """Return whether a volume at hand has a file at ``path``.

        Raises:
            MalformedError: Something else lies there.
        """
        return any(medium.exists(path) for medium in self._searched(path))

    def open(self, path: ArchivePath) -> BinaryIO:
        """Return the file at ``path``, from the first volume that has it.

        Raises:
            VolumesMissingError: No volume at hand has this chunk, and not all are
                at hand.
            MissingError: No volume at hand has it.
            MalformedError: Something that is no regular file lies in its place.
            StorageFaultError: A volume cannot be read.
        """
        for medium in self._searched(path):
            try:
                return medium.open(path)
            except MissingError as error:
                absent = error
        if _is_chunk(path) and self.wanted():
            raise self.missing(where=path) from absent
        raise absent

    def missing(self, *, where: str) -> VolumesMissingError:
        """Return the error that names the volumes which are not at hand."""
        wanted = ", ".join(map(str, self.wanted()))
        return VolumesMissingError(
            "lies on a volume that is not at hand",
            where=where,
            expected=f"volume {wanted} of {self.of}",
            actual=f"volume {', '.join(map(str, self.numbers()))}",
            hint=f"Name the other volumes, too: {wanted} of {self.of}.",
            volumes=self.wanted(),
        )

    def read(self, path: ArchivePath, *, max_bytes: int) -> bytes:
        """Return the whole file at ``path``, from the first volume that has it.

        Raises:
            LimitExceededError: Longer than ``max_bytes``; it was not read.
            MissingError, VolumesMissingError, MalformedError, StorageFaultError:
                As ``open``.
        """
        for medium in self._searched(path):
            if medium.exists(path):
                return medium.read(path, max_bytes=max_bytes)
        self.open(path).close()
        raise MissingError("gone while it was read", where=path)

    def names(self, folder: ArchivePath, *, max_entries: int) -> tuple[str, ...]:
        """Return the names in ``folder``, ascending, each once.

        Of chunks, those of all volumes; otherwise those of the first.

        Raises:
            MissingError: No volume at hand has such a folder.
            LimitExceededError: More than ``max_entries``.
        """
        found: set[str] = set()
        absent: MissingError | None = None
        for medium in self._searched(folder):
            try:
                found.update(medium.names(folder, max_entries=max_entries))
            except MissingError as error:
                absent = error
        if not found and absent is not None:
            raise absent
        if len(found) > max_entries:
            raise LimitExceededError(
                "too many files", where=folder, expected=f"at most {max_entries}"
            )
        return tuple(sorted(found))

    def _searched(self, path: ArchivePath) -> tuple[Medium, ...]:
        return self.media if _is_chunk(path) else self.media[:1]

    def _hint(self, medium: Medium) -> VolumeHint | None:
        try:
            return read_hint(medium, limits=self._limits)
        except RefusalError as error:
            raise error.inside(medium.label).advised(COPY_AGAIN) from error

    def _check_same_bundle(self, medium: Medium) -> None:
        first = self.media[0]
        for path, cap in (
            (TIMESTAMP_PATH, self._limits.timestamp_bytes),
            (MANIFEST_PATH, self._limits.manifest_bytes),
        ):
            try:
                same = first.read(path, max_bytes=cap) == medium.read(
                    path, max_bytes=cap
                )
            except RefusalError as error:
                raise error.inside(medium.label) from error
            if not same:
                raise ConflictError(
                    "a volume of another bundle",
                    where=medium.label,
                    expected=self._bundle_of(first),
                    actual=self._bundle_of(medium),
                    hint="Name volumes of one bundle; this one is not of the same "
                    f"as {first.label}.",
                )

    def _check_same_split(self, medium: Medium, hint: VolumeHint | None) -> None:
        # Volumes are told apart by their numbers, which two splits count alike.
        if _split_of(hint) != _split_of(self.hints[0]):
            raise ConflictError(
                "a volume of the same bundle, split in another way",
                where=medium.label,
                expected=self._bundle_of(self.media[0]),
                actual=self._bundle_of(medium),
                hint="Name volumes of one split.",
            )

    def _bundle_of(self, medium: Medium) -> str:
        hint = read_hint(medium, limits=self._limits)
        if hint is None:
            return "a bundle of one volume"
        return (
            f"channel {hint.channel}, version {hint.version}, "
            f"volume {hint.volume} of {hint.of}"
        )


def _number(hint: VolumeHint | None) -> int:
    return 1 if hint is None else hint.volume


def _split_of(hint: VolumeHint | None) -> tuple[int, int | None]:
    return (1, None) if hint is None else (hint.of, hint.since)


def _is_chunk(path: ArchivePath) -> bool:
    return path == CHUNKS_FOLDER or path.startswith(f"{CHUNKS_FOLDER}/")
