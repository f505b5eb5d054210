"""``bodies.db``: prompts and answers, each encrypted, in a file apart from the ledger.

A body's key lies encrypted under the key of its team and month, that one under the
host's own in ``keys/bodies.key``. A body is named by its request and part, because
it is durable before the record that commits to it has a number. One of which no
record came is removed at the next start. What is destroyed is overwritten in the
file and in its write-ahead log.
Source: SQLite, "PRAGMA secure_delete", "PRAGMA synchronous", "PRAGMA wal_checkpoint".
"""

import contextlib
import datetime as dt
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from appliance.bodies.commitment import SALT_BYTES
from appliance.bodies.sealing import (
    KEY_BYTES,
    NONCE_BYTES,
    Sealed,
    seal,
    unseal,
    unwrap,
    wrap,
)
from appliance.errors import HostNotReadyError
from appliance.private_file import read_private_file, write_private_file
from bundleformat.errors import StorageFaultError

Part = Literal["request", "response"]
"""Which of a request's two bodies."""

FORMAT = 1
"""The ``user_version`` of the file."""

BUSY_TIMEOUT_S = 10.0
"""How long one waits for another process's transaction. Unit: seconds."""

EMPTYING_TRIES = 2_000
"""How often it is tried within that time to empty the log of the file."""

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kek (
    kek_id TEXT PRIMARY KEY, team TEXT NOT NULL, month TEXT NOT NULL,
    wrapped BLOB, destroyed_ts TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS body (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL, part TEXT NOT NULL,
    nonce BLOB NOT NULL, ct BLOB NOT NULL, wrapped_dek BLOB NOT NULL,
    kek_id TEXT NOT NULL REFERENCES kek (kek_id),
    UNIQUE (request_id, part)
) STRICT;
CREATE TABLE IF NOT EXISTS swept (id INTEGER PRIMARY KEY CHECK (id = 0),
    upto INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS destroyed (id INTEGER PRIMARY KEY CHECK (id = 0),
    seq INTEGER NOT NULL, leaf BLOB NOT NULL) STRICT;
"""
"""Programs that never heard of ``destroyed`` work with the file: it is a mark alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """One body in the clear; its bytes are in no ``repr``."""

    team: str
    request_id: str
    part: Part
    salt: bytes = field(repr=False)
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A record of the ledger: its number, and the leaf hash that tells whose it is."""

    seq: int
    leaf: bytes


class Vault:
    """The open file; for one thread at a time.

    Args:
        path: Where ``bodies.db`` is, or will be.
        key_path: Where the host's own key is, or will be.
        origin: The ledger's name; a body of another ledger does not authenticate.
    """

    def __init__(self, path: Path, *, key_path: Path, origin: str) -> None:
        """Open the file, and create it and its key if neither is there.

        Raises:
            HostNotReadyError: The key is missing or may be read by others, or the
                file is another release's.
            StorageFaultError: The disk refused.
        """
        self._path = path
        self._origin = origin
        self._root = _root_key(key_path, new=not path.exists())
        with self._faults():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
            self._connection = sqlite3.connect(
                path,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            for pragma in _PRAGMAS:
                self._connection.execute(f"PRAGMA {pragma}")
            self._prepare()

    def put(self, bodies: Sequence[Body], *, now: dt.datetime) -> None:
        """Make ``bodies`` durable, all or none; one that is there is replaced.

        Raises:
            StorageFaultError: The disk refused.
            DigestMismatchError: A team's key does not authenticate.
        """
        month = now.astimezone(dt.UTC).strftime("%Y-%m")
        with self._transaction():
            keys = {team: self._kek(team, month) for team in {b.team for b in bodies}}
            for body in bodies:
                kek_id, kek = keys[body.team]
                sealed = seal(
                    body.salt + body.data,
                    kek=kek,
                    context=self._context(body.request_id, body.part),
                    dek=secrets.token_bytes(KEY_BYTES),
                    nonces=(
                        secrets.token_bytes(NONCE_BYTES),
                        secrets.token_bytes(NONCE_BYTES),
                    ),
                )
                self._connection.execute(
                    "INSERT OR REPLACE INTO body "
                    "(request_id, part, nonce, ct, wrapped_dek, kek_id) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        body.request_id,
                        body.part,
                        sealed.nonce,
                        sealed.ct,
                        sealed.wrapped_dek,
                        kek_id,
                    ),
                )

    def get(self, request_id: str, part: Part) -> Body | None:
        """Return a body in the clear, or None if it is not or no longer here.

        Raises:
            DigestMismatchError: It, its key or what it belongs to was changed.
            StorageFaultError: The file cannot be read.
        """
        with self._faults():
            row = self._connection.execute(
                "SELECT nonce, ct, wrapped_dek, kek_id, team, month, wrapped "
                "FROM body JOIN kek USING (kek_id) WHERE request_id = ? AND part = ?",
                (request_id, part),
            ).fetchone()
        if row is None or row[6] is None:
            return None
        nonce, ct, wrapped_dek, kek_id, team, month, wrapped = row
        kek = unwrap(
            wrapped, under=self._root, context=self._kek_context(kek_id, team, month)
        )
        plain = unseal(
            Sealed(nonce=nonce, ct=ct, wrapped_dek=wrapped_dek),
            kek=kek,
            context=self._context(request_id, part),
        )
        return Body(
            team=team,
            request_id=request_id,
            part=part,
            salt=plain[:SALT_BYTES],
            data=plain[SALT_BYTES:],
        )

    def sweep(self, is_recorded: Callable[[str, Part], bool]) -> int:
        """Remove every body whose record never came, and return how many there were.

        Those that an earlier call looked at are not looked at again. The caller
        MUST know that nobody is adding any.

        Raises:
            StorageFaultError: The disk refused.
        """
        with self._transaction():
            rows = self._connection.execute(
                "SELECT id, request_id, part FROM body "
                "WHERE id > (SELECT coalesce(max(upto), 0) FROM swept) ORDER BY id"
            ).fetchall()
            lost = [(id_,) for id_, name, part in rows if not is_recorded(name, part)]
            self._connection.executemany("DELETE FROM body WHERE id = ?", lost)
            if rows:
                self._connection.execute(
                    "INSERT OR REPLACE INTO swept VALUES (0, ?)", (rows[-1][0],)
                )
        return len(lost)

    def names(self, *, team: str | None = None) -> Iterator[tuple[str, Part]]:
        """Yield the request and the part of every body, the oldest first.

        ``team`` leaves out those of all others.

        Raises:
            StorageFaultError: The file cannot be read.
        """
        with self._faults():
            yield from self._connection.execute(
                "SELECT request_id, part FROM body JOIN kek USING (kek_id) "
                "WHERE team = coalesce(?, team) ORDER BY id",
                (team,),
            )

    def destroyed_up_to(self) -> Mark | None:
        """Return up to where the ledger's word to destroy was carried out.

        The mark lies in the file itself: a copy of the file that somebody puts back
        says that less was carried out, and it is carried out again.

        Raises:
            StorageFaultError: The file cannot be read.
        """
        with self._faults():
            return _mark(self._connection)

    def destroy(self, request_ids: Sequence[str], *, mark: Mark) -> int:
        """Destroy all bodies of these requests with their keys; return how many.

        Neither is in the file afterwards, nor in what lies beside it. Only then is
        it noted that this was all up to that record.

        Raises:
            StorageFaultError: The disk refused, or somebody reads the file and does
                not let go; what is not done is done when this is called again.
        """
        with self._transaction():
            gone = self._connection.executemany(
                "DELETE FROM body WHERE request_id = ?",
                [(name,) for name in request_ids],
            ).rowcount
        self._empty_log()
        with self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO destroyed VALUES (0, ?, ?)",
                (mark.seq, mark.leaf),
            )
        return max(0, gone)

    def _empty_log(self) -> None:
        """Have every overwritten page in the file, and nothing in the log beside it.

        SQLite gives up at once where whoever writes to the file copies pages out of
        the log just then, and waits in long naps for a writer that is never away for
        long. So it is asked often instead.
        """
        with self._faults():
            self._connection.execute("PRAGMA busy_timeout=0")
            for _ in range(EMPTYING_TRIES):
                busy, *_ = self._connection.execute(
                    "PRAGMA wal_checkpoint(TRUNCATE)"
                ).fetchone()
                if not busy:
                    break
                time.sleep(BUSY_TIMEOUT_S / EMPTYING_TRIES)
            self._connection.execute(
                f"PRAGMA busy_timeout={int(1000 * BUSY_TIMEOUT_S)}"
            )
        if busy:
            raise StorageFaultError(
                "what was destroyed is still in the log of the file, which is in use",
                where=str(self._path),
                hint="End whatever reads it, then run: sallyport audit body finish. "
                "A server does it, too.",
            )

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _prepare(self) -> None:
        found = _check_format(self._connection, self._path)
        self._connection.executescript(_SCHEMA)
        if found == 0:
            self._connection.execute(f"PRAGMA user_version = {FORMAT}")

    def _kek(self, team: str, month: str) -> tuple[str, bytes]:
        """Return the key of a team and month, and its name; a new one if need be."""
        row = self._connection.execute(
            "SELECT kek_id, wrapped FROM kek "
            "WHERE team = ? AND month = ? AND wrapped IS NOT NULL",
            (team, month),
        ).fetchone()
        if row is not None:
            context = self._kek_context(row[0], team, month)
            return row[0], unwrap(row[1], under=self._root, context=context)
        kek_id, kek = secrets.token_hex(16), secrets.token_bytes(KEY_BYTES)
        wrapped = wrap(
            kek,
            under=self._root,
            context=self._kek_context(kek_id, team, month),
            nonce=secrets.token_bytes(NONCE_BYTES),
        )
        self._connection.execute(
            "INSERT INTO kek VALUES (?, ?, ?, ?, NULL)", (kek_id, team, month, wrapped)
        )
        return kek_id, kek

    def _context(self, request_id: str, part: str) -> bytes:
        named = ("sallyport/body/v1", self._origin, request_id, part)
        return "\0".join(named).encode()

    def _kek_context(self, kek_id: str, team: str, month: str) -> bytes:
        named = ("sallyport/kek/v1", self._origin, kek_id, team, month)
        return "\0".join(named).encode()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._faults():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _faults(self) -> AbstractContextManager[None]:
        return _faults(self._path)


def read_mark(path: Path) -> Mark | None:
    """Return ``destroyed_up_to`` of the file at ``path``, without opening a key.

    Raises:
        HostNotReadyError: The file is another release's.
        StorageFaultError: It cannot be read.
    """
    with _faults(path):
        place = f"{path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(place, uri=True, timeout=BUSY_TIMEOUT_S)
        with contextlib.closing(connection):
            _check_format(connection, path)
            if not connection.execute(
                "SELECT 1 FROM sqlite_schema WHERE name = 'destroyed'"
            ).fetchone():
                return None
            return _mark(connection)


def _mark(connection: sqlite3.Connection) -> Mark | None:
    row = connection.execute("SELECT seq, leaf FROM destroyed").fetchone()
    return None if row is None else Mark(seq=row[0], leaf=row[1])


def _check_format(connection: sqlite3.Connection, path: Path) -> int:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found not in {0, FORMAT}:
        raise HostNotReadyError(
            "the stored bodies have another release's format",
            where=str(path),
            expected=str(FORMAT),
            actual=str(found),
        )
    return int(found)


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageFaultError(
            "the stored bodies cannot be read or written",
            where=str(path),
            actual=getattr(error, "sqlite_errorname", type(error).__name__),
        ) from error


def _root_key(path: Path, *, new: bool) -> bytes:
    if new and not path.exists():
        write_private_file(path, secrets.token_bytes(KEY_BYTES))
    return read_private_file(path, size_bytes=KEY_BYTES)
