"""System-call filters for processes that need no network: no INET, no back doors.

After :func:`refuse_network` a process can open Unix sockets only; every other
address family answers EAFNOSUPPORT, io_uring answers ENOSYS (it could open
sockets past the filter), and reaching into another process answers EPERM.
After :func:`refuse_sockets` it can open none at all and connect none it has.
"""

import errno

from appliance.containment.bpf import Refusal, install_filter

_AF_UNIX = 1

OTHER_PROCESSES = tuple(
    Refusal(call=call, error=errno.EPERM)
    for call in ("ptrace", "pidfd_getfd", "process_vm_readv", "process_vm_writev")
)
"""What would borrow another process's memory or descriptors."""

NETWORK = (
    Refusal(call="io_uring_setup", error=errno.ENOSYS),
    Refusal(call="socket", error=errno.EAFNOSUPPORT, unless_first=_AF_UNIX),
    Refusal(call="socketpair", error=errno.EAFNOSUPPORT, unless_first=_AF_UNIX),
    *OTHER_PROCESSES,
)
"""What a process without a network is refused."""

SOCKETS = (
    Refusal(call="io_uring_setup", error=errno.ENOSYS),
    Refusal(call="socket", error=errno.EAFNOSUPPORT),
    Refusal(call="connect", error=errno.EPERM),
    *OTHER_PROCESSES,
)
"""What a process that keeps the sockets it was given is refused."""


def refuse_network() -> None:
    """From here on this process and its children open Unix sockets only.

    Raises:
        InternalFaultError: The architecture is unknown, or the kernel refuses
            the filter. The caller MUST NOT go on without it.
    """
    install_filter(NETWORK)


def refuse_sockets() -> None:
    """From here on this process and its children open and connect no socket.

    Raises:
        InternalFaultError: As for ``refuse_network``.
    """
    install_filter(SOCKETS)
