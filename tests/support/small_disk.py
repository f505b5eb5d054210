"""A file system of a test's own that is soon really full."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, *, size: str) -> Iterator[Path]:
    """Mount a file system of ``size`` at ``place``; skip where that is not allowed."""
    place.mkdir()
    mounted = subprocess.run(
        ("/bin/mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)),
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a file system needs privileges")
    try:
        yield place
    finally:
        subprocess.run(("/bin/umount", str(place)), check=True)


@contextmanager
def filled(place: Path, *, room_bytes: int) -> Iterator[None]:
    """Leave so much room on the file system of ``place`` and no more."""
    filler = place / "filler"
    free = os.statvfs(place)
    size_bytes = max(4_096, free.f_bavail * free.f_frsize - room_bytes)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size_bytes)
    try:
        yield
    finally:
        filler.unlink(missing_ok=True)
