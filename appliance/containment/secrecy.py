"""Keeps other processes of the same user out of this one's memory.

A process that was taken over, an engine that met a hostile model, may run under
the same user as the gateway. Unless the gateway forbids it, it could read the
gateway's secrets from ``/proc``, write into its memory, or take its sockets.

Source: prctl(2), PR_SET_DUMPABLE; ptrace(2), "Ptrace access mode checking".
"""

import ctypes
import os
import resource

from bundleformat.errors import InternalFaultError

PR_SET_DUMPABLE = 4


def forbid_inspection() -> None:
    """From here on nobody but root may inspect this process, and it dumps no core.

    Holds until the process runs another program; a child that does so MUST call
    this again.

    Raises:
        InternalFaultError: The kernel refuses. The caller MUST NOT go on.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise InternalFaultError(
            "the kernel refused to protect this process",
            where="PR_SET_DUMPABLE",
            actual=os.strerror(ctypes.get_errno()),
        )
