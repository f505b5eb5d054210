"""Shows how far long work is: bytes, rate, time left; on stderr, never stdout.

At a terminal a bar that moves; in a log a line now and then; with ``--json``
nothing. Work that is over at once shows nothing at all.
"""

import sys
import time
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

LINE_INTERVAL_S: Final = 5.0
"""Least time between two lines in a log. Unit: seconds."""


class Meter(Protocol):
    """Shows progress of one run of work, stage after stage."""

    def stage(self, label: str, total_bytes: int) -> None:
        """Begin a stage that will handle ``total_bytes``."""

    def advance(self, count_bytes: int) -> None:
        """Say that ``count_bytes`` more were handled."""


class SilentMeter:
    """Shows nothing."""

    def stage(self, label: str, total_bytes: int) -> None:
        """Begin a stage; nothing is shown."""

    def advance(self, count_bytes: int) -> None:
        """Count bytes; nothing is shown."""


class LineMeter:
    """Prints a line every few seconds, for logs."""

    def __init__(self, *, interval_s: float = LINE_INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._label = ""
        self._total = self._done = 0
        self._began = self._printed = time.monotonic()

    def stage(self, label: str, total_bytes: int) -> None:
        """Begin a stage; the first line comes only if it takes long."""
        self._label, self._total, self._done = label, total_bytes, 0
        self._began = self._printed = time.monotonic()

    def advance(self, count_bytes: int) -> None:
        """Count bytes, and print a line if the last one is old."""
        self._done += count_bytes
        now = time.monotonic()
        if now - self._printed < self._interval_s:
            return
        self._printed = now
        rate = self._done / max(now - self._began, 1e-9)
        left_s = max(0, self._total - self._done) / rate if rate else 0
        sys.stderr.write(
            f"{self._label}: {size(self._done)} of {size(self._total)}, "
            f"{size(int(rate))}/s, {left_s:.0f} s left\n"
        )
        sys.stderr.flush()


class BarMeter:
    """Shows a moving bar at a terminal; a context manager that removes it."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def stage(self, label: str, total_bytes: int) -> None:
        """Begin a new bar in the place of the old one."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(label, total=total_bytes)

    def advance(self, count_bytes: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.advance(self._task, count_bytes)


def size(count_bytes: int) -> str:
    """Return a number of bytes for reading, such as ``1.4 MiB``."""
    amount = float(count_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
