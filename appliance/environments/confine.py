"""Takes away what an installation does not need, before it reads a wheel.

After ``confine`` this process, and every program it becomes, cannot open a socket,
start a thread or a process beside itself, trace or signal another, or use more than
its memory, processor time and file size. Becoming another program stays allowed,
because pip is one. It is irreversible, and it either works or raises.

Source: setrlimit(2); the calls' names are those of syscalls(2).
"""

import errno
import os
import resource
from typing import Final

from appliance.containment.bpf import Refusal, install_filter

MEMORY_BYTES: Final = 2 * 2**30
"""Address space of an installation. Unit: bytes."""

CPU_S: Final = 600
"""Processor time of an installation; SIGXCPU then. Unit: seconds."""

FILE_BYTES: Final = 4 * 2**30
"""Size of the largest file that it may write. Unit: bytes."""

INSTALLER: Final = tuple(
    Refusal(call=call, error=errno.EPERM)
    for call in (
        # The network, and io_uring, which reaches it past a filter.
        "socket",
        "socketpair",
        "connect",
        "io_uring_setup",
        # Processes and threads beside this one.
        "clone",
        "clone3",
        "fork",
        "vfork",
        # Other processes.
        "kill",
        "tkill",
        "tgkill",
        "rt_sigqueueinfo",
        "rt_tgsigqueueinfo",
        "pidfd_send_signal",
        "ptrace",
        "process_vm_writev",
    )
)
"""What an installation is refused."""


def confine() -> None:
    """Confine this process and what it becomes.

    Raises:
        InternalFaultError: The kernel does not offer what this needs.
    """
    # What is installed is for others to read, whatever the operator's shell says.
    os.umask(0o022)
    for limit, soft, hard in (
        (resource.RLIMIT_AS, MEMORY_BYTES, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S, CPU_S + 1),
        (resource.RLIMIT_FSIZE, FILE_BYTES, FILE_BYTES),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(limit, (soft, hard))
    install_filter(INSTALLER)
