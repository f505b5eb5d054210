"""The folder of unfinished copies, which survives the process that fills it.

An artifact grows in ``staging/<sha256>.part``, its journal beside it. Nothing in
this folder is ever served, and what another bundle left is removed. A bundle on
several volumes may take several runs: ``<manifest>.volumes`` remembers which of
them were copied whole, so that the next one can be asked for by its number.
"""

import os
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.intake.copying import ArtifactCopy
from appliance.intake.hashing import Hashers
from appliance.intake.journal import Journal, read_claims
from bundleformat.digest import Sha256
from bundleformat.errors import StorageFaultError
from bundleformat.manifest import Artifact

PART: Final = ".part"
JOURNAL: Final = ".journal"
VOLUMES: Final = ".volumes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What a file system offers to somebody without privileges.

    Attributes:
        free_bytes: Bytes.
        free_inodes: Files, or None where the file system does not count them.
    """

    free_bytes: int
    free_inodes: int | None


class Staging:
    """The folder of unfinished copies. The caller MUST hold the import lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def staged_bytes(self, artifact: Artifact) -> int:
        """Return the bytes a resumed copy of ``artifact`` already takes on disk.

        Raises:
            StorageFaultError: The disk could not be asked.
        """
        part = self._part(artifact.sha256)
        try:
            return part.stat().st_blocks * 512 if part.is_file() else 0
        except OSError as error:
            raise _fault("cannot be read", part, error) from error

    def claimed_chunks(self, artifact: Artifact) -> frozenset[Sha256]:
        """Return the chunks that an earlier run says it copied; only a hint.

        Raises:
            StorageFaultError: The disk refused.
        """
        path = self._journal(artifact.sha256)
        try:
            claims = read_claims(path)
        except OSError as error:
            raise _fault("cannot be read", path, error) from error
        chunks = enumerate(artifact.chunks)
        return frozenset(each.sha256 for index, each in chunks if index in claims)

    def room(self) -> Room:
        """Return the room on this file system.

        Raises:
            StorageFaultError: The disk could not be asked.
        """
        try:
            status = os.statvfs(self._folder)
        except OSError as error:
            raise _fault("cannot be read", self._folder, error) from error
        return Room(
            free_bytes=status.f_bavail * status.f_frsize,
            free_inodes=status.f_favail if status.f_files else None,
        )

    def copy_of(self, artifact: Artifact, *, hashers: Hashers) -> ArtifactCopy:
        """Return the copy of ``artifact``, begun by an earlier run or by nobody."""
        return ArtifactCopy(
            artifact,
            path=self._part(artifact.sha256),
            journal=self._journal(artifact.sha256),
            hashers=hashers,
        )

    def finished_volumes(self, bundle: Sha256) -> frozenset[int]:
        """Return the volumes that are said to be copied whole; only a hint.

        ``bundle`` is the digest of the bundle's manifest.

        Raises:
            StorageFaultError: The disk refused.
        """
        path = self._volumes(bundle)
        try:
            return read_claims(path)
        except OSError as error:
            raise _fault("cannot be read", path, error) from error

    def finish_volumes(self, bundle: Sha256, numbers: Iterable[int]) -> None:
        """Remember that these volumes were copied whole.

        Raises:
            StorageFaultError: The disk refused.
        """
        path = self._volumes(bundle)
        try:
            journal = Journal(path)
            try:
                for number in sorted(set(numbers) - journal.claimed):
                    journal.add(number)
            finally:
                journal.close()
        except OSError as error:
            raise _fault("cannot be written", path, error) from error

    def was_admitted(self, sha256: Sha256) -> bool:
        """Return whether the copy of that digest moved on and was not forgotten.

        So it is when somebody moved it into the store and was interrupted before
        the end: what that made of the file may not be on record.

        Raises:
            StorageFaultError: The disk could not be asked.
        """
        path = self._journal(sha256)
        try:
            return path.is_file() and not self._part(sha256).exists()
        except OSError as error:
            raise _fault("cannot be read", path, error) from error

    def forget(self, sha256: Sha256) -> None:
        """Remove the copy of that digest, finished or not, and what is said of it.

        The journal goes first: alone it would say that the copy was admitted.

        Raises:
            StorageFaultError: The disk refused.
        """
        for path in (self._journal(sha256), self._part(sha256)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _fault("cannot be removed", path, error) from error

    def purge(
        self, *, keep: Collection[Sha256] = (), bundle: Sha256 | None = None
    ) -> None:
        """Remove everything but the unfinished copies of ``keep``.

        ``bundle`` is the digest of the manifest of the bundle that they are of.

        Raises:
            StorageFaultError: The disk refused.
        """
        kept = {path for sha in keep for path in (self._part(sha), self._journal(sha))}
        if bundle is not None:
            kept.add(self._volumes(bundle))
        try:
            # In this order a journal goes before its copy, as in ``forget``.
            for path in sorted(self._folder.iterdir()):
                if path not in kept:
                    _remove(path)
        except OSError as error:
            raise _fault("cannot be emptied", self._folder, error) from error

    def _part(self, sha256: Sha256) -> Path:
        return self._folder / f"{sha256}{PART}"

    def _journal(self, sha256: Sha256) -> Path:
        return self._folder / f"{sha256}{JOURNAL}"

    def _volumes(self, bundle: Sha256) -> Path:
        return self._folder / f"{bundle}{VOLUMES}"


def _fault(problem: str, path: Path, error: OSError) -> StorageFaultError:
    return StorageFaultError(problem, where=str(path), actual=error.strerror or "")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
