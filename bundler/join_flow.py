"""Joins volumes into one folder or one ``.mbundle``, without the bundle's keys.

What is written is what was signed: chunks are hashed while they are copied. A
joined folder holds the very bytes that a build would have written, and the same
bundle always gives the same ``.mbundle``. One volume of one is joined, too, which
turns a folder into a single file, or back.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from bundleformat.layout import VOLUME_HINT_PATH
from bundleformat.limits import Limits
from bundleformat.manifest import Chunk
from bundleformat.verify import VerifiedBundle
from bundleformat.verify_volume import VolumeContents
from bundleformat.volume_hint import VolumeHint, encode
from bundleformat.volume_set import VolumeSet
from bundler.media.bundle_files import (
    check_complete,
    chunks_at_hand,
    copy_chunk,
    shared_files,
)
from bundler.media.single_file_writer import write_single_file
from bundler.new_file import new_file
from bundler.pack import check_absent, new_folder, write_file
from bundler.progress import Meter
from bundler.split_flow import write_chunk

SUFFIX: Final = ".mbundle"
"""How the name of a single file ends."""


def join_bundle(
    volumes: VolumeSet,
    bundle: VerifiedBundle,
    *,
    out: Path,
    limits: Limits,
    meter: Meter,
) -> None:
    """Write ``bundle`` to ``out``: a single file if its name says so, or a folder.

    ``bundle`` is what ``verify_metadata`` said of ``volumes``.

    Raises:
        ConflictError: ``out`` exists.
        VolumesMissingError: Not all volumes of the bundle are at hand.
        DigestMismatchError: A chunk differs from what was signed.
        MissingError, MalformedError, LimitExceededError: A file is not where or
            what it should be.
        StorageFaultError: The disk is full, or a medium cannot be read.
    """
    check_absent(out)
    contents = check_complete(volumes, bundle, limits=limits)
    files = (
        *shared_files(volumes, bundle, limits=limits),
        (VOLUME_HINT_PATH, _hint(volumes, bundle, contents)),
    )
    chunks = chunks_at_hand(bundle, contents)
    meter.stage(f"Writing {out.name}", sum(chunk.size_bytes for chunk in chunks))
    if out.suffix == SUFFIX:
        with new_file(out) as file:
            write_single_file(
                file,
                files=files,
                chunks=chunks,
                copy=partial(_copy, volumes, out=out, meter=meter),
                modified_s=modified_s(bundle),
            )
        return
    with new_folder(out) as folder:
        for path, data in files:
            write_file(folder / path, data)
        for chunk in chunks:
            write_chunk(volumes, chunk, folder=folder, meter=meter)


def _copy(
    volumes: VolumeSet,
    chunk: Chunk,
    write: Callable[[bytes], object],
    *,
    out: Path,
    meter: Meter,
) -> None:
    copy_chunk(volumes, chunk, write=write, target=out, progress=meter.advance)


def modified_s(bundle: VerifiedBundle) -> int:
    """Return the time that every file of a ``.mbundle`` carries: its ``created``."""
    return int(bundle.manifest.created.timestamp())


def _hint(
    volumes: VolumeSet, bundle: VerifiedBundle, contents: VolumeContents
) -> bytes:
    """Return the hint of the joined bundle, as a build writes it."""
    hint = VolumeHint(
        channel=bundle.manifest.channel,
        version=bundle.manifest.version,
        volume=1,
        of=1,
        since=volumes.since,
        chunks=contents.present,
    )
    return encode(hint)
