"""The newest head that this host is known to have had, kept apart from the database.

A database that does not contain that head is an older one, or another. The copy is
never ahead of what is durable: it is written after the commit. It is not evidence;
whoever puts back both files together is shown by a checkpoint held elsewhere alone.
"""

import contextlib
import json
import logging
import os
from pathlib import Path

from sqlalchemy import Connection, select

from appliance.db.tables import CheckpointRow, RecordRow
from appliance.errors import AuditUnavailableError
from appliance.ledger.log.head import read_note
from appliance.ledger.records.events import Event
from appliance.ledger.tree.note import (
    MAX_NOTE_BYTES,
    Checkpoint,
    decode_note,
    parse_checkpoint,
)
from bundleformat.errors import RefusalError
from bundleformat.ledger_release import Cause

_log = logging.getLogger(__name__)


class HeadCopy:
    """The copy in the file ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = ""

    def read(self) -> Checkpoint | None:
        """Return the head in the file; None if there is none that can be read."""
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_NOTE_BYTES + 1)
            return parse_checkpoint(decode_note(data).text)
        except FileNotFoundError:
            return None
        except (OSError, RefusalError) as error:
            _log.warning("the copy of the ledger's head cannot be read: %s", error)
            return None

    def refresh(self, connection: Connection) -> None:
        """Make the file hold the newest head; the transaction MUST be a new one.

        A disk that refuses costs the copy, not the ledger: it is said in the log.
        """
        try:
            note = read_note(connection)
        except AuditUnavailableError:
            return
        if note != self._written:
            self._write(note)

    def _write(self, note: str) -> None:
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                file.write(note.encode())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
            self._written = note
        except OSError as error:
            _log.warning("the copy of the ledger's head cannot be written: %s", error)
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def check_contains(connection: Connection, kept: Checkpoint | None) -> None:
    """Check that the ledger has the head that was kept.

    ``kept`` MUST have been read before the transaction began: a server may go on
    meanwhile.

    A head that a release gave up is missed no more.

    Raises:
        AuditUnavailableError: It has not; the database is older, or another.
    """
    if kept is None:
        return
    found = connection.execute(
        select(CheckpointRow.root).where(CheckpointRow.size == kept.size)
    ).scalar_one_or_none()
    if found == kept.root or _was_given_up(connection, kept):
        return
    newest = connection.execute(
        select(CheckpointRow.size, CheckpointRow.root)
        .order_by(CheckpointRow.size.desc())
        .limit(1)
    ).one_or_none()
    size, root = (0, b"\0" * 32) if newest is None else (newest.size, newest.root)
    raise AuditUnavailableError(
        "the ledger does not contain the head that this host has had",
        expected=f"{kept.size} records under {kept.root.hex()}",
        actual=f"{size} records under {root.hex()}",
        cause=Cause.ROLLED_BACK,
        details={
            "kept_size": str(kept.size),
            "kept_root": kept.root.hex(),
            "found_size": str(size),
            "found_root": root.hex(),
        },
    )


def _was_given_up(connection: Connection, kept: Checkpoint) -> bool:
    """Whether the last release accepted that just this head is gone."""
    last = connection.execute(
        select(RecordRow.bytes_)
        .where(RecordRow.event == str(Event.LOG_RELEASED))
        .order_by(RecordRow.seq.desc())
        .limit(1)
    ).scalar_one_or_none()
    if last is None:
        return False
    said = json.loads(last)
    named = (said.get("kept_size"), said.get("kept_root"))
    return named == (str(kept.size), kept.root.hex())
