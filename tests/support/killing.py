"""Ends a process in the middle of what it does, as a power cut would."""

import os
import signal
import sys
import traceback
from collections.abc import Callable

SURVIVED = 17
"""Exit status of a child that came to its end."""

FILE_EVENTS = frozenset(
    {
        "open",
        "os.chmod",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.truncate",
        "shutil.rmtree",
        "sqlite3.connect",
        "subprocess.Popen",
    }
)
"""Audit events of CPython at which something on the disk is about to change."""


def die() -> None:
    """End this process, as ``kill -9`` would."""
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Kills this process when it was asked often enough."""

    def __init__(self, points: int) -> None:
        self._left = points

    def pass_point(self, *_: object) -> None:
        self._left -= 1
        if self._left < 0:
            die()


def in_child(deed: Callable[[], int]) -> int:
    """Return the exit status of ``deed`` in a forked child, or minus its signal."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            status = deed()
        except BaseException:  # noqa: BLE001 - the child must not return into the test
            traceback.print_exc()
            status = 1
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
