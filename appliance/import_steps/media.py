"""The media an import reads from, as one, and which volumes are still wanted."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from bundleformat.digest import Sha256
from bundleformat.errors import MissingError, RefusalError, VolumesMissingError
from bundleformat.layout import chunk_path
from bundleformat.media import open_medium
from bundleformat.volume_set import VolumeSet


@contextlib.contextmanager
def opened(paths: Sequence[Path]) -> Iterator[VolumeSet]:
    """Give the media at ``paths`` as one medium.

    Raises:
        MissingError: There is nothing at one of them.
        MalformedError: What is there is no medium.
        ConflictError: They are not all of one bundle.
        StorageFaultError: One cannot be read.
    """
    with contextlib.ExitStack() as stack:
        media = [stack.enter_context(open_medium(path)) for path in paths]
        yield stack.enter_context(VolumeSet(media))


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
    channel: str,
) -> RefusalError:
    """Return what is to be done about chunks that are nowhere: which volume to bring.

    If every volume is at hand, none would help: then the bundle is damaged, or it
    is a differential one and builds on a version that this host does not have.
    """
    where = chunk_path(min(lacking))
    wanted = wanted_volumes(volumes, finished)
    if wanted:
        return VolumesMissingError(
            "another volume of this bundle is wanted",
            where=where,
            expected=f"volume {' or '.join(map(str, wanted))} of {volumes.of}",
            actual=f"volume {' and '.join(map(str, volumes.numbers()))}",
            hint="What was copied so far is kept. Put a wanted volume in and import "
            "again, in any order; or name several media at once.",
            volumes=wanted,
        )
    if volumes.since is not None:
        return MissingError(
            "this differential bundle builds on chunks that this host does not have",
            where=where,
            expected=f"version {volumes.since} of channel {channel} on this host",
            hint=f"Import bundle {volumes.since} first, or ask for a whole bundle.",
        )
    return MissingError(
        "not on this medium",
        where=where,
        hint="Check that the whole bundle was copied, and that this is its place.",
    )
