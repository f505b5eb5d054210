"""Opens whatever a person names as the place of a bundle, by what it holds.

A folder is a volume as it is. A regular file or a block device is an ISO 9660
image or a ``.mbundle`` by the mark in its content, never by its name. Anything
else is refused without being read: a FIFO cannot make the reader wait.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bundleformat.errors import (
    MalformedError,
    MissingError,
    RefusalError,
    StorageFaultError,
)
from bundleformat.image_file import open_image
from bundleformat.iso9660 import IsoImage
from bundleformat.iso_volume import DESCRIPTORS_OFFSET, has_descriptor
from bundleformat.medium import Medium
from bundleformat.single_file import SingleFile
from bundleformat.ustar import BLOCK_BYTES, has_magic
from bundleformat.volume import Volume
from bundleformat.volume_set import VolumeSet


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
                hint="Name the folder that holds metadata/ and c/, a .mbundle file or "
                "an ISO image made by `sallyport-bundler image`.",
            )
    try:
        return reader(path)
    except RefusalError as error:
        raise error.inside(str(path)) from error


def open_volumes(paths: Sequence[Path]) -> VolumeSet:
    """Return the volumes at ``paths``, open, as one medium. The caller MUST close it.

    Raises:
        ConflictError: One is of another bundle than the first.
        MissingError, MalformedError, LimitExceededError, StorageFaultError: As
            ``open_medium``, of any of them.
    """
    with ExitStack() as opened:
        media = [opened.enter_context(open_medium(path)) for path in paths]
        volumes = VolumeSet(media)
        opened.pop_all()
    return volumes


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(
            "no such folder or file",
            where=str(path),
            hint="Name the folder that holds metadata/ and c/, a .mbundle file or "
            "an ISO image.",
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
