"""How measurements are kept, and the kind of host that they hold for.

A host is known by its processor, the cores this process may use and the release of
llama.cpp: a database that is moved to another host has nothing measured, nor has
one after an upgrade.
"""

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from appliance.engine.planning.choices import Measurement
from bundleformat.errors import InternalFaultError

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux says what processor it is."""

MAX_CPUINFO_BYTES = 2**20
"""More than the first processor of any machine takes there."""

_NAME = re.compile(r"^(?:model name|CPU part)\s*:\s*(.{1,200})$", re.MULTILINE)


def host_kind(path: Path = CPUINFO) -> str:
    """Return what kind of host this is, as far as speed depends on it.

    Raises:
        InternalFaultError: It does not say.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CPUINFO_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise InternalFaultError(
            "this host does not say what it is", actual=str(error)
        ) from error
    found = _NAME.search(text)
    name = found[1].strip() if found else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores, llama-cpp-python {version('llama-cpp-python')}"


def encode_measured(measured: Sequence[Measurement]) -> bytes:
    """Return measurements as JSON."""
    return msgspec.json.encode(tuple(measured))


def decode_measured(data: bytes) -> tuple[Measurement, ...]:
    """Return the measurements in ``data``.

    What another release wrote, and this one has no words for, counts as not measured.
    """
    try:
        return msgspec.json.decode(data, type=tuple[Measurement, ...])
    except msgspec.DecodeError:
        return ()
