"""Takes away what an installation does not need, before it reads a wheel.

After ``confine`` this process, and every program it becomes, opens no file but those
of the system's own programs and of the two folders it works in, and writes at most
into those. It cannot open a socket, start a thread or a process beside itself, trace
or signal another, or use more than its memory, processor time and file size.
Becoming another program of the system stays allowed, because pip needs Python. It
is irreversible, and it either works or raises.

Source: setrlimit(2), landlock(7); the calls' names are those of syscalls(2).
"""

import errno
import os
import resource
import sys
from pathlib import Path
from typing import Final

from appliance.containment.bpf import Refusal, install_filter
from appliance.containment.landlock import Reach, restrict_files

MEMORY_BYTES: Final = 2 * 2**30
"""Address space of an installation. Unit: bytes."""

CPU_S: Final = 600
"""Processor time of an installation; SIGXCPU then. Unit: seconds."""

FILE_BYTES: Final = 4 * 2**30
"""Size of the largest file that it may write. Unit: bytes."""

PROGRAMS: Final = tuple(
    map(Path, ("/usr", "/bin", "/lib", "/lib32", "/lib64", sys.base_prefix))
)
"""Where the system keeps Python and the libraries that it is made of."""

FACTS: Final = tuple(
    map(
        Path,
        (
            *("/etc/ld.so.cache", "/etc/os-release", "/etc/debian_version"),
            *("/etc/localtime", "/etc/locale.alias", "/etc/mime.types"),
            *("/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf"),
            *("/etc/crypto-policies", "/dev/urandom", "/dev/zero"),
        ),
    )
)
"""What Python and pip look up besides. Nothing of it is this account's own."""

NOWHERE: Final = Path(os.devnull)
"""Where output goes that nobody wants."""

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


def confine(*, read: tuple[Path, ...] = (), write: tuple[Path, ...] = ()) -> None:
    """Confine this process and what it becomes.

    ``read`` are the folders it may look into, ``write`` those it may change as well.

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
    restrict_files(Reach(read=(*FACTS, *read), run=PROGRAMS, write=(NOWHERE, *write)))
    install_filter(INSTALLER)
