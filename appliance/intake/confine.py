"""Takes away what the examiner does not need, before it reads hostile bytes.

After ``confine`` this process cannot open a socket, start a program or another
process, trace or signal one, write into a file, or use more than its memory and
processor time. What it has open stays usable, and reading files is not taken
away. It is irreversible, and it either works or raises: a process that could
not be confined examines nothing.

Source: Linux, Documentation/userspace-api/seccomp_filter.rst; prctl(2).
"""

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bundleformat.errors import InternalFaultError

MEMORY_BYTES: Final = 512 * 1024 * 1024
"""Address space of the examiner. Unit: bytes."""

CPU_S: Final = 60
"""Processor time of the examiner; SIGXCPU then, SIGKILL later. Unit: seconds."""

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_ERRNO_EPERM = 0x00050000 | 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Machine:
    """System calls refused on one kind of processor, and its audit number."""

    audit_arch: int
    refused: Mapping[str, int]


_MACHINES: Final = {
    "x86_64": _Machine(
        audit_arch=0xC000003E,
        refused={
            "socket": 41,
            "connect": 42,
            "socketpair": 53,
            "clone": 56,
            "fork": 57,
            "vfork": 58,
            "execve": 59,
            "kill": 62,
            "ptrace": 101,
            "rt_sigqueueinfo": 129,
            "tkill": 200,
            "tgkill": 234,
            "rt_tgsigqueueinfo": 297,
            "process_vm_writev": 311,
            "execveat": 322,
            "pidfd_send_signal": 424,
            "io_uring_setup": 425,
            "clone3": 435,
        },
    ),
    "aarch64": _Machine(
        audit_arch=0xC00000B7,
        refused={
            "ptrace": 117,
            "kill": 129,
            "tkill": 130,
            "tgkill": 131,
            "rt_sigqueueinfo": 138,
            "socket": 198,
            "socketpair": 199,
            "connect": 203,
            "clone": 220,
            "execve": 221,
            "rt_tgsigqueueinfo": 240,
            "process_vm_writev": 271,
            "execveat": 281,
            "pidfd_send_signal": 424,
            "io_uring_setup": 425,
            "clone3": 435,
        },
    ),
}

_FOREIGN_CALLS: Final = 0x40000000
"""From here on lies x86's x32 table, a way around the numbers above."""


def confine() -> None:
    """Confine this process. It MUST NOT have started a thread.

    Raises:
        InternalFaultError: The kernel does not offer what this needs.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise InternalFaultError(
            "no confinement for this kind of processor", actual=platform.machine()
        )
    for limit, soft, hard in (
        (resource.RLIMIT_AS, MEMORY_BYTES, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S, CPU_S + 1),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(limit, (soft, hard))
    _install(_program(machine))


def _program(machine: _Machine) -> bytes:
    """Return the filter: refuse the listed calls, allow the rest.

    The offsets are those of ``struct seccomp_data``: number at 0, arch at 4.
    """
    count = len(machine.refused)
    instructions = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, machine.audit_arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_JUMP_AT_LEAST, count + 1, 0, _FOREIGN_CALLS),
        *(
            (_JUMP_EQUAL, count - index, 0, number)
            for index, number in enumerate(machine.refused.values())
        ),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO_EPERM),
    ]
    return b"".join(struct.pack("<HBBI", *each) for each in instructions)


def _install(program: bytes) -> None:
    class _Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    given = _Filter(len(program) // 8, program)
    pointer = ctypes.cast(ctypes.byref(given), ctypes.c_void_p)
    for option, first, second in (
        (_PR_SET_NO_NEW_PRIVS, 1, None),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, pointer),
    ):
        zero = ctypes.c_ulong(0)
        arguments = (ctypes.c_ulong(first), second or zero, zero, zero)
        if libc.prctl(ctypes.c_int(option), *arguments) != 0:
            raise InternalFaultError(
                "this process cannot be confined",
                where="prctl",
                actual=os.strerror(ctypes.get_errno()),
            )
