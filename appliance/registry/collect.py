"""What no kept generation needs any more: stored files and installed environments.

Kept are the active generation of every channel and, of each, those that were
active last before it. Only names that are digests are ever collected: whatever
else lies there is not ours to remove, and ``fsck`` names it.
"""

import os
import shutil
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from appliance.registry.catalogue import (
    Generation,
    StoredFile,
    files_of,
    removed_digests,
)
from appliance.registry.generations import by_last_activation, list_generations
from appliance.registry.store import Store, storage_fault
from bundleformat.digest import Sha256, parse_sha256
from bundleformat.errors import MalformedError

REMOVED_PREFIX = ".removed-"
"""How the folder of an environment begins while it is being removed."""

UNFINISHED = (REMOVED_PREFIX, ".scratch-")
"""How a folder begins that a removal or an installation did not get done with."""

_OWNER_MAY = stat.S_IRWXU


@dataclass(frozen=True, kw_only=True, slots=True)
class Surplus:
    """What can go.

    Attributes:
        files: Stored files that no kept generation needs.
        environments: Folders of environments of generations that are not kept.
        generations: Ids of the generations that cannot be activated afterwards.
    """

    files: tuple[StoredFile, ...]
    environments: tuple[Path, ...]
    generations: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """What the files take."""
        return sum(file.size_bytes for file in self.files)

    def __bool__(self) -> bool:
        return bool(self.files or self.environments or self.generations)


def kept_generations(connection: Connection, *, keep: int) -> tuple[Generation, ...]:
    """Return the active generations and ``keep`` more of each channel.

    A generation whose files may be gone already does not count as one more.
    """
    known = {each.id: each for each in list_generations(connection)}
    kept: list[Generation] = []
    for channel in sorted({each.channel for each in known.values()}):
        order = [known[each] for each in by_last_activation(connection, channel)]
        rest = [each for each in order if not each.active and not each.collected_ts]
        kept += [*(each for each in order if each.active), *rest[:keep]]
    return tuple(kept)


def find_surplus(
    connection: Connection, *, store: Store, environments: Path, keep: int
) -> Surplus:
    """Return what no generation needs that stays kept; removes nothing.

    The caller MUST hold the import lock.

    Raises:
        StorageFaultError: A folder cannot be read.
    """
    removed = removed_digests(connection)
    kept = kept_generations(connection, keep=keep)
    needed: set[Sha256] = set()
    for each in kept:
        needed |= files_of(each, removed=removed).keys()
    manifests = {each.manifest_sha256 for each in kept}
    stored = _stored(store.folder)
    folders = _folders(environments)
    ids = {each.id for each in kept}
    lost = [
        each.id
        for each in list_generations(connection)
        if each.id not in ids
        and each.collected_ts is None
        and (
            each.manifest_sha256 in folders
            or _loses(each, needed=needed, removed=removed)
        )
    ]
    return Surplus(
        files=tuple(file for sha, file in stored.items() if sha not in needed),
        environments=tuple(
            path for name, path in folders.items() if name not in manifests
        ),
        generations=tuple(sorted(lost)),
    )


def remove_environment(folder: Path) -> None:
    """Remove the installed environments of a generation; links are not followed.

    They count no more from the first moment on, whatever interrupts it.

    Raises:
        StorageFaultError: The disk refused.
    """
    gone = folder.with_name(
        f"{REMOVED_PREFIX}{folder.name.removeprefix(REMOVED_PREFIX)}"
    )
    try:
        folder.rename(gone)
        for path, _, _ in os.walk(gone):
            # A read-only folder does not let its owner remove what is in it.
            Path(path).chmod(_OWNER_MAY)
        shutil.rmtree(gone)
    except OSError as error:
        raise storage_fault("cannot be removed", folder, error) from error


def _loses(
    generation: Generation, *, needed: Collection[Sha256], removed: frozenset[Sha256]
) -> bool:
    """Return whether a generation that is not kept loses a file it needs."""
    return any(file not in needed for file in files_of(generation, removed=removed))


def _stored(folder: Path) -> Mapping[Sha256, StoredFile]:
    found: dict[Sha256, StoredFile] = {}
    try:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            status = path.lstat()
            if _is_digest(path.name) and stat.S_ISREG(status.st_mode):
                sha256 = Sha256(path.name)
                found[sha256] = StoredFile(sha256=sha256, size_bytes=status.st_size)
    except OSError as error:
        raise storage_fault("cannot be read", folder, error) from error
    return found


def _folders(root: Path) -> Mapping[str, Path]:
    """Return the folders of environments by name, unfinished ones among them."""
    try:
        return {
            path.name: path
            for path in (sorted(root.iterdir()) if root.is_dir() else ())
            if (_is_digest(path.name) or path.name.startswith(UNFINISHED))
            and stat.S_ISDIR(path.lstat().st_mode)
        }
    except OSError as error:
        raise storage_fault("cannot be read", root, error) from error


def _is_digest(name: str) -> bool:
    try:
        parse_sha256(name)
    except MalformedError:
        return False
    return True
