"""Where environments lie, and which of them count.

``HOME/environments/<manifest's SHA-256>/<name>/`` is a virtual environment. Its
scripts name their interpreter by its whole path, so it is built where it stays.
What makes it count is a mark in it, written when everything else of it is on the
disk: what a crash leaves has none, and is built anew or collected.
"""

import os
from pathlib import Path
from typing import Final

from appliance.durable import sync_folder
from bundleformat import strictjson
from bundleformat.digest import Sha256

MARK: Final = "sallyport-environment.json"
"""Name of the mark. It is read by people; programs only look whether it is there."""

SCRATCH_PREFIX: Final = ".scratch-"
"""How the folder of an installation begins; no digest does."""

OWNER_MAY: Final = 0o755
WRITES: Final = 0o222


def environment_folder(root: Path, manifest_sha256: str, name: str) -> Path:
    """Return where the environment ``name`` of that manifest is, or would be."""
    return root / manifest_sha256 / name


def is_installed(folder: Path) -> bool:
    """Return whether ``folder`` is an environment that counts.

    Raises:
        OSError: The disk could not be asked.
    """
    return (folder / MARK).is_file()


def write_mark(folder: Path, *, name: str, manifest_sha256: Sha256) -> None:
    """Make ``folder`` count, durably, and nothing of it writable.

    Raises:
        OSError: The disk refused.
    """
    # The files are many and not ours to open one by one.
    os.sync()
    mark = {"manifest_sha256": manifest_sha256, "name": name}
    partial = folder / f"{MARK}.partial"
    partial.write_bytes(strictjson.encode(mark))
    partial.rename(folder / MARK)
    _make_read_only(folder)
    sync_folder(folder)


def make_removable(folder: Path) -> None:
    """Give the owner back what read-only folders take away.

    Raises:
        OSError: The disk refused.
    """
    for path, _, _ in os.walk(folder):
        Path(path).chmod(OWNER_MAY)


def _make_read_only(folder: Path) -> None:
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~WRITES)
        Path(place).chmod(OWNER_MAY & ~WRITES)
