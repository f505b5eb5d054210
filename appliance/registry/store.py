"""The content-addressed store: ``store/sha256/<64 hex>``, read-only files.

A file is in the store whole or not at all: it arrives by one rename, after its
bytes are on disk. The store knows digests, not names, and decides nothing; what
is visible to anybody is what an active generation names.
"""

import os
from pathlib import Path
from typing import BinaryIO

from appliance.durable import sync_folder
from bundleformat.digest import Sha256, check_reader
from bundleformat.errors import DigestMismatchError, MissingError, StorageFaultError

READ_ONLY = 0o444
"""Mode of every stored file."""


class Store:
    """Files known by the SHA-256 of their bytes, below one folder."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "sha256"

    def path_of(self, sha256: Sha256) -> Path:
        """Return where a file of that digest is, or would be."""
        return self._folder / sha256

    def has(self, sha256: Sha256) -> bool:
        """Return whether a file of that digest was admitted; its bytes are not read.

        Raises:
            StorageFaultError: The disk could not be asked.
        """
        path = self.path_of(sha256)
        try:
            return path.is_file()
        except OSError as error:
            raise storage_fault("cannot be looked for", path, error) from error

    def holds_intact(self, sha256: Sha256, *, size_bytes: int) -> bool:
        """Return whether the stored bytes, read again now, are those admitted.

        Raises:
            StorageFaultError: The disk could not be read.
        """
        path = self.path_of(sha256)
        try:
            with path.open("rb") as file:
                check_reader(
                    file, sha256=sha256, size_bytes=size_bytes, where=str(path)
                )
        except (FileNotFoundError, DigestMismatchError):
            return False
        except OSError as error:
            raise storage_fault("cannot be read", path, error) from error
        return True

    def open(self, sha256: Sha256) -> BinaryIO:
        """Return the file of that digest, open for reading.

        Raises:
            MissingError: It is not in the store.
            StorageFaultError: It is there and cannot be opened.
        """
        path = self.path_of(sha256)
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            raise MissingError(
                "not in the store",
                where=sha256,
                hint="Import the bundle that carries it again.",
            ) from error
        except OSError as error:
            raise storage_fault("cannot be opened", path, error) from error

    def admit(self, staged: Path, sha256: Sha256) -> Path:
        """Move ``staged`` into the store and return its place there.

        Afterwards the file survives power loss and is read-only. The caller
        MUST have hashed these very bytes, and ``staged`` MUST lie on the
        store's file system. A file of that digest that is already there is
        replaced, which repairs it if its bytes had decayed.

        Raises:
            StorageFaultError: The disk refused; the file is in one place or the other.
        """
        place = self.path_of(sha256)
        try:
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            with staged.open("rb") as file:
                os.fchmod(file.fileno(), READ_ONLY)
                os.fsync(file.fileno())
            staged.replace(place)
            sync_folder(self._folder)
        except OSError as error:
            raise storage_fault("cannot be admitted", place, error) from error
        return place


def storage_fault(problem: str, path: Path, error: OSError) -> StorageFaultError:
    """Return the fault for an operation the disk refused."""
    return StorageFaultError(problem, where=str(path), actual=error.strerror or "")
