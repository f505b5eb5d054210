"""Reads the whole store again and says what is not as it was admitted.

Every file is named by the SHA-256 of its bytes, so the store can be checked
without asking anybody; which files ought to be there is said by the kept
generations. Nothing is changed, also not what could be repaired at once: a person
decides, and ``store repair`` repairs. Links are not followed and pipes not waited for.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from appliance.registry.catalogue import StoredFile
from appliance.registry.store import READ_ONLY, Store, storage_fault
from bundleformat.digest import Sha256, hash_reader, parse_sha256
from bundleformat.errors import LimitExceededError, MalformedError

WRITABLE_BY_OTHERS = 0o022
"""Permissions that the store's folder must not grant."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Problem(StrEnum):
    """What can be wrong with a file of the store."""

    DAMAGED = "damaged"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    MISNAMED = "misnamed"
    NOT_A_FILE = "not-a-file"
    MODE = "mode"
    OWNER = "owner"
    UNNEEDED = "unneeded"
    LEFTOVER = "leftover"

    @property
    def is_damage(self) -> bool:
        """Whether something is wrong, and not only left over."""
        return self not in {Problem.UNNEEDED, Problem.LEFTOVER}


@dataclass(frozen=True, kw_only=True, slots=True)
class Needed:
    """A file that ought to be there, and the generations that say so."""

    file: StoredFile
    names: tuple[str, ...]
    generations: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something a person should know of.

    Attributes:
        problem: What it is.
        path: Where.
        size_bytes: Size of what lies there; of a missing file, of what should.
        expected: What ought to be there, if that can be said in a word.
        actual: What is.
        needed: Who needs it, or None.
    """

    problem: Problem
    path: Path
    size_bytes: int = 0
    expected: str = ""
    actual: str = ""
    needed: Needed | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreReport:
    """What was read, and what was found."""

    files: int
    size_bytes: int
    findings: tuple[Finding, ...]

    @property
    def damaged(self) -> bool:
        """Whether anything is wrong."""
        return any(each.problem.is_damage for each in self.findings)


def check_store(
    store: Store,
    *,
    needed: Mapping[Sha256, Needed],
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> StoreReport:
    """Return what a whole reading of the store found.

    The caller MUST hold the import lock: what an import is admitting would look
    as if nobody needed it.

    Raises:
        StorageFaultError: The folder itself cannot be read.
    """
    try:
        names = _names(store.folder)
        findings = [*_check_folder(store.folder)]
        total = sum(os.lstat(store.folder / name).st_size for name in names)
    except OSError as error:
        raise storage_fault("cannot be read", store.folder, error) from error
    done = 0

    def count(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        progress(done, total)

    for name in sorted(names):
        wanted = needed.get(Sha256(name))
        findings += _check_file(store.folder / name, needed=wanted, progress=count)
    findings += [
        Finding(
            problem=Problem.MISSING,
            path=store.path_of(sha256),
            size_bytes=wanted.file.size_bytes,
            needed=wanted,
        )
        for sha256, wanted in needed.items()
        if sha256 not in names
    ]
    return StoreReport(
        files=len(names), size_bytes=total, findings=tuple(_in_order(findings))
    )


def leftovers(staging: Path) -> tuple[Finding, ...]:
    """Return what an interrupted import left behind, for the next one to go on.

    Raises:
        StorageFaultError: The folder cannot be read.
    """
    try:
        return tuple(
            Finding(
                problem=Problem.LEFTOVER,
                path=path,
                size_bytes=path.lstat().st_blocks * 512,
            )
            for path in sorted(staging.iterdir())
        )
    except OSError as error:
        raise storage_fault("cannot be read", staging, error) from error


def _names(folder: Path) -> frozenset[str]:
    paths = folder.iterdir() if folder.is_dir() else ()
    return frozenset(path.name for path in paths)


def _check_folder(folder: Path) -> Iterator[Finding]:
    """Look at the folder itself and at what lies beside it."""
    for path in sorted(folder.parent.iterdir()):
        if path != folder:
            yield Finding(problem=Problem.MISNAMED, path=path)
            continue
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            yield Finding(problem=Problem.NOT_A_FILE, path=path, expected="a folder")
        elif status.st_mode & WRITABLE_BY_OTHERS:
            yield _mode(path, status, expected=status.st_mode & ~WRITABLE_BY_OTHERS)
        elif status.st_uid != os.geteuid():
            yield _owner(path, status)


def _check_file(
    path: Path, *, needed: Needed | None, progress: Callable[[int], None]
) -> Iterator[Finding]:
    try:
        sha256 = parse_sha256(path.name)
    except MalformedError:
        yield Finding(
            problem=Problem.MISNAMED, path=path, expected="a SHA-256 as its name"
        )
        return
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            yield Finding(
                problem=Problem.NOT_A_FILE,
                path=path,
                expected="a plain file",
                actual=stat.filemode(status.st_mode),
                needed=needed,
            )
            return
        found = _digest(path, progress=progress)
    except (OSError, LimitExceededError) as error:
        why = error.strerror if isinstance(error, OSError) else "it grows"
        yield Finding(
            problem=Problem.UNREADABLE, path=path, actual=why or "", needed=needed
        )
        return
    if found != sha256:
        yield Finding(
            problem=Problem.DAMAGED,
            path=path,
            size_bytes=status.st_size,
            expected=f"sha256 {sha256}",
            actual=f"sha256 {found}",
            needed=needed,
        )
    if stat.S_IMODE(status.st_mode) != READ_ONLY:
        yield _mode(path, status, expected=READ_ONLY)
    if status.st_uid != os.geteuid():
        yield _owner(path, status)
    if needed is None:
        yield Finding(problem=Problem.UNNEEDED, path=path, size_bytes=status.st_size)


def _digest(path: Path, *, progress: Callable[[int], None]) -> Sha256:
    with os.fdopen(os.open(path, _FLAGS), "rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        # Forget what is in memory, so that this reads the disk.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        found, _ = hash_reader(
            file,
            max_bytes=size_bytes,
            where=str(path),
            sink=lambda block: progress(len(block)),
        )
    return found


def _mode(path: Path, status: os.stat_result, *, expected: int) -> Finding:
    return Finding(
        problem=Problem.MODE,
        path=path,
        expected=f"{stat.S_IMODE(expected):o}",
        actual=f"{stat.S_IMODE(status.st_mode):o}",
    )


def _owner(path: Path, status: os.stat_result) -> Finding:
    return Finding(
        problem=Problem.OWNER,
        path=path,
        expected=f"uid {os.geteuid()}",
        actual=f"uid {status.st_uid}",
    )


def _in_order(findings: list[Finding]) -> list[Finding]:
    """Return the findings, what is wrong first, then by place."""
    return sorted(
        findings, key=lambda each: (not each.problem.is_damage, str(each.path))
    )
