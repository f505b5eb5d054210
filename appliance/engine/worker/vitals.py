"""What this process takes of the machine, in the kernel's own count.

Source: proc_pid_status(5).
"""

from collections.abc import Mapping
from pathlib import Path

from appliance.engine.planning.memory import Loaded, Memory

_KIB = 1024


def read_vitals(path: Path = Path("/proc/self/status")) -> Mapping[str, int]:
    """Return every size in ``path`` by its name, such as ``VmRSS``. Unit: bytes."""
    sizes = {}
    for line in path.read_text("ascii", "replace").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words[1:] == ["kB"]:
            sizes[name] = int(words[0]) * _KIB
    return sizes


def read_loaded(memory: Memory) -> Loaded:
    """Return what this process takes, whose buffers are ``memory``."""
    vitals = read_vitals()
    return Loaded(
        memory=memory,
        resident_bytes=vitals["VmRSS"],
        anonymous_bytes=vitals.get("RssAnon", vitals["VmRSS"]),
    )
