"""Splits a bundle onto volumes, without its keys: nothing that is signed changes.

plan -> copy chunks while hashing -> repeat metadata on every volume -> give the
folder its name. Each volume is a bundle of its own to look at: it can be inspected
and verified alone. Whatever fails or is interrupted, nothing is left behind.
"""

from pathlib import Path

from bundleformat.layout import VOLUME_HINT_PATH, chunk_path
from bundleformat.limits import Limits
from bundleformat.manifest import Chunk
from bundleformat.verify import VerifiedBundle
from bundleformat.volume_hint import VolumeHint, encode
from bundleformat.volume_set import VolumeSet
from bundler.media.bundle_files import (
    check_complete,
    chunks_at_hand,
    copy_chunk,
    shared_files,
)
from bundler.media.volume_plan import plan_volumes
from bundler.pack import check_absent, new_folder, write_file
from bundler.progress import Meter


def volume_name(hint: VolumeHint) -> str:
    """Return what the folder of a volume is called."""
    return f"volume-{hint.volume}-of-{hint.of}"


def split_bundle(
    volumes: VolumeSet,
    bundle: VerifiedBundle,
    *,
    volume_bytes: int,
    out: Path,
    limits: Limits,
    meter: Meter,
) -> tuple[VolumeHint, ...]:
    """Write ``bundle`` to folders ``volume-K-of-N`` below ``out``, a new folder.

    ``bundle`` is what ``verify_metadata`` said of ``volumes``. Returns the hint of
    every volume, in their order.

    Raises:
        ConflictError: ``out`` exists.
        LimitExceededError: A chunk does not fit a volume.
        VolumesMissingError: Not all volumes of the bundle are at hand.
        DigestMismatchError: A chunk differs from what was signed.
        MissingError, MalformedError: A chunk is not where it should be.
        StorageFaultError: The disk is full, or a medium cannot be read.
    """
    check_absent(out)
    contents = check_complete(volumes, bundle, limits=limits)
    files = shared_files(volumes, bundle, limits=limits)
    plan = plan_volumes(
        chunks_at_hand(bundle, contents),
        volume_bytes=volume_bytes,
        shared_sizes=[len(data) for _, data in files],
    )
    hints = tuple(
        _hint(bundle, chunks, volume=k, of=len(plan), since=volumes.since)
        for k, chunks in enumerate(plan, start=1)
    )
    with new_folder(out) as folder:
        for hint, chunks in zip(hints, plan, strict=True):
            place = folder / volume_name(hint)
            for path, data in (*files, (VOLUME_HINT_PATH, encode(hint))):
                write_file(place / path, data)
            meter.stage(
                f"Writing volume {hint.volume} of {hint.of}",
                sum(chunk.size_bytes for chunk in chunks),
            )
            for chunk in chunks:
                write_chunk(volumes, chunk, folder=place, meter=meter)
    return hints


def write_chunk(
    volumes: VolumeSet, chunk: Chunk, *, folder: Path, meter: Meter
) -> None:
    """Copy ``chunk`` to its place below ``folder``, which ``new_folder`` gave.

    Raises:
        RefusalError, StorageFaultError: As ``copy_chunk``.
    """
    target = folder / chunk_path(chunk.sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        copy_chunk(
            volumes, chunk, write=out.write, target=target, progress=meter.advance
        )


def _hint(
    bundle: VerifiedBundle,
    chunks: tuple[Chunk, ...],
    *,
    volume: int,
    of: int,
    since: int | None,
) -> VolumeHint:
    return VolumeHint(
        channel=bundle.manifest.channel,
        version=bundle.manifest.version,
        volume=volume,
        of=of,
        since=since,
        chunks=tuple(sorted(chunk.sha256 for chunk in chunks)),
    )
