"""Which files a process may reach: from a list of places to a ruleset in the kernel.

After :func:`restrict_files` this process, what it becomes and what it starts open
nothing outside the places named, whatever the rights of its account are, root's
included. Files that are open already stay usable. The TCP ports, abstract sockets
and signals that a kernel can also take away are taken away, without an exception.

What no kernel takes away by this is told in SECURITY.md: a file's mode, owner and
times can be changed wherever the account may, and before Linux 6.2 a file that is
readable can be emptied.

Source: landlock(7), linux/landlock.h, Documentation/userspace-api/landlock.rst.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.containment.bpf import PR_SET_NO_NEW_PRIVS, SHARED
from bundleformat.errors import InternalFaultError

_CREATE_RULESET: Final = SHARED["landlock_create_ruleset"]
_ADD_RULE: Final = SHARED["landlock_add_rule"]
_RESTRICT_SELF: Final = SHARED["landlock_restrict_self"]

_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_MAKE_CHAR: Final = 1 << 6
_MAKE_BLOCK: Final = 1 << 11
_TRUNCATE: Final = 1 << 14
_IOCTL_DEV: Final = 1 << 15

_RIGHTS_OF: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many of the rights, counted from bit 0, a version of the interface knows."""

_TCP: Final = 0b11
"""Binding a port and connecting to one, from version 4 on."""

_SCOPES: Final = 0b11
"""Reaching abstract sockets and other processes by signals, from version 6 on."""

_OF_A_FILE: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""What can be said of a file that is no folder; more is an error."""

_READ: Final = _READ_FILE | _READ_DIR

_DEVICES: Final = _MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """What stays within reach; a folder stands for all that is below it.

    Attributes:
        read: May be read.
        run: May be read, and its programs and libraries run.
        write: May be read and changed in every way. Nothing of it may be run, and
            no device be made in it, unless ``run`` names it as well.
    """

    read: tuple[Path, ...] = ()
    run: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()


def check_offered() -> int:
    """Return which version of this the kernel offers; nothing is restricted.

    Raises:
        InternalFaultError: It offers none.
    """
    return _call(_CREATE_RULESET, None, 0, _VERSION)


def restrict_files(reach: Reach) -> None:
    """From here on this process opens nothing but what is within ``reach``.

    A place that is not there now, or that this account cannot get at, stays out of
    reach. The caller MUST be the only thread: others would not be bound.

    Raises:
        InternalFaultError: The kernel does not offer this, or refuses it. The
            caller MUST NOT go on without it.
    """
    version = check_offered()
    handled = _all_rights(version)
    attributes = _attributes(version, handled)
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for rights, places in _rules(reach, handled):
            for place in places:
                _allow(ruleset, place, rights)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise _refused("PR_SET_NO_NEW_PRIVS")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _all_rights(version: int) -> int:
    known = _RIGHTS_OF.get(version, max(_RIGHTS_OF.values()))
    return (1 << known) - 1


def _attributes(version: int, handled: int) -> bytes:
    """Return ``struct landlock_ruleset_attr`` as long as ``version`` knows it."""
    words = [handled]
    if version >= 4:
        words.append(_TCP)
    if version >= 6:
        words.append(_SCOPES)
    return struct.pack(f"{len(words)}Q", *words)


def _rules(reach: Reach, handled: int) -> Iterable[tuple[int, tuple[Path, ...]]]:
    # Devices are made and driven by nobody, and what is written is not run.
    yield _READ & handled, reach.read
    yield (_READ | _EXECUTE) & handled, reach.run
    yield handled & ~_DEVICES & ~_EXECUTE, reach.write


def _allow(ruleset: int, place: Path, rights: int) -> None:
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_A_FILE
        rule = struct.pack("=Qi", rights, descriptor)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    given = [
        ctypes.c_long(each) if isinstance(each, int) else each for each in arguments
    ]
    answer = int(libc.syscall(ctypes.c_long(number), *given))
    if answer < 0:
        raise _refused("landlock")
    return answer


def _refused(call: str) -> InternalFaultError:
    found = ctypes.get_errno()
    absent = found in {errno.ENOSYS, errno.EOPNOTSUPP}
    return InternalFaultError(
        "the kernel cannot keep this process away from files",
        where=call,
        actual=os.strerror(found),
        hint="This needs Linux 5.13 or newer, with landlock among the modules that "
        "/sys/kernel/security/lsm lists."
        if absent
        else "",
    )
