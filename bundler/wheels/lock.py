"""Writes the lock of an environment, in the two forms that installers read.

``pylock.NAME.toml`` (PEP 751) with paths relative to the bundle, and the same
list as hashed requirements, which pip installs from without experiments. Both
are a pure function of the wheels: same wheels, same bytes.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.pylock import Pylock, PylockValidationError

from bundleformat.artifact import Environment
from bundleformat.digest import Sha256
from bundleformat.errors import InternalFaultError
from bundleformat.paths import Name
from bundleformat.wheel_lint import WheelFacts

CREATED_BY = "sallyport-bundler"
"""What the lock says of its author."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedWheel:
    """A wheel of an environment: checked, and described for a list of materials.

    Attributes:
        path: Where it lies on this machine.
        name: Its artifact's name.
        sha256: Digest of the file.
        size_bytes: Its size.
        facts: What it says of itself.
    """

    path: Path
    name: Name
    sha256: Sha256
    size_bytes: int
    facts: WheelFacts

    @property
    def filename(self) -> str:
        """Its file name, which installers parse."""
        return self.path.name


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedEnvironment:
    """An environment that can be installed without an index.

    Attributes:
        wheels: All of them, ascending by artifact name; pip is among them.
        lock: ``pylock.NAME.toml``.
        requirements: ``NAME.requirements.txt``.
        environment: What the manifest says of it.
    """

    wheels: tuple[LockedWheel, ...]
    lock: bytes
    requirements: bytes
    environment: Environment


def write_lock(wheels: Sequence[LockedWheel], *, python: str) -> bytes:
    """Return ``pylock.NAME.toml`` for ``wheels``.

    Raises:
        InternalFaultError: It does not follow PEP 751, or reads as another list.
    """
    lines = [
        'lock-version = "1.0"',
        f"requires-python = {json.dumps(f'=={python}.*')}",
        f"created-by = {json.dumps(CREATED_BY)}",
    ]
    for wheel in _by_distribution(wheels):
        lines += [
            "",
            "[[packages]]",
            f"name = {json.dumps(wheel.facts.name.distribution)}",
            f"version = {json.dumps(wheel.facts.version)}",
            "",
            "[[packages.wheels]]",
            f"name = {json.dumps(wheel.filename)}",
            f"path = {json.dumps(f'../wheels/{wheel.filename}')}",
            f"size = {wheel.size_bytes}",
            f'hashes = {{sha256 = "{wheel.sha256}"}}',
        ]
    data = ("\n".join(lines) + "\n").encode("utf-8")
    _check_lock(data, wheels)
    return data


def write_requirements(wheels: Sequence[LockedWheel]) -> bytes:
    """Return the hashed requirements for ``wheels``."""
    lines = ["# Written by sallyport-bundler from the same list as the lock."]
    lines += [
        f"{wheel.facts.name.distribution}=={wheel.facts.version}"
        f" --hash=sha256:{wheel.sha256}"
        for wheel in _by_distribution(wheels)
    ]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _by_distribution(wheels: Sequence[LockedWheel]) -> list[LockedWheel]:
    return sorted(wheels, key=lambda wheel: wheel.facts.name.distribution)


def _check_lock(data: bytes, wheels: Sequence[LockedWheel]) -> None:
    try:
        lock = Pylock.from_dict(tomllib.loads(data.decode("utf-8")))
    except (PylockValidationError, tomllib.TOMLDecodeError) as error:
        raise InternalFaultError(
            "the lock does not follow PEP 751", actual=str(error)
        ) from error
    found = {
        (wheel.name, wheel.size, wheel.hashes.get("sha256"))
        for package in lock.packages
        for wheel in package.wheels or ()
    }
    if found != {(item.filename, item.size_bytes, item.sha256) for item in wheels}:
        raise InternalFaultError("the lock lists other wheels")
