"""Writes a bundle's TUF metadata: who vouches for which bytes, and until when.

Pure: the same manifest, keys and dates give the same bytes, because Ed25519
signatures are deterministic. All metadata of a bundle carries its version.

Source: TUF specification 1.0, sections 4.4 to 4.6.
"""

import datetime as dt
from dataclasses import dataclass

from securesystemslib.signer import Signer
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from bundleformat.digest import sha256_of
from bundleformat.layout import (
    MANIFEST_PATH,
    TIMESTAMP_PATH,
    chunk_path,
    snapshot_path,
    targets_path,
)
from bundleformat.manifest import Manifest, encode_manifest
from bundleformat.paths import ArchivePath


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishingKeys:
    """Whose signatures a bundle carries.

    Attributes:
        release: Signs the list of targets; decides what is delivered.
        bundler: Signs snapshot and timestamp; decides which version is newest.
    """

    release: Signer
    bundler: Signer


def publish(
    manifest: Manifest, *, keys: PublishingKeys, expires: dt.datetime
) -> tuple[tuple[ArchivePath, bytes], ...]:
    """Return the files that make ``manifest`` and its chunks a signed bundle.

    The manifest itself is among them; roots and chunks are not.
    """
    version = manifest.version
    manifest_bytes = encode_manifest(manifest)
    targets = _signed(
        Metadata(
            Targets(
                version=version,
                expires=expires,
                targets=_target_files(manifest, manifest_bytes),
            )
        ),
        keys.release,
    )
    snapshot = _signed(
        Metadata(
            Snapshot(
                version=version,
                expires=expires,
                meta={"targets.json": _meta_file(version, targets)},
            )
        ),
        keys.bundler,
    )
    timestamp = _signed(
        Metadata(
            Timestamp(
                version=version,
                expires=expires,
                snapshot_meta=_meta_file(version, snapshot),
            )
        ),
        keys.bundler,
    )
    return (
        (MANIFEST_PATH, manifest_bytes),
        (targets_path(version), targets),
        (snapshot_path(version), snapshot),
        (TIMESTAMP_PATH, timestamp),
    )


def _signed(
    metadata: Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp],
    signer: Signer,
) -> bytes:
    metadata.sign(signer)
    return metadata.to_bytes()


def _meta_file(version: int, data: bytes) -> MetaFile:
    return MetaFile(
        version=version, length=len(data), hashes={"sha256": sha256_of(data)}
    )


def _target_files(manifest: Manifest, manifest_bytes: bytes) -> dict[str, TargetFile]:
    files: dict[str, TargetFile] = {
        MANIFEST_PATH: _target(
            MANIFEST_PATH, len(manifest_bytes), sha256_of(manifest_bytes)
        )
    }
    for artifact in manifest.artifacts:
        for chunk in artifact.chunks:
            path = chunk_path(chunk.sha256)
            files[path] = _target(path, chunk.size_bytes, chunk.sha256)
    return files


def _target(path: str, size_bytes: int, sha256: str) -> TargetFile:
    return TargetFile(length=size_bytes, hashes={"sha256": sha256}, path=path)
