"""The media an import reads from, as one, and which volumes are still wanted."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from bundleformat.digest import Sha256
from bundleformat.errors import MissingError, RefusalError, VolumesMissingError
from bundleformat.layout import chunk_path
from bundleformat.manifest import Manifest
from bundleformat.media import open_volumes
from bundleformat.volume_set import VolumeSet


@contextlib.contextmanager
def opened(paths: Sequence[Path]) -> Iterator[VolumeSet]:
    """Give the media at ``paths`` as one medium.

    Raises:
        MissingError: There is nothing at one of them, or no bundle.
        MalformedError: What is there is no medium.
        ConflictError: They are not all of one bundle.
        StorageFaultError: One cannot be read.
    """
    with open_volumes(paths) as volumes:
        yield volumes


def wanted_volumes(volumes: VolumeSet, finished: frozenset[int]) -> tuple[int, ...]:
    """Return the numbers of the volumes that may hold what is lacking, ascending.

    ``finished`` are those that earlier runs copied whole. If that leaves none, they
    did not do so after all.
    """
    absent = volumes.wanted()
    return tuple(each for each in absent if each not in finished) or absent


def lacking_error(
    volumes: VolumeSet,
    lacking: Collection[Sha256],
    *,
    finished: frozenset[int],
    manifest: Manifest,
) -> RefusalError:
    """Return what is to be done about chunks that are nowhere: which volume to bring.

    If every volume is at hand, none would help: then the bundle is damaged, or it
    is a differential one and builds on a version that this host does not have. A
    volume that lacks what it says it holds was pulled out, or is damaged itself.
    """
    wanted = wanted_volumes(volumes, finished)
    claimed = sorted(filter(volumes.claiming, lacking))
    if wanted and claimed:
        return _broken_volume(volumes, claimed[0], manifest)
    if wanted:
        return VolumesMissingError(
            "sound so far; another volume of this bundle is wanted",
            where=volumes.label,
            expected=f"volume {' or '.join(map(str, wanted))} of {volumes.of}",
            actual=f"volume {' and '.join(map(str, volumes.numbers()))}",
            hint="What was copied so far is kept. Put a wanted volume in and import "
            "again, in any order; or name several media at once.",
            volumes=wanted,
        )
    if volumes.since is not None and not claimed:
        return MissingError(
            "this differential bundle builds on a bundle that this host does not have",
            where=volumes.label,
            expected=f"bundle {volumes.since} of channel {manifest.channel} here",
            hint=f"Import bundle {volumes.since} first, or ask for a whole bundle.",
        )
    first = min(claimed or lacking)
    return MissingError(
        "not on this medium, which should have it",
        where=chunk_path(first),
        hint=f"It is part of {_part(first, manifest)}, and not on {volumes.label}. "
        "Copy the medium again from its source; it is incomplete.",
    )


def _broken_volume(
    volumes: VolumeSet, chunk: Sha256, manifest: Manifest
) -> VolumesMissingError:
    numbers = volumes.claiming(chunk)
    named = " and ".join(map(str, numbers))
    return VolumesMissingError(
        "the volume lacks what it should have",
        where=chunk_path(chunk),
        expected=f"volume {named} of {volumes.of}, whole",
        hint=f"It is part of {_part(chunk, manifest)}. Put volume {named} in again; if "
        "this comes again, copy it again from its source. What was copied so far is "
        "kept.",
        volumes=numbers,
    )


def _part(chunk: Sha256, manifest: Manifest) -> str:
    """Return kind and name of the first artifact that ``chunk`` is part of."""
    return next(
        f"{each.kind} {each.name}"
        for each in manifest.artifacts
        if chunk in {one.sha256 for one in each.chunks}
    )
