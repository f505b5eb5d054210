"""Takes away what the examiner does not need, before it reads hostile bytes.

After ``confine`` this process cannot open a socket, start a program, a thread or
another process, trace or signal one, write into a file, or use more than its
memory and processor time. What it has open stays usable, and reading files is
not taken away. It is irreversible, and it either works or raises: a process that
could not be confined examines nothing.

Source: setrlimit(2); the calls' names are those of syscalls(2).
"""

import errno
import resource
from typing import Final

from appliance.containment.bpf import Refusal, install_filter

MEMORY_BYTES: Final = 512 * 1024 * 1024
"""Address space of the examiner. Unit: bytes."""

CPU_S: Final = 60
"""Processor time of the examiner; SIGXCPU then, SIGKILL later. Unit: seconds."""

EXAMINER: Final = tuple(
    Refusal(call=call, error=errno.EPERM)
    for call in (
        # The network, and io_uring, which reaches it past a filter.
        "socket",
        "socketpair",
        "connect",
        "io_uring_setup",
        # Programs, processes and threads.
        "clone",
        "clone3",
        "fork",
        "vfork",
        "execve",
        "execveat",
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
"""What the examiner is refused."""


def confine() -> None:
    """Confine this process.

    Raises:
        InternalFaultError: The kernel does not offer what this needs.
    """
    for limit, soft, hard in (
        (resource.RLIMIT_AS, MEMORY_BYTES, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S, CPU_S + 1),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(limit, (soft, hard))
    install_filter(EXAMINER)
