"""Tells how far long work is: bytes, rate and time left, on stderr.

A terminal gets one moving line. With ``--json`` there is one object a line, for
programs: ``{"event":"step",…}`` as each step begins, ``{"event":"progress",…}``
every second at most. Anything else gets nothing, so that logs stay clean.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from appliance.cli.output import note
from appliance.import_steps.host import Observer, Step
from bundleformat.errors import VolumesMissingError

EVENT_S: Final = 1.0
"""Least time between two events about bytes. Unit: seconds."""

_WORDS = {
    Step.LOCK: "taking the lock",
    Step.VERIFY: "verifying signatures",
    Step.PREFLIGHT: "checking room and names",
    Step.COPY: "copying and hashing",
    Step.EXAMINE: "examining what was copied",
    Step.CHECK_POLICIES: "checking policies",
    Step.INSTALL_ENVIRONMENTS: "installing environments",
    Step.TRIAL_LOAD: "loading each model once",
    Step.ADMIT: "admitting to the store",
    Step.ACTIVATE: "activating",
    Step.DONE: "done",
}


@contextmanager
def watched(what: str, *, as_json: bool = False) -> Iterator[Observer]:
    """Give an observer that shows what it is told; ``what`` names the bytes."""
    if as_json:
        yield _Events().observer()
        return
    console = Console(stderr=True)
    with _bar(console) as progress:
        task = progress.add_task(what, total=None)

        def ask(wanted: VolumesMissingError) -> bool:
            progress.stop()
            try:
                return _ask_for_volume(wanted)
            finally:
                progress.start()

        yield Observer(
            on_step=lambda step: progress.update(task, description=_WORDS[step]),
            on_progress=lambda done, total: progress.update(
                task, completed=done, total=total
            ),
            next_volume=ask,
        )


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _ask_for_volume(wanted: VolumesMissingError) -> bool:
    """Ask a person at a terminal for the next volume; nobody else is asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    note(f"copied what is here; wanted: {wanted.expected}")
    answer = typer.prompt(
        "Put it in the same place and press Enter, or type q to stop",
        default="",
        show_default=False,
        err=True,
    )
    return str(answer).strip().lower() not in {"q", "quit"}


class _Events:
    """Writes events as lines of JSON."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._told_s = self._began_s
        self._began_bytes: int | None = None

    def observer(self) -> Observer:
        """Return the observer that writes them."""
        return Observer(on_step=self._step, on_progress=self._progress)

    def _step(self, step: Step) -> None:
        note(json.dumps({"event": "step", "step": str(step)}))

    def _progress(self, done_bytes: int, total_bytes: int) -> None:
        now_s = time.monotonic()
        if self._began_bytes is None:
            self._began_s, self._began_bytes = now_s, done_bytes
        if now_s - self._told_s < EVENT_S and done_bytes != total_bytes:
            return
        self._told_s = now_s
        took_s = now_s - self._began_s
        rate = (done_bytes - self._began_bytes) / took_s if took_s else 0.0
        left_s = (total_bytes - done_bytes) / rate if rate > 0 else None
        value = {
            "event": "progress",
            "done_bytes": done_bytes,
            "total_bytes": total_bytes,
            "bytes_per_s": round(rate),
            "left_s": None if left_s is None else round(left_s, 1),
        }
        note(json.dumps(value))
