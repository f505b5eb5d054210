"""Looks at a running process: the most memory it had, the most disk it used.

Memory is the kernel's own high-water mark of the process (``VmHWM``), not of its
children. Disk is sampled, so a peak shorter than the interval can be missed.
"""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL_S = 0.02
"""How long between two looks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """The most of each that was seen."""

    rss_bytes: int
    disk_bytes: int


def watch(process: "subprocess.Popen[bytes]", *, folders: Sequence[Path]) -> Peak:
    """Wait until ``process`` ends; return what it and ``folders`` took at most."""
    rss_bytes = disk_bytes = 0
    while process.poll() is None:
        rss_bytes = max(rss_bytes, _high_water(process.pid))
        disk_bytes = max(disk_bytes, sum(_on_disk(folder) for folder in folders))
        time.sleep(INTERVAL_S)
    disk_bytes = max(disk_bytes, sum(_on_disk(folder) for folder in folders))
    return Peak(rss_bytes=rss_bytes, disk_bytes=disk_bytes)


def _high_water(pid: int) -> int:
    """Return the most memory the process had resident, or 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _on_disk(folder: Path) -> int:
    """Return the bytes allocated below ``folder``; a file that moves counts once."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except OSError:
            continue
    return total
