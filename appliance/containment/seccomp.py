"""A system-call filter for processes that need no network: no INET, no back doors.

After :func:`refuse_network` a process can open Unix sockets only; every other
address family answers EAFNOSUPPORT, io_uring answers ENOSYS (it could open
sockets past the filter), ptrace answers EPERM, and calls of a foreign ABI kill
the process. The filter is inherited by children and cannot be taken off. On an
architecture it does not know it refuses to run at all.

Source: seccomp(2), linux/seccomp.h, linux/filter.h, linux/audit.h.
"""

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

from bundleformat.errors import InternalFaultError

PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1
"""Puts every thread of the process under the filter, not the caller alone."""

_LOAD_WORD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_GREATER_EQUAL = 0x35
_RETURN = 0x06
_ALLOW = 0x7FFF_0000
_KILL_PROCESS = 0x8000_0000
_OFFSET_NUMBER = 0
_OFFSET_ARCHITECTURE = 4
_OFFSET_FIRST_ARGUMENT = 16
_AF_UNIX = 1
_X32_BIT = 0x4000_0000
"""System call numbers from here on belong to the x32 ABI of x86-64 kernels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Abi:
    audit: int
    seccomp: int
    socket: int
    socketpair: int
    ptrace: int
    io_uring_setup: int = 425


_ABIS = {
    "x86_64": _Abi(
        audit=0xC000_003E, seccomp=317, socket=41, socketpair=53, ptrace=101
    ),
    "aarch64": _Abi(
        audit=0xC000_00B7, seccomp=277, socket=198, socketpair=199, ptrace=117
    ),
}


def refuse_network() -> None:
    """From here on this process and its children open Unix sockets only.

    Raises:
        InternalFaultError: The architecture is unknown, or the kernel refuses
            the filter. The caller MUST NOT go on without it.
    """
    abi = _ABIS.get(platform.machine())
    if abi is None:
        raise InternalFaultError(
            "no system-call filter is known for this architecture",
            where=platform.machine(),
            expected=" or ".join(_ABIS),
        )
    program = _program(abi)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _refused("PR_SET_NO_NEW_PRIVS")
    answer = libc.syscall(
        ctypes.c_long(abi.seccomp),
        ctypes.c_uint32(SECCOMP_SET_MODE_FILTER),
        ctypes.c_uint32(SECCOMP_FILTER_FLAG_TSYNC),
        ctypes.create_string_buffer(header, len(header)),
    )
    if answer:
        raise _refused("seccomp")


def _refused(call: str) -> InternalFaultError:
    return InternalFaultError(
        "the kernel refused to contain this process",
        where=call,
        actual=os.strerror(ctypes.get_errno()),
    )


def _program(abi: _Abi) -> bytes:
    """Return the filter as classic BPF: 8 bytes an instruction."""
    rows = [
        (_LOAD_WORD, 0, 0, _OFFSET_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, abi.audit),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD_WORD, 0, 0, _OFFSET_NUMBER),
        (_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_JUMP_EQUAL, 0, 1, abi.io_uring_setup),
        (_RETURN, 0, 0, _errno(errno.ENOSYS)),
        (_JUMP_EQUAL, 0, 1, abi.ptrace),
        (_RETURN, 0, 0, _errno(errno.EPERM)),
        (_JUMP_EQUAL, 1, 0, abi.socket),
        (_JUMP_EQUAL, 0, 3, abi.socketpair),
        (_LOAD_WORD, 0, 0, _OFFSET_FIRST_ARGUMENT),
        (_JUMP_EQUAL, 1, 0, _AF_UNIX),
        (_RETURN, 0, 0, _errno(errno.EAFNOSUPPORT)),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *row) for row in rows)


def _errno(number: int) -> int:
    return 0x0005_0000 | number
