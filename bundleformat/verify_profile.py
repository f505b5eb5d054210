"""Checks of a bundle that TUF leaves open: the kinds of key, and of digest.

They belong to steps 4 and 9 of FORMAT.md and are called by ``verify.py``.
"""

import itertools

from tuf.api.metadata import MetaFile, Root

from bundleformat.errors import MalformedError
from bundleformat.limits import Limits
from bundleformat.manifest import Manifest
from bundleformat.profile import check_signatures, parse_profile
from bundleformat.trust import parse_root
from bundleformat.tufclient import Refreshed


def check_profile(found: Refreshed, *, limits: Limits) -> None:
    """Check that the right kinds of key signed every file, roots included.

    Each root must satisfy its own profile and that of the root before it, so that
    whoever holds all keys of one kind cannot bring a root that asks for less.

    Raises:
        SignatureError: One kind of signature is missing where both are asked.
        MalformedError: A root's keys do not fit its profile.
    """
    roots = [
        parse_root(data, where=f"root {version}", limits=limits)
        for version, data in sorted(found.state.roots().items())
    ]
    for metadata in roots:
        where = f"root {metadata.signed.version}"
        check_signatures(metadata.signed, metadata, role=Root.type, where=where)
    for before, after in itertools.pairwise(roots):
        where = f"root {after.signed.version}"
        check_signatures(before.signed, after, role=Root.type, where=where)
    for role in (found.timestamp, found.snapshot, found.targets):
        kind = role.signed.type
        check_signatures(found.root.signed, role, role=kind, where=kind)


def check_digests(manifest: Manifest, found: Refreshed) -> None:
    """Check that one digest is used throughout, and one that the profile allows.

    Raises:
        MalformedError: A metadata file is named by another digest than the
            manifest's, or the profile is cnsa and it is not SHA-384.
    """
    if parse_profile(found.root.signed) == "cnsa" and manifest.digest != "sha384":
        raise MalformedError(
            "a digest that the cnsa profile does not allow",
            where="digest",
            expected="sha384",
            actual=manifest.digest,
        )
    _check_meta(found.timestamp.signed.snapshot_meta, manifest, where="timestamp")
    for meta in found.snapshot.signed.meta.values():
        _check_meta(meta, manifest, where="snapshot")


def _check_meta(meta: MetaFile, manifest: Manifest, *, where: str) -> None:
    if set(meta.hashes or ()) != {manifest.digest} or meta.length is None:
        raise MalformedError(
            "names a file without its length and the manifest's digest",
            where=where,
            expected=f"length and {manifest.digest} alone",
        )
