"""Shows how far long work is: bytes, rate and time left, on stderr.

A terminal gets one moving line; anything else gets no line at all, so that logs
and machine output stay clean.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from appliance.import_host import Observer, Step

_WORDS = {
    Step.LOCK: "taking the lock",
    Step.VERIFY: "verifying signatures",
    Step.PREFLIGHT: "checking room and names",
    Step.COPY: "copying and hashing",
    Step.EXAMINE: "examining models",
    Step.CHECK_POLICIES: "checking policies",
    Step.TRIAL_LOAD: "loading each model once",
    Step.ADMIT: "admitting to the store",
    Step.ACTIVATE: "activating",
    Step.DONE: "done",
}


@contextmanager
def watched(what: str) -> Iterator[Observer]:
    """Give an observer that shows what it is told; ``what`` names the bytes."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    progress = Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    )
    with progress:
        task = progress.add_task(what, total=None)
        yield Observer(
            on_step=lambda step: progress.update(task, description=_WORDS[step]),
            on_progress=lambda done, total: progress.update(
                task, completed=done, total=total
            ),
        )
