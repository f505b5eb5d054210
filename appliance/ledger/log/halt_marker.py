"""The file that keeps a halt which the database could not take.

It lies beside the database, and that it is there counts for more than what it says:
one that could not be written to its end stands for an error of the disk.
"""

import contextlib
import datetime as dt
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.durable import sync_folder
from appliance.ledger.records.events import timestamp
from appliance.ledger.records.fields import JSON
from bundleformat.ledger_release import HALTED, Cause

NAME = "ledger.halted"
"""What the file is called."""

MAX_BYTES = 4_096
"""Most of it that is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Marked:
    """A halt that is on no record yet.

    Attributes:
        cause: Why.
        halted: Since when, as a record has it.
        details: What its record is to say beside that.
    """

    cause: Cause
    halted: str
    details: Mapping[str, JSON] = field(default_factory=dict)


class HaltMarker:
    """The file beside the database in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def read(self) -> Marked | None:
        """Return the halt that is marked, or None if none is."""
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES)
                made = os.fstat(file.fileno()).st_mtime_ns // 1_000
        except FileNotFoundError:
            return None
        except OSError:
            data, made = b"", 0
        try:
            return _decode(json.loads(data))
        except (ValueError, TypeError, KeyError):
            moment = dt.datetime.fromtimestamp(0, dt.UTC)
            halted = timestamp(moment + dt.timedelta(microseconds=made))
            return Marked(cause=Cause.IO_ERROR, halted=halted)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self._path

    def write(self, marked: Marked) -> bool:
        """Keep the halt as well as the disk allows; return whether the file is there.

        What it says is of less weight: that may be lost without an error.
        """
        said = {
            "cause": str(marked.cause),
            "halted": marked.halted,
            "details": dict(marked.details),
        }
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError:
            return False
        with contextlib.suppress(OSError):
            os.write(descriptor, json.dumps(said).encode())
            os.fsync(descriptor)
        os.close(descriptor)
        with contextlib.suppress(OSError):
            sync_folder(self._path.parent)
        return True

    def remove(self) -> None:
        """Take the file away durably; the halt MUST be in the database.

        Raises:
            OSError: The disk refused.
        """
        if self._path.exists():
            self._path.unlink(missing_ok=True)
            sync_folder(self._path.parent)


def _decode(value: Mapping[str, JSON]) -> Marked:
    cause, halted, details = value["cause"], value["halted"], value["details"]
    if not isinstance(halted, str) or not HALTED.fullmatch(halted):
        raise ValueError("not a time")
    if not isinstance(details, Mapping):
        raise TypeError("no details")
    return Marked(cause=Cause(str(cause)), halted=halted, details=details)
