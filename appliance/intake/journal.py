"""Which chunks of a copy are said to be on the disk: one number a line.

A journal is a hint and nothing more. Whoever reads it hashes what it names again
before relying on it, so a journal that lies, or was cut by a crash, costs time.
"""

import os
from io import FileIO
from pathlib import Path
from typing import Final

MAX_JOURNAL_BYTES: Final = 2**20
"""More than the numbers of all chunks a manifest may list take. Unit: bytes."""

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def open_private(path: Path) -> FileIO:
    """Open ``path``, made if it is new, for this user alone; a link is not followed.

    Raises:
        OSError: The disk refused.
    """
    return os.fdopen(os.open(path, _FLAGS, 0o600), "r+b", buffering=0)


def write_all(file: FileIO, data: bytes) -> None:
    """Write every byte of ``data``.

    Raises:
        OSError: The disk refused.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def read_claims(path: Path) -> frozenset[int]:
    """Return the numbers in the journal at ``path``, which is not touched.

    Raises:
        OSError: The disk refused.
    """
    try:
        with path.open("rb") as file:
            return _numbers(file.read(MAX_JOURNAL_BYTES))
    except FileNotFoundError:
        return frozenset()


def _numbers(data: bytes) -> frozenset[int]:
    """Return the numbers on whole lines; what else is there says nothing."""
    whole = data[: data.rfind(b"\n") + 1]
    return frozenset(int(line) for line in whole.split() if line.isdigit())


class Journal:
    """An open journal; the caller MUST close it.

    Attributes:
        claimed: The numbers that were there when it was opened.
    """

    def __init__(self, path: Path) -> None:
        """Open the journal at ``path``; a last line that was cut is cut off.

        Raises:
            OSError: The disk refused.
        """
        self._file = open_private(path)
        data = self._file.read(MAX_JOURNAL_BYTES)
        whole = data[: data.rfind(b"\n") + 1]
        self._file.seek(len(whole))
        self._file.truncate()
        self.claimed = _numbers(whole)

    def add(self, number: int) -> None:
        """Say that chunk ``number`` is on the disk; the disk MUST have it.

        Raises:
            OSError: The disk refused.
        """
        write_all(self._file, f"{number}\n".encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
