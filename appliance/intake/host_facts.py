"""What this host is, as far as a bundle may ask: processor, C library, programs.

Source: x86-64 psABI supplement, section 3.1.1, "Micro-Architecture Levels"; the
flags' spelling is that of Linux, arch/x86/include/asm/cpufeatures.h.
"""

import os
import platform
import re
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bundleformat.errors import InternalFaultError

CPUINFO: Final = Path("/proc/cpuinfo")
"""Where Linux says what the processors offer."""

MAX_CPUINFO_BYTES: Final = 2**20
"""More than the first processors of any machine take there."""

_LEVELS: Final = (
    frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
    frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)
"""What levels 2, 3 and 4 add. ``pni`` is SSE3, ``abm`` holds LZCNT."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HostFacts:
    """What this host is.

    Attributes:
        cpu_level: The micro-architecture level of x86-64, 1 to 4.
        platform: As ``linux_x86_64``.
        glibc: Major and minor version of the C library.
        python: Major and minor version of Python.
        program: Version of Sallyport.
    """

    cpu_level: int
    platform: str
    glibc: tuple[int, int]
    python: tuple[int, int]
    program: tuple[int, int, int]


def read_host_facts() -> HostFacts:
    """Return what this host is.

    Raises:
        InternalFaultError: It does not say.
    """
    try:
        with CPUINFO.open("rb") as file:
            text = file.read(MAX_CPUINFO_BYTES).decode("utf-8", "replace")
        library = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError) as error:
        raise InternalFaultError(
            "this host does not say what it is", actual=str(error)
        ) from error
    return HostFacts(
        cpu_level=cpu_level(text),
        platform=f"{sys.platform}_{platform.machine()}",
        glibc=_pair(library, where="C library"),
        python=(sys.version_info.major, sys.version_info.minor),
        program=_triple(version("sallyport")),
    )


def cpu_level(cpuinfo: str) -> int:
    """Return the level that the first processor of ``/proc/cpuinfo`` reaches."""
    found = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    level = 1
    for needed in _LEVELS:
        if not needed <= flags:
            break
        level += 1
    return level


def _pair(text: str, *, where: str) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None:
        raise InternalFaultError(
            "a version that cannot be read", where=where, actual=ascii(text)
        )
    return int(found[1]), int(found[2])


def _triple(text: str) -> tuple[int, int, int]:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    if found is None:
        raise InternalFaultError(
            "a version that cannot be read", where="sallyport", actual=ascii(text)
        )
    return int(found[1]), int(found[2]), int(found[3])
