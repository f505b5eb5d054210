"""The content-addressed store: ``store/sha256/<64 hex>``, read-only files.

A file is in the store whole or not at all: it arrives by one rename, after its
bytes are on disk. The store knows digests, not names, and decides nothing; what
is visible to anybody is what an active generation names.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from appliance.durable import sync_folder
from appliance.registry.catalogue import ActiveModel, StoredFile
from bundleformat.digest import Sha256, check_reader
from bundleformat.errors import DigestMismatchError, MissingError, StorageFaultError

READ_ONLY = 0o444
"""Mode of every stored file."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Store:
    """Files known by the SHA-256 of their bytes, below one folder."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "sha256"

    @property
    def folder(self) -> Path:
        """The folder that holds every stored file, and nothing else."""
        return self._folder

    def path_of(self, sha256: Sha256) -> Path:
        """Return where a file of that digest is, or would be."""
        return self._folder / sha256

    def paths_of(self, model: ActiveModel) -> tuple[Path, ...]:
        """Return where the files of a model are, in their order."""
        return tuple(self.path_of(part.sha256) for part in model.parts)

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

    def holds_intact(
        self,
        sha256: Sha256,
        *,
        size_bytes: int,
        progress: Callable[[int], object] = lambda _count: None,
    ) -> bool:
        """Return whether the stored bytes, read again now, are those admitted.

        ``progress`` is told of each run of bytes as it was read.

        Raises:
            StorageFaultError: The disk could not be read.
        """
        path = self.path_of(sha256)
        try:
            # A link or a pipe in its place is not the file that was admitted.
            with os.fdopen(os.open(path, _FLAGS), "rb") as file:
                check_reader(
                    file,
                    sha256=sha256,
                    size_bytes=size_bytes,
                    where=str(path),
                    sink=lambda block: progress(len(block)),
                )
        except (FileNotFoundError, DigestMismatchError):
            return False
        except OSError as error:
            raise storage_fault("cannot be read", path, error) from error
        return True

    def lost(
        self,
        file: StoredFile,
        *,
        progress: Callable[[int], object] = lambda _count: None,
    ) -> str:
        """Return what is wrong with a file that is needed, or an empty string.

        It is ``missing``, ``damaged`` or ``unreadable``: a decayed disk often says
        so with an error instead of other bytes.
        """
        try:
            if self.holds_intact(
                file.sha256, size_bytes=file.size_bytes, progress=progress
            ):
                return ""
            return "damaged" if self.has(file.sha256) else "missing"
        except StorageFaultError:
            return "unreadable"

    def remove(self, sha256: Sha256) -> None:
        """Forget the file of that digest; one that is not there is forgotten.

        A process that has it open goes on reading it. The caller MUST know that
        no generation that can still be activated needs it.

        Raises:
            StorageFaultError: The disk refused.
        """
        path = self.path_of(sha256)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_fault("cannot be removed", path, error) from error

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
                hint="Run: sallyport store repair MEDIUM, with a medium of its bundle.",
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
