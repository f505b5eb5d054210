"""Installs the environments of a bundle, each from its own wheels alone.

1. scratch: a folder on the file system of the store, with the wheels linked into
   it under their file names.
2. build: an empty virtual environment, where it will stay.
3. install: the pip among the wheels installs them by hash, from that folder, without
   an index, a cache, a configuration or a build; it is confined, and has no network.
4. compare: what lies there is what the wheels record, and nothing else.
5. check: pip finds every requirement met.
6. mark: the environment counts, and nobody may write to it.

If anything fails, everything that was built is removed. Only environments for teams
are installed here: the program that runs this is replaced by the installer on the
medium, never beneath itself.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.containment import landlock
from appliance.environments.errand import Check, encode_check, read_error
from appliance.environments.launch import TIMEOUT_S, Launcher
from appliance.environments.place import (
    OWNER_MAY,
    SCRATCH_PREFIX,
    environment_folder,
    is_installed,
    make_removable,
    write_mark,
)
from bundleformat.artifact import Environment
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import (
    MalformedError,
    MissingError,
    RefusalError,
    StorageFaultError,
)
from bundleformat.manifest import Artifact, Manifest, encode_manifest

INSTALL: Final = (
    *("install", "--no-index", "--require-hashes", "--only-binary", ":all:"),
    *("--no-deps", "--no-cache-dir", "--no-warn-script-location", "--quiet"),
    *("--progress-bar", "off", "--root-user-action", "ignore"),
)
"""How pip is told to install. Every requirement is named, with its hash."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledEnvironment:
    """An environment that counts.

    Attributes:
        name: What people call it.
        folder: Where it is.
        wheels: How many wheels it was made of.
        kept: It was installed before, and compared with its wheels again.
    """

    name: str
    folder: Path
    wheels: int
    kept: bool


