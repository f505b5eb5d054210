"""Where the files of a volume lie; the names come from here, never from media."""

import re
from typing import Final

from bundleformat.digest import Sha256
from bundleformat.paths import ArchivePath

METADATA_FOLDER: Final = ArchivePath("metadata")
"""Folder of the TUF metadata."""

TIMESTAMP_PATH: Final = ArchivePath("metadata/timestamp.json")
"""The one metadata file whose name holds no version."""

MANIFEST_PATH: Final = ArchivePath("targets/manifest.json")
"""The signed list of artifacts; a TUF target."""

NOTE_PATH: Final = ArchivePath("BUNDLE.txt")
"""A note for people; unsigned and never parsed."""

VOLUME_HINT_PATH: Final = ArchivePath("volume.json")
"""Which chunks lie on this volume; unsigned, and only ever a hint."""

INSTALLER_PATH: Final = ArchivePath("install.py")
"""A copy of the installer where a person finds it; they compare its digest."""

_ROOT_NAME = re.compile(r"([1-9][0-9]{0,8})\.root\.json", re.ASCII)


def root_path(version: int) -> ArchivePath:
    """Return where root ``version`` lies."""
    return ArchivePath(f"metadata/{version}.root.json")


def snapshot_path(version: int) -> ArchivePath:
    """Return where the snapshot metadata of ``version`` lies."""
    return ArchivePath(f"metadata/{version}.snapshot.json")


def targets_path(version: int) -> ArchivePath:
    """Return where the targets metadata of ``version`` lies."""
    return ArchivePath(f"metadata/{version}.targets.json")


def chunk_path(sha256: Sha256) -> ArchivePath:
    """Return where the chunk of that digest lies."""
    return ArchivePath(f"c/{sha256[:2]}/{sha256}")


def parse_root_version(name: str) -> int | None:
    """Return the version in a file name such as ``2.root.json``, or None."""
    found = _ROOT_NAME.fullmatch(name)
    return int(found[1]) if found else None
