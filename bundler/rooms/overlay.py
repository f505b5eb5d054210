"""A medium as it will be once a few more files lie on it.

Lets a host's verification see a bundle whose last files are not written yet, so
that they are only ever written to a bundle that passed.
"""

from collections.abc import Mapping
from io import BytesIO
from types import TracebackType
from typing import BinaryIO, Self

from bundleformat.errors import LimitExceededError
from bundleformat.medium import Medium
from bundleformat.paths import ArchivePath


class Overlay:
    """A medium, and files that hide those of the same path on it."""

    def __init__(self, medium: Medium, files: Mapping[ArchivePath, bytes]) -> None:
        """Take an open medium, whose owner closes it."""
        self._medium = medium
        self._files = dict(files)

    @property
    def label(self) -> str:
        """How messages call it."""
        return self._medium.label

    def open(self, path: ArchivePath) -> BinaryIO:
        """Return the file at ``path``, open for reading from its start."""
        if path in self._files:
            return BytesIO(self._files[path])
        return self._medium.open(path)

    def read(self, path: ArchivePath, *, max_bytes: int) -> bytes:
        """Return the whole file at ``path``.

        Raises:
            LimitExceededError: Longer than ``max_bytes``.
        """
        if path not in self._files:
            return self._medium.read(path, max_bytes=max_bytes)
        data = self._files[path]
        if len(data) > max_bytes:
            raise LimitExceededError(
                "too long",
                where=path,
                expected=f"at most {max_bytes} bytes",
                actual=f"{len(data)} bytes",
            )
        return data

    def exists(self, path: ArchivePath) -> bool:
        """Return whether a regular file lies at ``path``."""
        return path in self._files or self._medium.exists(path)

    def names(self, folder: ArchivePath, *, max_entries: int) -> tuple[str, ...]:
        """Return the names in ``folder``, ascending."""
        more = {
            name
            for place, _, name in (path.rpartition("/") for path in self._files)
            if place == folder
        }
        below = self._medium.names(folder, max_entries=max_entries)
        return tuple(sorted(more.union(below)))

    def close(self) -> None:
        """Do nothing: the medium is its owner's."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
