"""What a bundle is read from, whatever it lies on.

A folder, a single ``.mbundle`` file, an ISO image and a set of volumes all answer
the same few questions. None of them names anything: paths come from ``layout.py``
and from signed digests. A medium reads; it decides nothing about what it read.
"""

from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

from bundleformat.paths import ArchivePath

COPY_AGAIN: Final = (
    "Copy the bundle again from its source; if it is refused again, report the medium "
    "as tampered with."
)
"""What a person does about a medium whose bytes are not what they should be."""


class Medium(Protocol):
    """An open medium; a context manager that closes it."""

    @property
    def label(self) -> str:
        """How messages call it: the path that was given."""

    def open(self, path: ArchivePath) -> BinaryIO:
        """Return the file at ``path``, open for reading from its start.

        Raises:
            MissingError: Nothing lies there.
            MalformedError: It, or a folder on the way, is not what it should be.
            StorageFaultError: The medium cannot be read.
        """

    def read(self, path: ArchivePath, *, max_bytes: int) -> bytes:
        """Return the whole file at ``path``.

        Raises:
            LimitExceededError: Longer than ``max_bytes``; it was not read.
            MissingError, MalformedError, StorageFaultError: As ``open``.
        """

    def exists(self, path: ArchivePath) -> bool:
        """Return whether a regular file lies at ``path``.

        Raises:
            MalformedError: Something else lies there.
        """

    def names(self, folder: ArchivePath, *, max_entries: int) -> tuple[str, ...]:
        """Return the names in ``folder``, ascending. They are not checked names.

        Raises:
            MissingError: There is no such folder.
            LimitExceededError: More than ``max_entries``.
        """

    def close(self) -> None:
        """Close the medium; what was opened from it may become unreadable."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
