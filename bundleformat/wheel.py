"""What a wheel's file name says, and whether a host can use such a wheel.

A strict parser of our own, because the isolated host has no ``packaging``.

Source: Python Packaging User Guide, "Binary distribution format", "Platform
compatibility tags"; PEP 600 (``manylinux_X_Y``).
"""

import re
from dataclasses import dataclass
from itertools import product
from typing import Final

from bundleformat.errors import MalformedError, RefusalError
from bundleformat.paths import Name, parse_artifact_name

_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._]*[A-Za-z0-9])?", re.ASCII)
_VERSION = re.compile(r"[0-9]+[0-9A-Za-z._+]*", re.ASCII)
_BUILD = re.compile(r"[0-9]+[0-9A-Za-z._]*", re.ASCII)
_TAGS = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*", re.ASCII)
_MANYLINUX = re.compile(r"manylinux_([0-9]{1,2})_([0-9]{1,3})_x86_64", re.ASCII)
_INTERPRETER = re.compile(r"(cp|py)([0-9])([0-9]{0,2})", re.ASCII)

_OLD_NAMES: Final = {
    "manylinux1_x86_64": (2, 5),
    "manylinux2010_x86_64": (2, 12),
    "manylinux2014_x86_64": (2, 17),
}
"""Platforms from before PEP 600, and the C library each of them means."""

ANYWHERE: Final = "any"
"""The platform of a wheel without machine code."""

PLAIN_LINUX: Final = "linux_x86_64"
"""The platform of a wheel that does not say which C library it needs."""

MAX_TAGS: Final = 64
"""Most combinations of tags that one file name may stand for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelName:
    """The parts of ``NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl``.

    Attributes:
        filename: The whole.
        distribution: The name in its normal form, as ``ruamel-yaml``.
        version: The version as written.
        build: The build number, or an empty string.
        tags: Every combination it stands for, as ``cp311-cp311-linux_x86_64``.
    """

    filename: str
    distribution: str
    version: str
    build: str
    tags: tuple[str, ...]

    @property
    def platforms(self) -> frozenset[str]:
        """The platforms it says it runs on."""
        return frozenset(tag.rsplit("-", 1)[1] for tag in self.tags)

    @property
    def artifact(self) -> Name:
        """What a manifest calls the artifact.

        Raises:
            MalformedError: The file name is longer than an artifact's name.
        """
        return parse_artifact_name(
            self.filename.removesuffix(".whl").lower(), where=self.filename
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelHost:
    """What a host offers: its Python's minor version and its C library's."""

    python: str
    glibc: str


def parse_wheel_name(filename: str) -> WheelName:
    """Return the parts of a wheel's file name.

    Raises:
        MalformedError: It is not the name of a wheel.
    """
    parts = filename.removesuffix(".whl").split("-")
    shape = (_DISTRIBUTION, _VERSION, _BUILD, _TAGS, _TAGS, _TAGS)
    if len(parts) == 5:
        parts.insert(2, "0")
    if (
        not filename.endswith(".whl")
        or len(parts) != len(shape)
        or not all(
            pattern.fullmatch(part) for pattern, part in zip(shape, parts, strict=True)
        )
    ):
        raise MalformedError(
            "not the name of a wheel",
            where=ascii(filename[:200])[1:-1],
            expected="NAME-VERSION-PYTHON-ABI-PLATFORM.whl",
        )
    sets = [part.split(".") for part in parts[3:]]
    if len(sets[0]) * len(sets[1]) * len(sets[2]) > MAX_TAGS:
        raise MalformedError("too many tags", where=filename)
    return WheelName(
        filename=filename,
        distribution=normal_name(parts[0]),
        version=parts[1],
        build="" if filename.count("-") == 4 else parts[2],
        tags=tuple("-".join(tag) for tag in product(*sets)),
    )


def normal_name(text: str) -> str:
    """Return the one spelling of a distribution's name.

    Source: PEP 503, "Normalized Names".
    """
    return re.sub(r"[-_.]+", "-", text).lower()


def same_version(one: str, other: str) -> bool:
    """Return whether a file name's version is the one that metadata writes.

    A file name has ``_`` where a version has ``-``, and ``2024.2.2`` may be
    ``2024.02.02`` in one of them.
    """
    return _plain_version(one) == _plain_version(other)


def needed_glibc(name: WheelName) -> str | None:
    """Return the oldest C library its name promises to run on, as ``2.17``.

    None if there is no such promise: it runs anywhere, or does not say.
    """
    known = [found for p in name.platforms if (found := _platform_glibc(p))]
    return "{}.{}".format(*min(known)) if known else None


def check_fits(name: WheelName, host: WheelHost) -> None:
    """Check that a wheel of that name can be installed on ``host``.

    A plain ``linux_x86_64`` fits by its name; what it needs of the C library was
    read from it when it was built.

    Raises:
        RefusalError: It is for another Python, platform or a newer C library.
    """
    python, glibc = _pair(host.python), _pair(host.glibc)
    if any(_fits(tag, python=python, glibc=glibc) for tag in name.tags):
        return
    raise RefusalError(
        "the wheel does not fit the host",
        where=name.filename,
        expected=f"Python {host.python}, linux_x86_64, glibc {host.glibc} at most",
        actual=", ".join(name.tags[:4]),
        hint="Build the bundle for this host's Python and C library.",
    )


def _fits(tag: str, *, python: tuple[int, int], glibc: tuple[int, int]) -> bool:
    interpreter, abi, platform = tag.split("-")
    if platform not in {ANYWHERE, PLAIN_LINUX}:
        needed = _platform_glibc(platform)
        if needed is None or needed > glibc:
            return False
    found = _INTERPRETER.fullmatch(interpreter)
    if found is None or int(found[2]) != python[0]:
        return False
    minor = int(found[3]) if found[3] else None
    if found[1] == "py":
        return abi == "none" and (minor is None or minor <= python[1])
    if minor is None:
        return False
    exact = minor == python[1]
    if abi == "abi3":
        return minor <= python[1]
    return exact and abi in {"none", interpreter}


def _platform_glibc(platform: str) -> tuple[int, int] | None:
    if platform in _OLD_NAMES:
        return _OLD_NAMES[platform]
    found = _MANYLINUX.fullmatch(platform)
    return (int(found[1]), int(found[2])) if found else None


def _pair(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _plain_version(text: str) -> list[str]:
    parts = re.split(r"[._-]", text.lower())
    return [part.lstrip("0") or "0" if part.isdecimal() else part for part in parts]
