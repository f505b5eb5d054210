"""The manifest: the signed list of what a bundle delivers.

::

    {"artifacts":[{"chunks":[{"sha256":"…","size_bytes":1073741824},…],
                   "kind":"model",
                   "model":{"allowed_regions":["in-blr"],"architecture":"llama",
                            "context_length":4096,"licence":"Apache-2.0",
                            "origin":"https://…"},
                   "name":"llama-3b","path":"models/llama-3b.gguf",
                   "sha256":"…","size_bytes":…}],
     "channel":"main","created":"2026-11-22T08:04:29Z","digest":"sha256",
     "format":1,"purpose":"content","version":7}

It has one encoding (RFC 8785; artifacts ascend by path, regions by themselves),
so ``encode_manifest(parse_manifest(data)) == data``. Parsing opens no file.
"""

import datetime as dt
import itertools
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from bundleformat import strictjson
from bundleformat.artifact import (
    FOLDERS,
    Artifact,
    Chunk,
    Environment,
    Kind,
    ModelTerms,
    Provenance,
    WheelSizes,
    model_digest,
)
from bundleformat.artifact_json import artifact_value, parse_artifact
from bundleformat.digest import Sha256
from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.fields import Fields
from bundleformat.limits import Limits
from bundleformat.moments import format_moment, parse_moment
from bundleformat.paths import Name, check_ascending, parse_name

__all__ = [
    "FOLDERS",
    "FORMAT",
    "MAX_VERSION",
    "Artifact",
    "Chunk",
    "Digest",
    "Environment",
    "Kind",
    "Manifest",
    "ModelTerms",
    "Provenance",
    "Purpose",
    "WheelSizes",
    "encode_manifest",
    "model_digest",
    "parse_manifest",
    "parse_program_version",
]

FORMAT: Final = 1
"""The format version this code reads and writes; FORMAT.md describes it."""

MAX_VERSION: Final = 2**31 - 1
"""Highest version of a bundle."""

Digest = Literal["sha256", "sha384"]
"""The digest that a bundle's signatures use."""

Purpose = Literal["content", "trust"]
"""Whether a bundle delivers artifacts, or only who is to be trusted."""

