"""What hosts have already: the manifest of an older bundle, for a differential one.

The older bundle is only asked which chunks need not travel again. Nothing is
trusted on its word: a host that lacks a chunk after all says so and names it.
"""

from dataclasses import dataclass
from pathlib import Path

from bundleformat.digest import Sha256
from bundleformat.errors import ConflictError, MissingError, RefusalError
from bundleformat.layout import MANIFEST_PATH
from bundleformat.limits import Limits
from bundleformat.manifest import Manifest, parse_manifest
from bundleformat.media import open_medium
from bundleformat.paths import Name
from bundler.errors import SpecError


@dataclass(frozen=True, kw_only=True, slots=True)
class Since:
    """The version that hosts have, and the chunks it is made of."""

    version: int
    chunks: frozenset[Sha256]


def read_old_manifest(path: Path, *, limits: Limits) -> Manifest:
    """Return the manifest of the bundle at ``path``, on whatever medium it lies.

    Raises:
        MissingError, MalformedError, LimitExceededError: There is none.
        StorageFaultError: The medium cannot be read.
    """
    with open_medium(path) as medium:
        data = medium.read(MANIFEST_PATH, max_bytes=limits.manifest_bytes)
    return _parse(data, path, limits=limits)


def read_manifest_file(path: Path, *, limits: Limits) -> Manifest:
    """Return the manifest in the file ``path``, kept from an older bundle.

    Raises:
        MissingError, SpecError: It cannot be read.
        MalformedError, LimitExceededError: It is no manifest.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limits.manifest_bytes + 1)
    except FileNotFoundError as error:
        raise MissingError("no such file", where=str(path)) from error
    except OSError as error:
        raise SpecError(
            "cannot be read", where=str(path), actual=error.strerror or str(error)
        ) from error
    return _parse(data, path, limits=limits)


def since(old: Manifest, *, channel: Name, version: int) -> Since:
    """Return what hosts that imported ``old`` have of a bundle of ``version``.

    Raises:
        ConflictError: ``old`` is of another channel, or not older.
    """
    if old.channel != channel:
        raise ConflictError(
            "the older bundle is of another channel",
            where="--since",
            expected=channel,
            actual=old.channel,
        )
    if old.version >= version:
        raise ConflictError(
            "not an older bundle",
            where="--since",
            expected=f"a version below {version}",
            actual=str(old.version),
        )
    return Since(version=old.version, chunks=chunks_of(old))


def chunks_of(manifest: Manifest) -> frozenset[Sha256]:
    """Return the digests of every chunk of a bundle."""
    return frozenset(
        chunk.sha256 for artifact in manifest.artifacts for chunk in artifact.chunks
    )


def _parse(data: bytes, path: Path, *, limits: Limits) -> Manifest:
    try:
        return parse_manifest(data, limits=limits)
    except RefusalError as error:
        raise error.inside(str(path)) from error
