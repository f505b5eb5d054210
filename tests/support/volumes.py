"""A bundle on three volumes, for tests, and a person who looks at volumes."""

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bundleformat.layout import NOTE_PATH
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.media import open_volumes
from bundleformat.medium import Medium
from bundleformat.verify import VerifiedBundle, verify_metadata
from bundler.media.volume_plan import CLUSTER_BYTES
from bundler.progress import Meter, SilentMeter
from bundler.split_flow import split_bundle
from tests.support.publisher import NOW, TERMS, Keys, Published, publish_bundle

SHARED_CLUSTERS = 11
"""What six small files, four folders and the hint take on each volume."""

VOLUME_BYTES = (SHARED_CLUSTERS + 5) * CLUSTER_BYTES
"""Room for two of the bundle's chunks, each in a folder of its own."""


def publish(
    folder: Path, *, keys: Keys | None = None, version: int = 1, seed: int = 0
) -> Published:
    """Publish a bundle of five chunks of a model and one of a policy."""
    source = folder.parent / f"{folder.name}.gguf"
    source.write_bytes(bytes((seed + n // 100) % 251 for n in range(9_500)))
    published = publish_bundle(
        folder,
        models=[("m", source, TERMS)],
        policies=[("site", b"permit (principal, action, resource);\n")],
        chunk_bytes=2_000,
        keys=keys,
        version=version,
    )
    (folder / NOTE_PATH).write_text("a note\n")
    return published


def look(published: Published, medium: Medium, scratch: Path) -> VerifiedBundle:
    """Return what somebody sees on ``medium`` who trusts the publisher's root."""
    return verify_metadata(
        medium,
        state=published.state(),
        floor=None,
        now=NOW,
        scratch=scratch,
        limits=DEFAULT_LIMITS,
    )


def split(
    published: Published,
    out: Path,
    *,
    media: Sequence[Path] = (),
    volume_bytes: int = VOLUME_BYTES,
    meter: Meter | None = None,
) -> tuple[Path, ...]:
    """Split a bundle and return the folders of its volumes."""
    with open_volumes([*media] or [published.folder]) as volumes:
        hints = split_bundle(
            volumes,
            look(published, volumes, out.parent),
            volume_bytes=volume_bytes,
            out=out,
            limits=DEFAULT_LIMITS,
            meter=meter or SilentMeter(),
        )
    return tuple(out / f"volume-{hint.volume}-of-{hint.of}" for hint in hints)


class InterruptingMeter(SilentMeter):
    """Stands for a person who presses Ctrl-C after some blocks."""

    def __init__(self, *, after: int) -> None:
        self._left = after

    def advance(self, count_bytes: int) -> None:
        super().advance(count_bytes)
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt


@contextmanager
def full_disk(*, file_bytes: int) -> Iterator[None]:
    """Let no file grow beyond ``file_bytes``, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file below ``folder``."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def chunks_in(folder: Path) -> list[Path]:
    """Return every chunk's file below ``folder``."""
    return sorted(path for path in (folder / "c").rglob("*") if path.is_file())
