"""Spreads the chunks of a published bundle over volumes, as a splitter does."""

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from bundleformat.digest import Sha256
from bundleformat.layout import VOLUME_HINT_PATH, chunk_path
from bundleformat.volume_hint import VolumeHint, encode
from tests.support.publisher import Published


def chunks_of(bundle: Published) -> tuple[Sha256, ...]:
    """Return the digests of all chunks in the order of the manifest, each once."""
    return tuple(
        dict.fromkeys(
            chunk.sha256
            for artifact in bundle.manifest.artifacts
            for chunk in artifact.chunks
        )
    )


def write_volume(
    bundle: Published,
    folder: Path,
    chunks: Collection[Sha256],
    *,
    volume: int = 1,
    of: int = 1,
    since: int | None = None,
) -> Path:
    """Write one volume of ``bundle`` that holds ``chunks``."""
    for name in ("metadata", "targets"):
        shutil.copytree(bundle.folder / name, folder / name)
    for chunk in chunks:
        place = folder / chunk_path(chunk)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.folder / chunk_path(chunk), place)
    hint = VolumeHint(
        channel=bundle.manifest.channel,
        version=bundle.manifest.version,
        volume=volume,
        of=of,
        since=since,
        chunks=tuple(sorted(chunks)),
    )
    (folder / VOLUME_HINT_PATH).write_bytes(encode(hint))
    return folder


def split(bundle: Published, folder: Path, *, of: int) -> Sequence[Path]:
    """Write ``of`` volumes; every artifact of several chunks lies on several."""
    chunks = chunks_of(bundle)
    return [
        write_volume(
            bundle,
            folder / f"volume-{number}",
            chunks[number - 1 :: of],
            volume=number,
            of=of,
        )
        for number in range(1, of + 1)
    ]
