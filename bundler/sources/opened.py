"""Opens a source file once, from its inspection to the end of its copy.

It must not change in between: what was inspected is what is signed.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO, Self

from bundleformat.errors import ConflictError, LimitExceededError, MissingError
from bundler.errors import SpecError


class Source:
    """An open source file; a context manager that closes it.

    Attributes:
        path: Where it was opened, for messages.
        file: The open file.
        size_bytes: Its size when it was opened.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Open ``path``.

        Raises:
            MissingError: No such file.
            SpecError: Not a regular file, empty, or unreadable.
            LimitExceededError: Larger than an artifact may be.
        """
        self.path = path
        try:
            self.file: BinaryIO = path.open("rb")
        except FileNotFoundError as error:
            raise MissingError(
                "no such file", where=str(path), hint="Correct its path in the spec."
            ) from error
        except OSError as error:
            raise SpecError(
                "cannot be read", where=str(path), actual=error.strerror or str(error)
            ) from error
        self._opened = os.fstat(self.file.fileno())
        self.size_bytes = self._opened.st_size
        try:
            self._check(max_bytes)
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.file.close()

    def _check(self, max_bytes: int) -> None:
        if not stat.S_ISREG(self._opened.st_mode) or not self.size_bytes:
            raise SpecError("not a file with content", where=str(self.path))
        if self.size_bytes > max_bytes:
            raise LimitExceededError(
                "too large for an artifact",
                where=str(self.path),
                expected=f"at most {max_bytes} bytes",
                actual=f"{self.size_bytes} bytes",
            )

    def check_unchanged(self) -> None:
        """Check that nobody wrote to the file since it was opened.

        Raises:
            ConflictError: Its size or its modification time changed.
        """
        now = os.fstat(self.file.fileno())
        before = self._opened
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise ConflictError(
                "the file changed while it was read",
                where=str(self.path),
                hint="Build again when nothing writes to it.",
            )
