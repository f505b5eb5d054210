"""A host as the command line opens it, and what stands on it before and after."""

import datetime as dt
import hashlib
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import commission_flow, import_flow
from appliance.compose import import_host, open_host
from appliance.home import Home
from appliance.import_steps.host import Asked, Imported, Observer
from bundleformat.trust import fingerprint
from tests.support.importing import Clock
from tests.support.publisher import NOW

DATABASE = "sallyport.db"

LEDGER = frozenset({"record", "subtree", "checkpoint"})
"""The tables that grow whenever anything is recorded."""

SETTINGS = "[engine]\nthreads = 1\ncontext_tokens = 64\ncells = 256\nsequences = 1\n"
"""Enough of an engine to load the smallest model."""

Rows = Sequence[tuple[object, ...]]

Tree = Mapping[str, tuple[int, str]]
"""What lies below a folder: path to kind with mode, and digest or target."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Everything that stands on a host but its ledger."""

    files: Tree
    rows: Mapping[str, Rows]


@dataclass(frozen=True, kw_only=True)
class CorpusHost:
    """A commissioned home folder; every import opens it as a process would."""

    home: Path

    def copy(self, to: Path) -> "CorpusHost":
        """Return another host of which the same is true."""
        shutil.copytree(self.home, to)
        return CorpusHost(home=to)

    def import_(
        self,
        *media: Path,
        observer: Observer | None = None,
        now: dt.datetime = NOW,
    ) -> Imported:
        """Import as ``sallyport bundle import`` does, at another time of day."""
        host = open_host(self.home, clock=Clock(now))
        try:
            return import_flow.import_bundle(
                import_host(host), Asked(media=media), observer=observer
            )
        finally:
            host.database.dispose()

    def standing(self) -> Standing:
        """Return what stands on it."""
        with self._database() as database:
            names = database.execute(
                "SELECT name FROM sqlite_master WHERE type='table'"
            )
            rows = {
                name: database.execute(f"SELECT * FROM {name}").fetchall()  # noqa: S608 - names of our tables
                for (name,) in names.fetchall()
                if name not in LEDGER
            }
        return Standing(files=tree(self.home, but=DATABASE), rows=rows)

    def length(self) -> int:
        """Return how many records the ledger has."""
        with self._database() as database:
            (count,) = database.execute("SELECT count(*) FROM record").fetchone()
        return int(count)

    def records(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Return the records of the ledger, without so many of the first."""
        with self._database() as database:
            rows = database.execute(
                "SELECT bytes FROM record ORDER BY seq LIMIT -1 OFFSET ?", (after,)
            ).fetchall()
        return [json.loads(data) for (data,) in rows]

    def active(self) -> Rows:
        """Return channel and version of what is active."""
        with self._database() as database:
            return database.execute(
                "SELECT channel, version FROM generation WHERE active"
            ).fetchall()

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        place = f"file:{self.home / DATABASE}?mode=ro"
        with closing(sqlite3.connect(place, uri=True)) as database:
            yield database


def new_corpus_host(home: Path, root: bytes) -> CorpusHost:
    """Commission a host that trusts ``root``."""
    commission_flow.initialise_trust(
        Home(home), root, fingerprint=fingerprint(root), clock=Clock()
    )
    (home / "sallyport.toml").write_text(SETTINGS)
    return CorpusHost(home=home)


def tree(folder: Path, *, but: str = "\0") -> Tree:
    """Return what lies below ``folder``; nothing special is opened.

    Names that begin with ``but`` are left out.
    """
    return {
        os.fsdecode(os.path.relpath(Path(place, name), folder)): _look(
            Path(place, name)
        )
        for place, folders, names in os.walk(folder)
        for name in (*folders, *names)
        if not name.startswith(but)
    }


def _look(path: Path) -> tuple[int, str]:
    status = path.lstat()
    say: Mapping[int, Callable[[], str]] = {
        stat.S_IFLNK: lambda: str(path.readlink()),
        stat.S_IFREG: lambda: _digest(path, status.st_size),
        stat.S_IFCHR: lambda: str(status.st_rdev),
        stat.S_IFBLK: lambda: str(status.st_rdev),
    }
    return status.st_mode, say.get(stat.S_IFMT(status.st_mode), str)()


def _digest(path: Path, size_bytes: int) -> str:
    """Return length and digest of a file; of a large one, of its begin."""
    with path.open("rb") as file:
        data = file.read(2**20)
    return f"{size_bytes} {hashlib.sha256(data).hexdigest()}"