_PROGRAM_VERSION = re.compile(r"(?:0|[1-9][0-9]{0,4})(?:\.(?:0|[1-9][0-9]{0,4})){2}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The list of one bundle.

    Attributes:
        format: Always ``FORMAT``.
        channel: The channel it is a release of.
        version: One number for all of the bundle's metadata.
        created: The publisher's clock, in UTC.
        artifacts: What is delivered, ascending by path without regard to case;
            empty exactly if the purpose is trust.
        digest: What the signatures are made over.
        purpose: Whether there is content at all.
        minimum_version: Oldest Sallyport that may import it, as ``X.Y.Z``, or None.
    """

    format: int
    channel: Name
    version: int
    created: dt.datetime
    artifacts: tuple[Artifact, ...]
    digest: Digest = "sha256"
    purpose: Purpose = "content"
    minimum_version: str | None = None


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the canonical bytes of ``manifest``."""
    value: dict[str, Any] = {
        "format": manifest.format,
        "channel": manifest.channel,
        "version": manifest.version,
        "created": format_moment(manifest.created),
        "digest": manifest.digest,
        "purpose": manifest.purpose,
        "artifacts": [artifact_value(item) for item in manifest.artifacts],
    }
    if manifest.minimum_version is not None:
        value["minimum_version"] = manifest.minimum_version
    return strictjson.encode(value)


def parse_manifest(data: bytes, *, limits: Limits) -> Manifest:
    """Return the manifest in ``data``. The caller MUST have verified the bytes.

    Raises:
        MalformedError: Not the one encoding of a manifest of this format.
        LimitExceededError: A size, count or depth above its limit.
    """
    value = strictjson.decode_canonical(
        data,
        max_bytes=limits.manifest_bytes,
        max_depth=limits.json_depth,
        where="manifest",
    )
    fields = Fields(value, where="")
    _check_format(fields)
    digest = _choice(fields, "digest", ("sha256", "sha384"))
    manifest = Manifest(
        format=FORMAT,
        channel=parse_name(fields.text("channel", max_characters=64), where="channel"),
        version=fields.integer("version", minimum=1, maximum=MAX_VERSION),
        created=parse_moment(
            fields.text("created", max_characters=64), where="created"
        ),
        artifacts=tuple(
            parse_artifact(Fields(item, where=where), digest=digest, limits=limits)
            for item, where in fields.items("artifacts", max_items=limits.artifacts)
        ),
        digest=cast("Digest", digest),
        purpose=cast("Purpose", _choice(fields, "purpose", ("content", "trust"))),
        minimum_version=parse_program_version(
            fields.text("minimum_version", max_characters=32), where="minimum_version"
        )
        if fields.has("minimum_version")
        else None,
    )
    fields.finish()
    _check_purpose(manifest)
    _check_artifacts(manifest.artifacts, limits=limits)
    return manifest


def parse_program_version(text: str, *, where: str) -> str:
    """Return ``text`` if it is a version of Sallyport, such as ``0.1.0``.

    Raises:
        MalformedError: It is not three numbers.
    """
    if not _PROGRAM_VERSION.fullmatch(text):
        raise MalformedError(
            "not a version of Sallyport",
            where=where,
            expected="three numbers such as 0.1.0",
            actual=ascii(text),
        )
    return text


def _choice(fields: Fields, key: str, known: tuple[str, ...]) -> str:
    found = fields.text(key, max_characters=32)
    if found not in known:
        raise MalformedError(
            f"unknown {key}",
            where=key,
            expected=" or ".join(known),
            actual=ascii(found),
        )
    return found


def _check_format(fields: Fields) -> None:
    found = fields.integer("format", minimum=1, maximum=MAX_VERSION)
    if found != FORMAT:
        raise MalformedError(
            "a bundle format this program does not read",
            where="format",
            expected=str(FORMAT),
            actual=str(found),
            hint="Update Sallyport on this machine first.",
        )


def _check_purpose(manifest: Manifest) -> None:
    if (manifest.purpose == "trust") == bool(manifest.artifacts):
        raise MalformedError(
            "a bundle for trust alone delivers nothing, and any other something",
            where="purpose",
            actual=f"{manifest.purpose} with {len(manifest.artifacts)} artifacts",
        )


def _check_artifacts(artifacts: tuple[Artifact, ...], *, limits: Limits) -> None:
    # Compared without case: two names that differ only in case are one file on
    # the media this format travels on, and one name to a person.
    check_ascending((a.path.lower() for a in artifacts), where="artifacts")
    names = sorted((artifact.kind, artifact.name) for artifact in artifacts)
    check_ascending((f"{kind} {name}" for kind, name in names), where="artifacts")
    if sum(len(artifact.chunks) for artifact in artifacts) > limits.chunks:
        raise LimitExceededError(
            "too many chunks", where="artifacts", expected=f"at most {limits.chunks}"
        )
    sizes: dict[Sha256, tuple[int, str | None]] = {}
    for chunk in itertools.chain.from_iterable(a.chunks for a in artifacts):
        said = (chunk.size_bytes, chunk.sha384)
        if sizes.setdefault(chunk.sha256, said) != said:
            raise MalformedError(
                "one chunk, two sizes or digests", where=f"chunk {chunk.sha256}"
            )
    _check_references(artifacts)


def _check_references(artifacts: tuple[Artifact, ...]) -> None:
    """Check that what an artifact names is in the same bundle, and of its kind."""
    named = {(artifact.kind, artifact.name) for artifact in artifacts}
    parts = {a.sha256 for a in artifacts if a.kind == "part"}
    used: set[Sha256] = set()
    for artifact in artifacts:
        if artifact.model is not None:
            used.update(artifact.model.parts[1:])
        wanted: list[tuple[Kind, Name]] = []
        if artifact.environment is not None:
            wanted += [("wheel", name) for name in artifact.environment.wheels]
            wanted.append(("requirements", artifact.name))
        if artifact.kind == "requirements":
            wanted.append(("lock", artifact.name))
        if artifact.provenance is not None:
            wanted.append(("model", artifact.name))
        for kind, name in wanted:
            if (kind, name) not in named:
                raise MalformedError(
                    f"names a {kind} that is not in this bundle",
                    where=artifact.path,
                    actual=name,
                )
    if used != parts:
        raise MalformedError(
            "the parts of split models are not those their models name",
            where="artifacts",
        )
