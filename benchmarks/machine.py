"""What the figures were measured on; read from the kernel, changes nothing."""

import os
import platform
from pathlib import Path
from typing import Any


def describe(scratch: Path) -> dict[str, Any]:
    """Return the machine's processor, load and the file system of ``scratch``."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_1m": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "file_system": _file_system(scratch),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type of the deepest mount that holds ``folder``."""
    found, depth = "unknown", -1
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        _, mounted, kind, *_ = line.split()
        at = Path(mounted)
        if folder.resolve().is_relative_to(at) and len(at.parts) >= depth:
            found, depth = kind, len(at.parts)
    return found
