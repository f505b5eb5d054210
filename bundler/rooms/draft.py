"""A bundle whose list of targets still wants signatures, as a folder.

A draft is a whole bundle but for ``timestamp.json`` and the snapshot: those name
the signed bytes of the targets, so they come last, from ``draft_flow.py``. How long
hosts are to accept the bundle is written in its targets. No host takes a draft.
"""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from securesystemslib.signer import Signer

from bundleformat.errors import MissingError
from bundleformat.layout import (
    MANIFEST_PATH,
    METADATA_FOLDER,
    TIMESTAMP_PATH,
    parse_root_version,
    root_path,
    targets_path,
)
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.manifest import Manifest, encode_manifest
from bundleformat.volume import Volume
from bundler.pack import write_file
from bundler.rooms.files import SigningRequest
from bundler.rooms.subject import open_subject, request_for
from bundler.signing.publish import add_signatures, unsigned_targets

_TARGETS_NAME = re.compile(r"([1-9][0-9]{0,9})\.targets\.json", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A bundle folder as it lies on this machine's disk.

    Attributes:
        folder: Where it lies.
        version: Its version.
        roots: Every root it carries.
        targets: The list of targets, with the signatures it has so far.
        manifest: The manifest.
        finished: Whether it has a timestamp: it is no draft any more.
    """

    folder: Path
    version: int
    roots: tuple[bytes, ...]
    targets: bytes
    manifest: bytes
    finished: bool

    @property
    def targets_file(self) -> Path:
        """Where the list of targets lies."""
        return self.folder / targets_path(self.version)


def is_bundle_folder(place: Path) -> bool:
    """Return whether ``place`` is the folder of a bundle or of a draft."""
    return (place / METADATA_FOLDER).is_dir()


def write_draft(
    folder: Path,
    manifest: Manifest,
    *,
    roots: Sequence[bytes],
    expires: dt.datetime,
    release: Sequence[Signer] = (),
) -> None:
    """Write everything of a bundle but chunks, note, snapshot and timestamp.

    ``folder`` is one that ``new_folder`` gave. ``release`` may sign already.

    Raises:
        RefusalError: A room would refuse to sign it.
    """
    for version, root in enumerate(roots, start=1):
        write_file(folder / root_path(version), root)
    targets = add_signatures(
        unsigned_targets(manifest, expires=expires), signers=release
    )
    write_file(folder / MANIFEST_PATH, encode_manifest(manifest))
    write_file(folder / targets_path(manifest.version), targets)
    open_subject(draft_request(read_draft(folder)))


def read_draft(folder: Path, *, limits: Limits = DEFAULT_LIMITS) -> Draft:
    """Return the draft, or the finished bundle, in ``folder``.

    Raises:
        MissingError: It is no bundle, or a file of it is not there.
        MalformedError, LimitExceededError: A file is not what it should be.
        StorageFaultError: It cannot be read.
    """
    with Volume(folder) as volume:
        names = volume.names(METADATA_FOLDER, max_entries=limits.root_files + 64)
        versions = [
            int(found[1]) for found in map(_TARGETS_NAME.fullmatch, names) if found
        ]
        if len(versions) != 1:
            raise MissingError(
                "not a bundle, or not of one version",
                where=str(folder / METADATA_FOLDER),
                expected="one targets.json with its version in its name",
                actual=str(len(versions)),
            )
        count = sum(parse_root_version(name) is not None for name in names)
        return Draft(
            folder=folder,
            version=versions[0],
            roots=tuple(
                volume.read(root_path(version), max_bytes=limits.root_bytes)
                for version in range(1, count + 1)
            ),
            targets=volume.read(
                targets_path(versions[0]), max_bytes=limits.targets_bytes
            ),
            manifest=volume.read(MANIFEST_PATH, max_bytes=limits.manifest_bytes),
            finished=volume.exists(TIMESTAMP_PATH),
        )


def draft_request(draft: Draft) -> SigningRequest:
    """Return the request to sign ``draft``."""
    return request_for(
        "targets", draft.targets, roots=draft.roots, manifest=draft.manifest
    )
