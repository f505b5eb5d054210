"""Opens whatever a person names as the place of a bundle, by what it holds.

A folder is a volume as it is. A regular file or a block device is an ISO 9660
image or a ``.mbundle`` by the mark in its content, never by its name. Anything
else is refused without being read: a FIFO cannot make the reader wait.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from bundleformat.errors import (
    LimitExceededError,
    MalformedError,
    MissingError,
    RefusalError,
    StorageFaultError,
)
from bundleformat.image_file import open_image
from bundleformat.iso9660 import IsoImage
from bundleformat.iso_volume import DESCRIPTORS_OFFSET, has_descriptor
from bundleformat.layout import METADATA_FOLDER
from bundleformat.medium import COPY_AGAIN, Medium
from bundleformat.single_file import SingleFile
from bundleformat.ustar import BLOCK_BYTES, has_magic
from bundleformat.volume import Volume
from bundleformat.volume_set import VolumeSet

NAME_IT: Final = (
    "Name the folder that holds metadata/ and c/, a .mbundle file or an ISO image made "
    "by `sallyport-bundler image`."
)
"""What a person does who named something else."""

MAX_LISTED: Final = 1_024
"""Most entries of a folder that are looked at to say where its bundles lie."""

MAX_SHOWN: Final = 8
"""Most of them that are named."""


def open_medium(path: Path) -> Medium:
    """Return the bundle's medium at ``path``, open. The caller MUST close it.

    Raises:
        MissingError: Nothing lies there.
        MalformedError: It is no folder, no ``.mbundle`` and no ISO 9660 image,
            or it is one that breaks its format.
        LimitExceededError: Its index is above its limits.
        StorageFaultError: It cannot be read.
    """
    if _is_folder(path):
        return Volume(path)
    first, descriptor = _marks(path)
    if not first:
        raise MalformedError("an empty file", where=str(path), hint=COPY_AGAIN)
    match has_magic(first), has_descriptor(descriptor):
        case True, False:
            reader: type[SingleFile | IsoImage] = SingleFile
        case False, True:
            reader = IsoImage
        case both, _:
            raise MalformedError(
                "an ISO image and a .mbundle at once"
                if both
                else "neither a folder, nor a .mbundle file, nor an ISO 9660 image",
                where=str(path),
                hint=NAME_IT,
            )
    try:
        return reader(path)
    except RefusalError as error:
        # Some of a format's errors are about the image as a whole and name it.
        named = error if error.where == str(path) else error.inside(str(path))
        raise named.advised(COPY_AGAIN) from error


def open_volumes(paths: Sequence[Path]) -> VolumeSet:
    """Return the volumes at ``paths``, open, as one medium. The caller MUST close it.

    Raises:
        ConflictError: One is of another bundle than the first.
        MissingError: Nothing lies at one of them, or no bundle does.
        MalformedError, LimitExceededError, StorageFaultError: As ``open_medium``,
            of any of them.
    """
    with ExitStack() as opened:
        media = [opened.enter_context(open_medium(path)) for path in paths]
        for medium, path in zip(media, paths, strict=True):
            _check_bundle(medium, path)
        volumes = VolumeSet(media)
        opened.pop_all()
    return volumes


def _check_bundle(medium: Medium, path: Path) -> None:
    try:
        medium.names(METADATA_FOLDER, max_entries=MAX_LISTED)
    except MissingError as error:
        raise MissingError(
            "no bundle lies here", where=str(path), hint=_places_hint(path)
        ) from error
    except LimitExceededError:
        return


def _places_hint(path: Path) -> str:
    """Return what to name instead of a folder above a bundle, or above its volumes."""
    below: list[str] = []
    with suppress(OSError):
        for entry in islice(os.scandir(path), MAX_LISTED):
            if entry.is_dir(follow_symlinks=False):
                if os.path.lexists(f"{entry.path}/{METADATA_FOLDER}"):
                    below.append(entry.path)
            elif entry.name.endswith((".mbundle", ".iso")):
                below.append(entry.path)
    if not below:
        return NAME_IT
    shown = " ".join(sorted(below)[:MAX_SHOWN])
    return f"Name what lies below it instead: {shown}"


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(
            "no such folder or file",
            where=str(path),
            hint=NAME_IT,
        ) from error
    except OSError as error:
        raise _fault(error, path) from error


def _marks(path: Path) -> tuple[bytes, bytes]:
    image = open_image(path)
    try:
        return (
            os.pread(image, BLOCK_BYTES, 0),
            os.pread(image, 8, DESCRIPTORS_OFFSET),
        )
    except OSError as error:
        raise _fault(error, path) from error
    finally:
        os.close(image)


def _fault(error: OSError, path: Path) -> StorageFaultError:
    return StorageFaultError(
        "cannot be read", where=str(path), actual=error.strerror or str(error)
    )
