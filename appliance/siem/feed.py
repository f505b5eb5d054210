"""Follows the ledger and hands each record, once it is durable, to a collector.

The ledger itself is the queue: the feed reads what is committed, in order, in its own
thread, and remembers how far it got. Nothing waits for it, and nothing is kept in
memory. A collector that comes back gets what it missed, up to a bound; what lies
before that is left out, and a record of the ledger says so first. A record may come
twice, never out of order, and none is left out silently.
"""

import contextlib
import errno
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from bundleformat.errors import Error

POLL_S: Final = 0.5
"""How often the feed looks for new records. Unit: seconds."""

BATCH: Final = 256
"""Records that are read at once, and after which the place is written down."""

LAST: Final = 1_024
"""Most records that are still sent while the server ends."""

MAX_PLACE_BYTES: Final = 32

FAILURES: Final = (OSError, Error, SQLAlchemyError)
"""What a collector, a disk or a database may do to the feed; it tries again."""


class Sink(Protocol):
    """Where messages go."""

    def open(self) -> None:
        """Have a connection, or raise OSError."""

    def send(self, message: bytes) -> None:
        """Hand one message over, or raise OSError."""

    def close(self) -> None:
        """Let go of the connection."""


class Source(Protocol):
    """The ledger, as far as the feed uses it."""

    def size(self) -> int:
        """Return how many records are durable."""

    def records(self, first: int, count: int) -> Sequence[bytes | None]:
        """Return the exact bytes of records from one number on; None of one is gone."""

    def record_gap(self, first: int, last: int) -> None:
        """Make durable that these records were not sent, or raise."""


Render = Callable[[bytes, int, bool], bytes]
"""Makes a message of a record's bytes: its number, and whether it must be short."""


class Feed:
    """A thread that sends records until it is closed.

    Args:
        source: The ledger.
        sink: The collector's socket.
        render: Makes the messages.
        place: The file that says which record is next.
        backlog: How many records may wait for a collector that is away.
    """

    def __init__(
        self,
        *,
        source: Source,
        sink: Sink,
        render: Render,
        place: Path,
        backlog: int,
    ) -> None:
        self._source = source
        self._sink = sink
        self._render = render
        self._place = place
        self._backlog = backlog
        size = source.size()
        self._next = min(_read_place(place, otherwise=size), size)
        self._sent = 0
        self._failing = ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="siem", daemon=True)

    @property
    def failing(self) -> str:
        """Why the newest record was not handed over, or nothing."""
        return self._failing

    def start(self) -> None:
        """Begin with the record that is next."""
        self._thread.start()

    def close(self) -> None:
        """Send what is durable, if the collector takes it, and end the thread."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(POLL_S):
            while self.step() and not self._closed.is_set():
                pass
        for _ in range(LAST // BATCH):
            if not self.step():
                break
        self._sink.close()

    def step(self) -> bool:
        """Send the next batch; return whether there may be more to send now."""
        try:
            size = self._source.size()
            if self._next >= size:
                return False
            self._sink.open()
            self._skip(size)
            batch = self._source.records(self._next, min(BATCH, size - self._next))
            try:
                for data in self._skip_gone(batch):
                    self._send(data)
            finally:
                _write_place(self._place, self._next)
        except FAILURES as error:
            self._failing = type(error).__name__
            self._sink.close()
            return False
        self._failing = ""
        return bool(batch)

    def _skip(self, size: int) -> None:
        """Leave out what is more than may wait, once the ledger says that it is."""
        first, last = self._next, size - self._backlog - 1
        if last >= first:
            self._source.record_gap(first, last)
            self._next = last + 1

    def _skip_gone(self, batch: Sequence[bytes | None]) -> Iterator[bytes]:
        """Yield what there is; what is gone before it is left out as in ``_skip``."""
        for gone, group in groupby(batch, key=lambda data: data is None):
            if not gone:
                yield from (data for data in group if data is not None)
                continue
            last = self._next + len(list(group)) - 1
            self._source.record_gap(self._next, last)
            self._next = last + 1

    def _send(self, data: bytes) -> None:
        number = self._sent + 1
        try:
            self._sink.send(self._render(data, number, False))  # noqa: FBT003 - a Callable has no names
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            self._sink.send(self._render(data, number, True))  # noqa: FBT003 - as above
        self._sent = number
        self._next += 1


def _read_place(path: Path, *, otherwise: int) -> int:
    """Return which record is next; a place that makes no sense is no place."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_PLACE_BYTES)
    except OSError:
        return otherwise
    return int(text) if text.isdigit() else otherwise


def _write_place(path: Path, number: int) -> None:
    """Remember which record is next; a power cut may bring an older place back."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    with contextlib.suppress(OSError):
        try:
            partial.write_bytes(str(number).encode())
            partial.chmod(0o600)
            os.replace(partial, path)  # noqa: PTH105 - a replacing renaming is meant
        finally:
            partial.unlink(missing_ok=True)
