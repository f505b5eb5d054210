"""System-call filters: from a list of refusals to a program in the kernel.

A refusal names a system call and the error it answers from then on. Calls of a
foreign ABI, whose numbers mean other calls, kill the process. A filter binds
every thread, is inherited by children and cannot be taken off; an architecture
whose numbers are not listed here is not filtered at all, but refused.

Source: seccomp(2), linux/seccomp.h, linux/filter.h, linux/audit.h.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bundleformat.errors import InternalFaultError

PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1
"""Puts every thread of the process under the filter, not the caller alone."""

LOAD_WORD = 0x20
JUMP_EQUAL = 0x15
JUMP_GREATER_EQUAL = 0x35
RETURN = 0x06
"""The four instructions a filter consists of."""

ALLOW = 0x7FFF_0000
KILL_PROCESS = 0x8000_0000
ERRNO = 0x0005_0000
"""What a filter returns; the low 16 bits of ``ERRNO`` are the error."""

_OFFSET_NUMBER = 0
_OFFSET_ARCHITECTURE = 4
_OFFSET_FIRST_ARGUMENT = 16
_X32_BIT = 0x4000_0000
"""System call numbers from here on belong to the x32 ABI of x86-64 kernels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """One system call that is refused from now on.

    Attributes:
        call: Its name; where an architecture lacks it there is nothing to refuse.
        error: The error number it answers.
        unless_first: It is let through if its first argument, a C int, is this.
    """

    call: str
    error: int
    unless_first: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Abi:
    audit: int
    numbers: Mapping[str, int]


SHARED = {
    "io_uring_setup": 425,
    "clone3": 435,
    "pidfd_send_signal": 424,
    "pidfd_getfd": 438,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}
"""Calls newer than the common numbering, the same on every architecture."""

_ABIS = {
    "x86_64": _Abi(
        audit=0xC000_003E,
        numbers={
            **SHARED,
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
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "seccomp": 317,
            "execveat": 322,
        },
    ),
    "aarch64": _Abi(
        audit=0xC000_00B7,
        numbers={
            **SHARED,
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
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "seccomp": 277,
            "execveat": 281,
        },
    ),
}


def install_filter(refusals: Sequence[Refusal]) -> None:
    """From here on this process and its children are refused these calls.

    Raises:
        InternalFaultError: The architecture is unknown, or the kernel refuses
            the filter. The caller MUST NOT go on without it.
    """
    machine = platform.machine()
    program = assemble(refusals, machine=machine)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _refused("PR_SET_NO_NEW_PRIVS")
    answer = libc.syscall(
        ctypes.c_long(_ABIS[machine].numbers["seccomp"]),
        ctypes.c_uint32(SECCOMP_SET_MODE_FILTER),
        ctypes.c_uint32(SECCOMP_FILTER_FLAG_TSYNC),
        ctypes.create_string_buffer(header, len(header)),
    )
    if answer:
        raise _refused("seccomp")


def assemble(refusals: Sequence[Refusal], *, machine: str) -> bytes:
    """Return the filter as classic BPF: 8 bytes an instruction.

    Raises:
        InternalFaultError: The architecture is unknown.
    """
    abi = _ABIS.get(machine)
    if abi is None:
        raise InternalFaultError(
            "no system-call filter is known for this architecture",
            where=machine,
            expected=" or ".join(_ABIS),
        )
    rows = [
        (LOAD_WORD, 0, 0, _OFFSET_ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, abi.audit),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD_WORD, 0, 0, _OFFSET_NUMBER),
        (JUMP_GREATER_EQUAL, 0, 1, _X32_BIT),
        (RETURN, 0, 0, KILL_PROCESS),
    ]
    for refusal in refusals:
        number = _number(refusal.call, abi)
        if number is not None:
            rows += _rows(refusal, number)
    rows.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *row) for row in rows)


def _number(call: str, abi: _Abi) -> int | None:
    """Return the call's number; a name that no architecture has is a bug."""
    if not any(call in each.numbers for each in _ABIS.values()):
        raise ValueError(f"no system call of the name {call!r} is listed")
    return abi.numbers.get(call)


def _rows(refusal: Refusal, number: int) -> list[tuple[int, int, int, int]]:
    """Return the instructions for one call; any other falls through them."""
    refuse = (RETURN, 0, 0, ERRNO | refusal.error)
    if refusal.unless_first is None:
        return [(JUMP_EQUAL, 0, 1, number), refuse]
    return [
        (JUMP_EQUAL, 0, 4, number),
        (LOAD_WORD, 0, 0, _OFFSET_FIRST_ARGUMENT),
        (JUMP_EQUAL, 1, 0, refusal.unless_first),
        refuse,
        (RETURN, 0, 0, ALLOW),
    ]


def _refused(call: str) -> InternalFaultError:
    return InternalFaultError(
        "the kernel refused to contain this process",
        where=call,
        actual=os.strerror(ctypes.get_errno()),
    )
