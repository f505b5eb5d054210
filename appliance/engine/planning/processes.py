"""Reads what a process has taken of this machine's memory.

Source: proc_pid_status(5).
"""

import re
from pathlib import Path

_TAKEN = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d{1,18}) kB$", re.MULTILINE)


def taken_bytes(pid: int, *, proc: Path = Path("/proc")) -> int:
    """Return what a process keeps that the kernel cannot take back; 0 if it is gone.

    Pages of files are left out: the kernel counts them as available.
    """
    try:
        status = (proc / str(pid) / "status").read_text("ascii", "replace")
    except OSError:
        return 0
    return 1024 * sum(int(found) for found in _TAKEN.findall(status))
