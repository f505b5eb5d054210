"""How much room installed environments take, from what was signed; pure.

An environment is its wheels, unpacked, and besides each Python file the bytecode
that pip makes of it. Each file and each folder counts with a block more than it
holds; bytecode counts as twice its source, which that of real programs stays well
below. So an environment takes less than is reserved, unless its wheels nest folders
that hold nothing but one another.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from appliance.intake.preflight import Need
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import Artifact, Manifest, WheelSizes
from bundleformat.paths import Name
from bundleformat.wheel_lint import most_unpacked_bytes

BYTECODE: Final = 2
"""Bytes of bytecode reserved for a byte of Python source."""

INODES_OF_A_FILE: Final = 4
"""A file of a wheel, its bytecode, and the two folders they may be alone in."""

INODES_OF_AN_ENVIRONMENT: Final = 256
"""What an empty environment, its commands and its installation take besides."""

BLOCK_BYTES: Final = 4_096
"""What a file may take beyond its size. Unit: bytes."""

LEAST_MEMBER_BYTES: Final = 80
"""Less than any member takes in an archive: both of its headers, a name twice."""


def room_of(locks: Iterable[Artifact], manifest: Manifest) -> Need:
    """Return what installing the environments of ``locks`` puts on the disk.

    Each has its own copy of every wheel.
    """
    wheels = {each.name: each for each in manifest.artifacts if each.kind == "wheel"}
    bytes_ = inodes = 0
    for lock in locks:
        sizes = tuple(_sizes_of(lock, wheels))
        files = INODES_OF_AN_ENVIRONMENT + sum(
            each.files * INODES_OF_A_FILE for each in sizes
        )
        inodes += files
        bytes_ += files * BLOCK_BYTES + sum(
            each.unpacked_bytes + each.python_bytes * BYTECODE for each in sizes
        )
    return Need(bytes_=bytes_, inodes=inodes)


def _sizes_of(lock: Artifact, wheels: Mapping[Name, Artifact]) -> Iterable[WheelSizes]:
    environment = lock.environment
    for name in environment.wheels if environment is not None else ():
        wheel = wheels[name]
        yield wheel.wheel or _most(wheel.size_bytes)


def _most(size_bytes: int) -> WheelSizes:
    """Return the most that a wheel of which nothing was signed may take."""
    unpacked_bytes = most_unpacked_bytes(size_bytes)
    return WheelSizes(
        unpacked_bytes=unpacked_bytes,
        python_bytes=unpacked_bytes,
        files=min(DEFAULT_LIMITS.wheel_files, 1 + size_bytes // LEAST_MEMBER_BYTES),
    )
