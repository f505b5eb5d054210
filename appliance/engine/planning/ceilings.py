"""Reads what this machine and its control groups leave to a new process.

Pages of files can be given back, so they count as free in a control group as they
do in the kernel's ``MemAvailable``. Whoever keeps files mapped that must stay in
memory has to take them off.

Source: proc_meminfo(5), proc_pid_cgroup(5), proc_pid_mountinfo(5); Linux
Documentation/admin-guide/cgroup-v2.rst, "Memory", and cgroup-v1/memory.rst.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.engine.planning.memory import Ceiling
from bundleformat.errors import InternalFaultError

MAX_FILE_BYTES = 2**20
"""More than any of these files has."""

MAX_DEPTH = 64
"""Control groups inside each other; more are not looked at."""

_KIB = 1024
_NO_LIMIT = 2**60
"""What version 1 shows where nothing is limited is above this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Names:
    """How one version of control groups calls its files."""

    limits: tuple[str, ...]
    usage: str
    reclaimable: tuple[str, ...]


_VERSION_1 = _Names(
    limits=("memory.limit_in_bytes",),
    usage="memory.usage_in_bytes",
    reclaimable=("total_active_file", "total_inactive_file"),
)
_VERSION_2 = _Names(
    limits=("memory.max", "memory.high"),
    usage="memory.current",
    reclaimable=("active_file", "inactive_file"),
)


def read_ceilings(root: Path = Path("/")) -> tuple[Ceiling, ...]:
    """Return what is left, of the machine first, then of each control group.

    ``root`` is where ``proc`` and the mounts are looked for.

    Raises:
        InternalFaultError: A file is there and does not say what it should.
    """
    meminfo = _read(root / "proc/meminfo")
    if meminfo is None:
        raise _unreadable(root / "proc/meminfo")
    machine = Ceiling(name="available memory", left_bytes=available_bytes(meminfo))
    return (machine, *_control_groups(root))


def available_bytes(meminfo: str) -> int:
    """Return ``MemAvailable`` of a text like that of ``/proc/meminfo``.

    Raises:
        InternalFaultError: It is not in there.
    """
    found = re.search(r"^MemAvailable:\s+(\d{1,18}) kB$", meminfo, re.MULTILINE)
    if found is None:
        raise InternalFaultError("the memory of this host cannot be told")
    return int(found[1]) * _KIB


def group_paths(cgroup: str) -> Iterator[tuple[bool, str]]:
    """Yield the groups of memory in a text like that of ``/proc/self/cgroup``.

    Each as whether it is of version 2, and its path.
    """
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield True, path
        elif "memory" in controllers.split(","):
            yield False, path


def mounts(mountinfo: str) -> Iterator[tuple[bool, str, str]]:
    """Yield where groups of memory are mounted, of a text like ``mountinfo``.

    Each as whether it is of version 2, the group that is mounted, and the place.
    """
    for line in mountinfo.splitlines():
        place, _, kind = line.partition(" - ")
        fields, rest = place.split(" "), kind.split(" ")
        if len(fields) < 6 or len(rest) < 3:
            continue
        if rest[0] == "cgroup2":
            yield True, _plain(fields[3]), _plain(fields[4])
        elif rest[0] == "cgroup" and "memory" in rest[2].split(","):
            yield False, _plain(fields[3]), _plain(fields[4])


def _control_groups(root: Path) -> Iterator[Ceiling]:
    own = _read(root / "proc/self/cgroup") or ""
    where = tuple(mounts(_read(root / "proc/self/mountinfo") or ""))
    for is_new, path in group_paths(own):
        for mounted_new, group, place in where:
            if mounted_new == is_new:
                names = _VERSION_2 if is_new else _VERSION_1
                yield from _upwards(
                    root / place.lstrip("/"), _below(path, group), names
                )


def _below(path: str, group: str) -> tuple[str, ...]:
    """Return the way from the mounted ``group`` down to ``path``; nothing if none."""
    try:
        parts = PurePosixPath(path).relative_to(group).parts
    except ValueError:
        return ()
    return () if ".." in parts else parts[:MAX_DEPTH]


def _upwards(mount: Path, parts: tuple[str, ...], names: _Names) -> Iterator[Ceiling]:
    for depth in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:depth])
        for name in names.limits:
            limit = _number(folder / name)
            if limit is not None and limit < _NO_LIMIT:
                shown = "/" + "/".join(parts[:depth])
                yield Ceiling(
                    name=f"{name} of the control group {shown}",
                    left_bytes=limit - _in_use(folder, names),
                )


def _in_use(folder: Path, names: _Names) -> int:
    """Return what a group uses and cannot give back."""
    usage = _number(folder / names.usage)
    if usage is None:
        raise _unreadable(folder / names.usage)
    statistics = _read(folder / "memory.stat") or ""
    pairs = (line.split(" ") for line in statistics.splitlines())
    values = {pair[0]: int(pair[1]) for pair in pairs if _is_count(pair)}
    return max(0, usage - sum(values.get(name, 0) for name in names.reclaimable))


def _is_count(pair: list[str]) -> bool:
    return len(pair) == 2 and pair[1].isascii() and pair[1].isdigit()


def _number(path: Path) -> int | None:
    """Return the number in ``path``; None if there is none, or no limit."""
    text = _read(path)
    if text is None or text.strip() == "max":
        return None
    if not re.fullmatch(r"\d{1,20}\s*", text, re.ASCII):
        raise _unreadable(path)
    return int(text)


def _read(path: Path) -> str | None:
    """Return the text of ``path``; None if there is no such file.

    Raises:
        InternalFaultError: There is one, and it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path) from error


def _plain(text: str) -> str:
    """Return a path of ``mountinfo`` without its octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _unreadable(path: Path) -> InternalFaultError:
    return InternalFaultError("the memory of this host cannot be told", where=str(path))
