"""Reads what is compared of a bundle: its manifest, its newest root, its policies."""

from bundleformat.errors import MissingError, RefusalError, VolumesMissingError
from bundleformat.layout import (
    MANIFEST_PATH,
    METADATA_FOLDER,
    parse_root_version,
    root_path,
)
from bundleformat.limits import Limits
from bundleformat.manifest import Manifest, parse_manifest
from bundleformat.medium import Medium
from bundleformat.payload import read_artifact
from bundleformat.trust import parse_root
from bundler.comparison import Side


def read_side(medium: Medium, *, limits: Limits) -> Side:
    """Return what is compared of the bundle on ``medium``; nothing is verified.

    Policies are what the manifest says, or are left out; where their bytes are
    not at hand, as in a differential bundle, they are left out, too.

    Raises:
        MissingError, MalformedError, LimitExceededError: It is no bundle.
        DigestMismatchError: A policy is not what the manifest says.
        StorageFaultError: The medium cannot be read.
    """
    try:
        manifest = parse_manifest(
            medium.read(MANIFEST_PATH, max_bytes=limits.manifest_bytes), limits=limits
        )
    except RefusalError as error:
        raise error.inside(medium.label) from error
    names = medium.names(METADATA_FOLDER, max_entries=limits.root_files + 64)
    versions = [parse_root_version(name) or 0 for name in names]
    path = root_path(max(versions, default=0) or 1)
    root = parse_root(
        medium.read(path, max_bytes=limits.root_bytes), where=path, limits=limits
    )
    return Side(
        manifest=manifest,
        root=root.signed,
        policies=_policies(medium, manifest, limits=limits),
    )


def _policies(medium: Medium, manifest: Manifest, *, limits: Limits) -> dict[str, str]:
    texts: dict[str, str] = {}
    for artifact in manifest.artifacts:
        if artifact.kind != "policy":
            continue
        try:
            data = read_artifact(medium, artifact, max_bytes=limits.policy_bytes)
        except (MissingError, VolumesMissingError):
            continue
        texts[artifact.name] = data.decode("utf-8", "replace")
    return texts
