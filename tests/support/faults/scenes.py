"""Hosts on which something is about to be done, and what is seen of it afterwards."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from appliance.environments.place import is_installed
from appliance.ledger.recover import fsck
from bundleformat.digest import sha256_of
from tests.support.faults.deeds import DEEDS, import_all
from tests.support.gguf_writer import TinyModel, write_model
from tests.support.import_volumes import split
from tests.support.importing import CHUNK_BYTES, Host, new_host, open_host
from tests.support.publish_wheels import environment_of, publish_artifacts, quick_pip
from tests.support.publisher import next_root, publish_bundle, republish

REPEATED: Final = ("bundle.repaired", "store.repaired", "store.collected")
"""Events that are on record once more, where a run ended between record and file."""

OUTCOMES: Final = (
    *("bundle.imported", "bundle.refused", "trust.updated", "generation.activated"),
    *REPEATED,
)
"""Events that say that something changed, or was refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What anybody can see of a host: everything but the records of steps."""

    rows: dict[str, list[tuple[object, ...]]]
    outcomes: Counter[str]
    environments: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A host, and what is about to be done.

    Attributes:
        home: The host's home folder; a deed is done on a copy of it.
        deed: What is done.
        media: What it is done with.
        below: The part of the home whose calls fail.
        before: What is seen before the deed.
        after: What is seen afterwards.
        stored: The names in the store afterwards.
    """

    home: Path
    deed: str
    media: tuple[Path, ...] = ()
    below: str = ""
    before: Sight
    after: Sight
    stored: frozenset[str]


def look(home: Path) -> Sight:
    """Return what is seen of a host; what is in its store is whole and read-only."""
    host = open_host(home)
    try:
        for path in stored_files(home):
            assert sha256_of(path.read_bytes()) == path.name
            assert path.stat().st_mode & 0o777 == 0o444
        with host.database.begin() as connection:
            fsck(connection, log=host.log)
        return _seen(host)
    finally:
        host.close()


def _seen(host: Host) -> Sight:
    tables = ("trust_file", "trust_floor", "generation")
    outcomes = Counter({each: len(host.events(each)) for each in OUTCOMES})
    for event in REPEATED:
        outcomes[event] = min(outcomes[event], 1)
    counted = host.home.glob("environments/*/*")
    rows = host.rows()
    return Sight(
        rows={table: rows[table] for table in tables},
        outcomes=outcomes,
        environments=frozenset(each.name for each in counted if is_installed(each)),
    )


def stored_files(home: Path) -> list[Path]:
    """Return every file of the store."""
    return sorted(home.glob("store/sha256/*"))


def finish(home: Path, scene: Scene) -> None:
    """Do the deed of ``scene`` on a sound disk; all is as if it never had failed."""
    DEEDS[scene.deed](home, scene.media, lambda: None)
    assert look(home) == scene.after
    assert list((home / "staging").iterdir()) == []
    assert {path.name for path in stored_files(home)} == scene.stored
    assert list(home.glob("environments/.*")) == []


def copy(home: Path, to: Path) -> Path:
    """Copy a home as it is; its database is closed, and its environments are links."""
    return shutil.copytree(home, to, symlinks=True)


class Stage:
    """Sets scenes: everything below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scenes: dict[str, Scene] = {}
        models = [
            write_model(folder / f"{name}.gguf", TinyModel(seed=seed, weights="q8_0"))
            for seed, name in enumerate(("one", "two"))
        ]
        self.first = publish_bundle(
            folder / "first",
            models=[("tiny", models[0], None)],
            policies=[("local", b"// one\n")],
            chunk_bytes=CHUNK_BYTES,
        )
        self.second = publish_bundle(
            folder / "second",
            models=[("tiny", models[1], None)],
            policies=[("local", b"// two\n")],
            chunk_bytes=CHUNK_BYTES,
            version=2,
            keys=self.first.keys,
            roots=self.first.roots,
        )
        self.fresh = folder / "fresh"
        new_host(self.fresh, self.first).close()
        self.imported = self._home("imported", self.fresh)
        import_all(self.imported, [self.first.folder])

    def scene(self, name: str) -> Scene:
        """Return the scene of that name, set when it is asked for first."""
        if name not in self._scenes:
            self._scenes[name] = _SCENES[name](self)
        return self._scenes[name]

    def _home(self, name: str, of: Path) -> Path:
        return copy(of, self._folder / name)

    def _set(
        self, name: str, home: Path, *media: Path, deed: str, below: str = ""
    ) -> Scene:
        trial = self._home(f"{name}-trial", home)
        DEEDS[deed](trial, media, lambda: None)
        return Scene(
            home=home,
            deed=deed,
            media=media,
            below=below,
            before=look(home),
            after=look(trial),
            stored=frozenset(path.name for path in stored_files(trial)),
        )

    def update(self) -> Scene:
        """A newer version is imported."""
        return self._set("update", self.imported, self.second.folder, deed="import_all")

    def volumes(self) -> Scene:
        """A bundle is imported from three volumes, one by one."""
        volumes = split(self.second, self._folder / "volumes", of=3)
        return self._set("volumes", self.imported, *volumes, deed="import_one_by_one")

    def trust(self) -> Scene:
        """A bundle brings nothing but a newer root."""
        keys = self.first.keys
        roots = (self.first.root, next_root(self.first.root, signers=keys.root))
        manifest = replace(
            self.first.manifest, version=2, artifacts=(), purpose="trust"
        )
        news = republish(
            self.first, self._folder / "news", manifest=manifest, roots=roots
        )
        return self._set("trust", self.imported, news.folder, deed="import_all")

    def _lost(self, name: str) -> Path:
        home = self._home(name, self.imported)
        for path in stored_files(home):
            path.unlink()
        return home

    def again(self) -> Scene:
        """An active bundle is imported again, whose files are lost."""
        home = self._lost("again")
        return self._set("again", home, self.first.folder, deed="import_all")

    def repair(self) -> Scene:
        """The store is repaired, whose files are lost."""
        home = self._lost("lost")
        return self._set("repair", home, self.first.folder, deed="repair")

    def rollback(self) -> Scene:
        """The generation before becomes the active one again."""
        home = self._home("rolled", self.imported)
        import_all(home, [self.second.folder])
        return self._set("rollback", home, deed="roll_back")

    def collection(self) -> Scene:
        """What only the generation before needs is removed."""
        home = self._home("collected", self.imported)
        import_all(home, [self.second.folder])
        return self._set("collection", home, deed="collect")

    def environment(self) -> Scene:
        """A bundle brings an environment."""
        wheels = (quick_pip(self._folder / "wheels"),)
        bundle = publish_artifacts(
            self._folder / "wheeled",
            environment_of("tools", wheels),
            keys=self.first.keys,
            roots=self.first.roots,
            version=2,
        )
        return self._set(
            "environment",
            self.imported,
            bundle.folder,
            deed="import_all",
            below="environments",
        )


_SCENES: Final[dict[str, Callable[[Stage], Scene]]] = {
    each.__name__: each
    for each in (
        *(Stage.update, Stage.volumes, Stage.trust, Stage.again, Stage.repair),
        *(Stage.rollback, Stage.collection, Stage.environment),
    )
}

SCENES: Final[Sequence[str]] = tuple(_SCENES)
"""The names of all scenes."""
