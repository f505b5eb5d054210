"""Shows what is about to be signed: in plain words, and for machines.

Pure. A person who signs vouches for what they saw, so everything that the signed
bytes decide is here; texts of the publisher have been checked to be printable.
"""

import base64
from collections.abc import Iterator
from typing import Any

from tuf.api.metadata import Root

from bundleformat.artifact_json import artifact_value
from bundleformat.digest import sha256_of
from bundleformat.manifest import Artifact, Environment, Manifest
from bundleformat.moments import format_moment
from bundleformat.profile import parse_profile
from bundleformat.trust import fingerprint, grouped
from bundler.progress import size
from bundler.rooms.subject import Subject
from bundler.roots.standing import is_complete, standing_value, standings_lines
from bundler.roots.words import (
    change_lines,
    changes_between,
    changes_value,
    role_lines,
    roles_value,
)


def subject_lines(subject: Subject) -> tuple[str, ...]:
    """Return what a person reads before they sign."""
    what = "a trust root" if subject.role == "root" else "what a bundle delivers"
    return (
        f"to sign       {what}",
        f"channel       {subject.channel}, version {subject.version}",
        f"expires       {format_moment(subject.metadata.signed.expires)}",
        *_origin_lines(subject),
        *(_root_lines(subject) if subject.role == "root" else _bundle_lines(subject)),
        f"signed bytes  sha256 {subject.payload_sha256}",
        *standings_lines(subject.standings),
    )


def subject_value(subject: Subject) -> dict[str, Any]:
    """Return what ``--json`` shows of what is signed."""
    value: dict[str, Any] = {
        "role": subject.role,
        "channel": subject.channel,
        "version": subject.version,
        "expires": format_moment(subject.metadata.signed.expires),
        "payload_sha256": subject.payload_sha256,
        "roots": [fingerprint(root) for root in subject.roots],
        "complete": is_complete(subject.standings),
        "standings": [standing_value(one) for one in subject.standings],
    }
    if subject.role == "root":
        root: Root = subject.metadata.signed
        value["profile"] = parse_profile(root)
        value["roles"] = roles_value(root)
        value["changes"] = changes_value(changes_between(subject.root, root))
    if subject.manifest is not None:
        value["manifest"] = _manifest_value(subject.manifest)
    return value


def _origin_lines(subject: Subject) -> Iterator[str]:
    # Whoever made the request chose these roots, and what is shown below is said
    # against them: only a record of one's own tells whose they are.
    for version in sorted({1, len(subject.roots)}) if subject.roots else ():
        yield f"follows from  root {version}, whose fingerprint is"
        yield f"  {grouped(fingerprint(subject.roots[version - 1]))}"
    if subject.roots:
        yield "Compare it with your own record, or name that with --root."


def _root_lines(subject: Subject) -> Iterator[str]:
    root: Root = subject.metadata.signed
    yield f"profile       {parse_profile(root)}"
    if subject.root is None:
        yield "This is the channel's first root: no earlier one vouches for it."
    else:
        yield f"Against root {subject.root.version}:"
        yield from (
            f"  {line}" for line in change_lines(changes_between(subject.root, root))
        )
        yield "It will then say:"
    yield from (f"  {line}" for line in role_lines(root))


def _bundle_lines(subject: Subject) -> Iterator[str]:
    manifest = subject.manifest
    if manifest is None:
        return
    yield f"created       {format_moment(manifest.created)}"
    yield f"digest        {manifest.digest}"
    yield f"carries       roots 1 to {len(subject.roots)}"
    if manifest.minimum_version is not None:
        yield f"needs         Sallyport {manifest.minimum_version} or newer"
    if manifest.purpose == "trust":
        yield "It delivers nothing: it only tells hosts whom to trust."
        return
    total = sum(item.size_bytes for item in manifest.artifacts)
    yield f"It delivers {len(manifest.artifacts)} artifacts of {size(total)} in all:"
    for item in manifest.artifacts:
        yield from (f"  {line}" for line in _artifact_lines(item))


def _artifact_lines(item: Artifact) -> Iterator[str]:
    yield f"{item.kind} {item.name}  {item.size_bytes} bytes ({size(item.size_bytes)})"
    yield f"  {item.path}"
    yield f"  sha256 {item.sha256}"
    if item.sha384 is not None:
        yield f"  sha384 {item.sha384}"
    if item.model is not None:
        terms = item.model
        yield f"  licence {terms.licence}; from {terms.origin}"
        yield (
            f"  {terms.architecture}, {terms.context_length} tokens; regions "
            f"{', '.join(terms.allowed_regions)}"
        )
        if terms.intended_use is not None:
            yield f"  intended use {terms.intended_use}"
        if terms.review_by is not None:
            yield f"  review by {terms.review_by}"
        for number, sha256 in enumerate(terms.parts, start=1):
            yield f"  part {number} sha256 {sha256}"
    if item.environment is not None:
        yield from _environment_lines(item.environment)
    if item.provenance is not None:
        signed = item.provenance
        anchor = sha256_of(base64.b64decode(signed.anchor))
        yield f"  vendor's signature by {signed.signer}, as this bundle says"
        yield f"  checked with the {signed.mode} of sha256 {anchor}"


def _environment_lines(wanted: Environment) -> Iterator[str]:
    yield f"  for {wanted.role}: Python {wanted.python}, {wanted.platform}"
    yield f"  glibc {wanted.glibc}, processor {wanted.cpu}"
    for name in wanted.wheels:
        yield f"  wheel {name}"


def _manifest_value(manifest: Manifest) -> dict[str, Any]:
    return {
        "created": format_moment(manifest.created),
        "digest": manifest.digest,
        "purpose": manifest.purpose,
        "minimum_version": manifest.minimum_version,
        "artifacts": [
            {
                **artifact_value(item),
                "sha384": item.sha384,
                "chunks": len(item.chunks),
            }
            for item in manifest.artifacts
        ],
    }