class EnvironmentInstaller:
    """Installs below one folder. The caller MUST hold the import lock."""

    def __init__(self, root: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._root = root
        self._timeout_s = timeout_s

    def install(
        self,
        manifest: Manifest,
        files: Mapping[Sha256, Path],
        *,
        unsuitable: frozenset[str] = frozenset(),
    ) -> tuple[InstalledEnvironment, ...]:
        """Install every team's environment of ``manifest`` but the ``unsuitable``.

        ``files`` are the verified copies, on the file system of this folder.

        Raises:
            RefusalError: One cannot be installed; all that this built is gone.
            StorageFaultError: The disk refused.
            InternalFaultError: A child died, or could not be confined.
        """
        sha256 = sha256_of(encode_manifest(manifest))
        wanted = _wanted(manifest, unsuitable)
        if not wanted:
            return ()
        # Before anything is made: without it nothing of a bundle may run here.
        landlock.check_offered()
        with self._all_or_nothing(sha256):
            return tuple(
                self._ensure(lock, manifest, files, sha256=sha256) for lock in wanted
            )

    def lacking(
        self, manifest: Manifest, *, unsuitable: frozenset[str] = frozenset()
    ) -> tuple[Artifact, ...]:
        """Return the locks of those that were not installed before.

        Raises:
            InternalFaultError: An installation could not be confined here.
            StorageFaultError: The disk refused.
        """
        sha256 = sha256_of(encode_manifest(manifest))
        places = {
            lock: environment_folder(self._root, sha256, lock.name)
            for lock in _wanted(manifest, unsuitable)
        }
        if places:
            landlock.check_offered()
        with _disk_faults(self._root):
            return tuple(
                lock for lock, folder in places.items() if not is_installed(folder)
            )

    def discard(self, manifest: Manifest) -> None:
        """Remove every environment of ``manifest``, which MUST not be in use.

        Raises:
            StorageFaultError: The disk refused.
        """
        folder = self._root / sha256_of(encode_manifest(manifest))
        with _disk_faults(folder):
            _remove(folder)

    @contextlib.contextmanager
    def _all_or_nothing(self, sha256: Sha256) -> Iterator[None]:
        folder = self._root / sha256
        with _disk_faults(folder):
            first = not self._root.exists()
            self._root.mkdir(mode=OWNER_MAY, parents=True, exist_ok=True)
            for left in self._root.glob(f"{SCRATCH_PREFIX}*"):
                _remove(left)
            before = frozenset(folder.iterdir()) if folder.is_dir() else None
            folder.mkdir(mode=OWNER_MAY, exist_ok=True)
            try:
                yield
            except BaseException:
                for made in frozenset(folder.iterdir()) - (before or frozenset()):
                    _remove(made)
                if before is None:
                    folder.rmdir()
                if first:
                    self._root.rmdir()
                raise

    def _ensure(
        self,
        lock: Artifact,
        manifest: Manifest,
        files: Mapping[Sha256, Path],
        *,
        sha256: Sha256,
    ) -> InstalledEnvironment:
        wheels = _wheels_of(lock, manifest)
        folder = environment_folder(self._root, sha256, lock.name)
        with tempfile.TemporaryDirectory(
            prefix=SCRATCH_PREFIX, dir=self._root
        ) as scratch:
            work = _Work(
                environment=_environment(lock),
                folder=folder,
                wheels=_link(wheels, files, into=Path(scratch)),
                launcher=Launcher(
                    folder=folder,
                    scratch=Path(scratch),
                    where=f"environment {lock.name}",
                    timeout_s=self._timeout_s,
                ),
            )
            kept = work.is_whole()
            if not kept:
                _remove(folder)
                folder.mkdir(mode=OWNER_MAY)
                work.build()
                write_mark(folder, name=lock.name, manifest_sha256=sha256)
        return InstalledEnvironment(
            name=lock.name, folder=folder, wheels=len(wheels), kept=kept
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """One environment, being made: its wheels by file name, with their digests."""

    environment: Environment
    folder: Path
    wheels: Mapping[str, Sha256]
    launcher: Launcher

    def is_whole(self) -> bool:
        """Return whether it was installed before and is as it was then."""
        if not is_installed(self.folder):
            return False
        try:
            self.compare()
        except RefusalError:
            return False
        return True

    def build(self) -> None:
        scratch, python = self.launcher.scratch, self.folder / "bin" / "python"
        pins = scratch / "requirements.txt"
        pins.write_text(_requirements(self.wheels), encoding="ascii")
        (pip,) = (name for name in self.wheels if name.startswith("pip-"))
        # -I: no variable, no user's packages, and nothing of the current folder.
        quiet = ("--isolated", "--disable-pip-version-check", "--no-input")
        pip_program = ("-I", f"{scratch / pip}/pip", *quiet)
        run = self.launcher.become
        venv = ("-I", "-m", "venv", "--without-pip", "--symlinks", str(self.folder))
        run(_interpreter(self.environment, where=self.launcher.where), venv)
        find = ("--find-links", str(scratch), "-r", str(pins))
        run(python, (*pip_program, *INSTALL, *find))
        self.compare()
        run(python, (*pip_program, "check"))

    def compare(self) -> None:
        """Compare what is installed with what the wheels record.

        Raises:
            RefusalError: It differs.
        """
        scratch = self.launcher.scratch
        errand = Check(
            folder=str(self.folder),
            python=self.environment.python,
            wheels=tuple(str(scratch / name) for name in self.wheels),
        )
        answer = self.launcher.ask(encode_check(errand))
        if answer:
            raise read_error(answer, where=self.launcher.where)


def _wanted(manifest: Manifest, unsuitable: frozenset[str]) -> tuple[Artifact, ...]:
    """Return the locks of a team's environments but the ``unsuitable``."""
    return tuple(
        artifact
        for artifact in manifest.artifacts
        if artifact.environment is not None
        and artifact.environment.role == "team"
        and artifact.name not in unsuitable
    )


def _environment(lock: Artifact) -> Environment:
    if lock.environment is None:
        raise MalformedError("a lock without its target", where=lock.path)
    return lock.environment


def _wheels_of(lock: Artifact, manifest: Manifest) -> tuple[Artifact, ...]:
    listed = {each.name: each for each in manifest.artifacts if each.kind == "wheel"}
    names = _environment(lock).wheels
    missing = [name for name in names if name not in listed]
    if missing:
        raise MissingError(
            "the bundle lacks wheels of its environment",
            where=lock.path,
            actual=", ".join(missing),
        )
    if sum(name.startswith("pip-") for name in names) != 1:
        raise MissingError(
            "the environment does not carry the one pip that installs it",
            where=lock.path,
            hint="Build the bundle again; the bundler adds pip to every environment.",
        )
    return tuple(listed[name] for name in names)


def _link(
    wheels: tuple[Artifact, ...], files: Mapping[Sha256, Path], *, into: Path
) -> Mapping[str, Sha256]:
    """Give each wheel its file name in the scratch folder, at no cost where links work.

    pip reads them and changes none; a stored file is read-only besides.
    """
    names = {}
    for wheel in wheels:
        name = wheel.path.rpartition("/")[2]
        try:
            os.link(files[wheel.sha256], into / name)
        except OSError:
            shutil.copyfile(files[wheel.sha256], into / name)
        names[name] = wheel.sha256
    return names


def _requirements(wheels: Mapping[str, Sha256]) -> str:
    """Return one line a wheel. The signed digests are used, and no text that came."""
    return "".join(
        f"{'=='.join(name.split('-')[:2])} --hash=sha256:{sha256}\n"
        for name, sha256 in wheels.items()
    )


def _interpreter(environment: Environment, *, where: str) -> Path:
    """Return the Python of this host that an environment is made with."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if environment.python != running:
        raise MissingError(
            "this host runs another Python than the environment is for",
            where=where,
            expected=environment.python,
            actual=running,
        )
    return Path(sys.base_prefix) / "bin" / f"python{running}"


def _remove(folder: Path) -> None:
    if folder.is_dir():
        make_removable(folder)
        shutil.rmtree(folder)


@contextlib.contextmanager
def _disk_faults(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFaultError(
            "the environment cannot be written",
            where=str(error.filename or folder),
            actual=error.strerror or str(error),
            hint="Free space or repair the disk, then import again.",
        ) from error
