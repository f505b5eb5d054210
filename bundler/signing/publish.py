"""Writes a bundle's TUF metadata: who vouches for which bytes, and until when.

Two steps, which may lie days and rooms apart: first the list of targets, which
release keys sign; then snapshot and timestamp, which name those signed bytes.
All metadata of a bundle carries its version. Nothing here reads a clock.

The same manifest and dates always give the same bytes to sign. Ed25519
signatures are the same each time, too; ML-DSA signatures and those of tokens are
randomised, so with such keys the metadata files differ between two builds while
the manifest and every chunk stay the same.

Source: TUF specification 1.0, sections 4.4 to 4.6; FIPS 204, section 3.4.
"""

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from bundleformat.errors import Error
from bundleformat.layout import (
    MANIFEST_PATH,
    TIMESTAMP_PATH,
    chunk_path,
    snapshot_path,
    targets_path,
)
from bundleformat.manifest import Digest, Manifest, encode_manifest
from bundleformat.paths import ArchivePath


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishingKeys:
    """Whose signatures a bundle carries.

    Attributes:
        release: Sign the list of targets; decide what is delivered.
        bundler: Sign snapshot and timestamp; decide which version is newest.
    """

    release: tuple[Signer, ...]
    bundler: tuple[Signer, ...]


def publish(
    manifest: Manifest, *, keys: PublishingKeys, expires: dt.datetime
) -> tuple[tuple[ArchivePath, bytes], ...]:
    """Return the files that make ``manifest`` and its chunks a signed bundle.

    The manifest itself is among them; roots and chunks are not.
    """
    targets = add_signatures(
        unsigned_targets(manifest, expires=expires), signers=keys.release
    )
    return (
        (MANIFEST_PATH, encode_manifest(manifest)),
        (targets_path(manifest.version), targets),
        *snapshot_and_timestamp(
            targets,
            version=manifest.version,
            expires=expires,
            digest=manifest.digest,
            signers=keys.bundler,
        ),
    )


def unsigned_targets(manifest: Manifest, *, expires: dt.datetime) -> bytes:
    """Return the list of targets, which nobody has signed yet."""
    return Metadata(
        Targets(
            version=manifest.version,
            expires=expires,
            targets=_target_files(manifest),
        )
    ).to_bytes()


def add_signatures(metadata_bytes: bytes, *, signers: Sequence[Signer]) -> bytes:
    """Return the metadata with these signatures, too; a signer's older one goes.

    Whether they are enough is not looked at. ``metadata_bytes`` MUST be what this
    machine wrote or has checked.

    Raises:
        KeyFileError, UsageError: As ``sign_metadata``.
    """
    metadata: Metadata[Any] = Metadata.from_bytes(metadata_bytes)
    sign_metadata(metadata, signers=signers)
    return metadata.to_bytes()


def sign_metadata(metadata: Metadata[Any], *, signers: Sequence[Signer]) -> None:
    """Add these signatures to ``metadata``; a signer's older one goes.

    Raises:
        KeyFileError, UsageError: A token does not sign; see ``hsm.py``.
    """
    for signer in signers:
        try:
            metadata.sign(signer, append=True)
        except UnsignedMetadataError as error:
            # The library wraps whatever a signer raised.
            if isinstance(error.__cause__, Error):
                raise error.__cause__ from error
            raise


def snapshot_and_timestamp(
    targets_bytes: bytes,
    *,
    version: int,
    expires: dt.datetime,
    digest: Digest,
    signers: Sequence[Signer],
) -> tuple[tuple[ArchivePath, bytes], ...]:
    """Return snapshot and timestamp for a list of targets that is fully signed.

    ``signers`` are the bundler's. The snapshot names these very bytes, so a
    signature added to the targets later would make the bundle void.
    """
    snapshot = add_signatures(
        Metadata(
            Snapshot(
                version=version,
                expires=expires,
                meta={"targets.json": _meta_file(version, targets_bytes, digest)},
            )
        ).to_bytes(),
        signers=signers,
    )
    timestamp = add_signatures(
        Metadata(
            Timestamp(
                version=version,
                expires=expires,
                snapshot_meta=_meta_file(version, snapshot, digest),
            )
        ).to_bytes(),
        signers=signers,
    )
    return ((snapshot_path(version), snapshot), (TIMESTAMP_PATH, timestamp))


def _meta_file(version: int, data: bytes, digest: Digest) -> MetaFile:
    return MetaFile(version=version, length=len(data), hashes=_hashes(data, digest))


def _target_files(manifest: Manifest) -> dict[str, TargetFile]:
    data = encode_manifest(manifest)
    files: dict[str, TargetFile] = {
        MANIFEST_PATH: TargetFile(
            length=len(data),
            hashes=_hashes(data, manifest.digest),
            path=MANIFEST_PATH,
        )
    }
    for artifact in manifest.artifacts:
        for chunk in artifact.chunks:
            path = chunk_path(chunk.sha256)
            # The manifest has a SHA-384 of every chunk exactly if it is the digest.
            hashes: dict[str, str] = {manifest.digest: chunk.sha384 or chunk.sha256}
            files[path] = TargetFile(length=chunk.size_bytes, hashes=hashes, path=path)
    return files


def _hashes(data: bytes, digest: Digest) -> dict[str, str]:
    return {digest: hashlib.new(digest, data).hexdigest()}
