"""What an engine process gives up before it reads any byte of a model."""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

from appliance.containment.seccomp import refuse_sockets
from appliance.containment.secrecy import forbid_inspection
from appliance.engine.llama.devices import wake_devices
from bundleformat.errors import InternalFaultError

OOM_SCORE = 800
"""How readily the kernel kills this process when memory ends (0 to 1000).

The gateway and the ledger stay at 0: they outlive any model.
"""

_PR_SET_PDEATHSIG = 1


def contain(parent_pid: int) -> None:
    """Give up what an engine does not need.

    The driver of a GPU opens sockets when it is woken, and none afterwards: so it
    is woken first. The filter then holds for the threads it has started as well.

    Raises:
        InternalFaultError: The kernel refuses; the process MUST end then.
        EOFError: The parent is already gone.
    """
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise InternalFaultError("the kernel refuses PR_SET_PDEATHSIG")
    if os.getppid() != parent_pid:
        raise EOFError
    # A host without /proc loses a preference of its OOM killer, not a guarantee.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), "ascii")
    forbid_inspection()
    wake_devices()
    refuse_sockets()
