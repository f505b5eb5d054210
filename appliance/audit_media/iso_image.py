"""An export as an ISO 9660 image, written by xorriso and read back before it counts.

Level 3 with Rock Ridge names. Owner, rights and every date are fixed: the same
folder gives the same image with the same version of xorriso.
"""

import datetime as dt
import filecmp
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bundleformat.errors import (
    DigestMismatchError,
    MissingError,
    StorageFaultError,
)

PROGRAM: Final = "xorriso"
"""The program that writes images; part of every distribution."""

VOLUME_ID: Final = "SALLYPORT_AUDIT"
"""What a disc calls itself. Source: ECMA-119, section 7.4.1."""

MAX_MESSAGE_CHARACTERS: Final = 500
"""How much of what xorriso says is repeated when it fails."""


def find_xorriso() -> str:
    """Return the program that writes images.

    Raises:
        MissingError: It is not installed on this host.
    """
    found = shutil.which(PROGRAM)
    if found is None:
        raise MissingError(
            "xorriso, which writes ISO images, is not installed on this host",
            where=PROGRAM,
            hint="Use --tar, or install xorriso from the media of the distribution.",
        )
    return found


def write_iso(
    folder: Path, path: Path, *, program: str, created: dt.datetime, scratch: Path
) -> None:
    """Write everything in ``folder`` to the new image ``path``, and read it back.

    Args:
        folder: What the image holds: plain files, and folders of such.
        path: The image.
        program: What ``find_xorriso`` returned.
        created: The date of every file.
        scratch: A folder in which the image is unpacked again, for comparison.

    Raises:
        StorageFaultError: xorriso failed.
        DigestMismatchError: The image does not hold what the folder does.
    """
    moment = f"{created.astimezone(dt.UTC):%Y%m%d%H%M%S}00"
    _run(
        [
            # No startup file of a user or of the machine may change an image.
            *(program, "-no_rc", "-as", "mkisofs", "-quiet"),
            *("-iso-level", "3", "-r", "-V", VOLUME_ID),
            *("-sysid", "", "-publisher", "", "-p", "", "-A", "SALLYPORT AUDIT"),
            f"--modification-date={moment}",
            *("--set_all_file_dates", moment),
            *("-o", str(path.absolute()), "."),
        ],
        where=folder,
        created=created,
    )
    again = scratch / "read-back"
    _run(
        [
            *(program, "-no_rc", "-osirrox", "on", "-indev", str(path.absolute())),
            *("-extract", "/", str(again.absolute())),
        ],
        where=scratch,
        created=created,
    )
    _compare(folder, again)


def _compare(folder: Path, again: Path) -> None:
    names = sorted(each.relative_to(folder) for each in folder.rglob("*"))
    if names != sorted(each.relative_to(again) for each in again.rglob("*")):
        raise _differs("its list of files")
    for name in names:
        one, other = folder / name, again / name
        if one.is_file() and not filecmp.cmp(one, other, shallow=False):
            raise _differs(str(name))


def _differs(what: str) -> DigestMismatchError:
    return DigestMismatchError(
        "the image that was written does not hold what the export does",
        where=what,
        hint="Check the disk, then export again.",
    )


def _run(command: Sequence[str], *, where: Path, created: dt.datetime) -> None:
    done = subprocess.run(
        command,
        cwd=where,
        env={
            "LC_ALL": "C",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": str(int(created.timestamp())),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").splitlines()
        failures = [line for line in said if "FAILURE" in line or "FATAL" in line]
        raise StorageFaultError(
            "xorriso could not write the image, or read it back",
            where=PROGRAM,
            actual=" ".join(failures)[-MAX_MESSAGE_CHARACTERS:]
            or f"status {done.returncode}",
        )
