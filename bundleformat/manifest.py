"""The manifest: the signed list of what a bundle delivers.

::

    {"artifacts":[{"chunks":[{"sha256":"…","size_bytes":1073741824},…],
                   "kind":"model",
                   "model":{"allowed_regions":["in-blr"],"architecture":"llama",
                            "context_length":4096,"licence":"Apache-2.0",
                            "origin":"https://…"},
                   "name":"llama-3b","path":"models/llama-3b.gguf",
                   "sha256":"…","size_bytes":…}],
     "channel":"main","created":"2026-11-22T08:04:29Z","format":1,"version":7}

It has one encoding (RFC 8785; artifacts ascend by path, regions by themselves),
so ``encode_manifest(parse_manifest(data)) == data``. Parsing opens no file.
"""

import datetime as dt
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from bundleformat import strictjson
from bundleformat.digest import Sha256, parse_sha256
from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.fields import Fields
from bundleformat.limits import Limits
from bundleformat.moments import format_moment, parse_moment
from bundleformat.paths import (
    ArchivePath,
    Name,
    parse_name,
    parse_path,
    parse_region,
)

FORMAT: Final = 1
"""The format version this code reads and writes; FORMAT.md describes it."""

MAX_VERSION: Final = 2**31 - 1
"""Highest version of a bundle."""

Kind = Literal["model", "policy"]
"""What an artifact is."""

FOLDERS: Final[dict[Kind, str]] = {"model": "models", "policy": "policies"}
"""The first part of an artifact's path, by kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """A run of an artifact's bytes; it lies in a file named by its digest."""

    sha256: Sha256
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelTerms:
    """What the publisher states of a model; the import recomputes the last two.

    Attributes:
        licence: SPDX expression or name of the licence.
        origin: Where the file came from, for people.
        allowed_regions: Regions whose hosts may serve it, ascending.
        architecture: ``general.architecture`` of its GGUF header.
        context_length: Tokens it was made for.
    """

    licence: str
    origin: str
    allowed_regions: tuple[str, ...]
    architecture: str
    context_length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A file the bundle delivers; ``model`` is there exactly for models."""

    kind: Kind
    name: Name
    path: ArchivePath
    size_bytes: int
    sha256: Sha256
    chunks: tuple[Chunk, ...]
    model: ModelTerms | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The list of one bundle. ``created`` is the publisher's clock, in UTC."""

    format: int
    channel: Name
    version: int
    created: dt.datetime
    artifacts: tuple[Artifact, ...]


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the canonical bytes of ``manifest``."""
    return strictjson.encode(
        {
            "format": manifest.format,
            "channel": manifest.channel,
            "version": manifest.version,
            "created": format_moment(manifest.created),
            "artifacts": [_artifact_value(item) for item in manifest.artifacts],
        }
    )


def _artifact_value(artifact: Artifact) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": artifact.kind,
        "name": artifact.name,
        "path": artifact.path,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
        "chunks": [
            {"sha256": chunk.sha256, "size_bytes": chunk.size_bytes}
            for chunk in artifact.chunks
        ],
    }
    if artifact.model is not None:
        value["model"] = {
            "licence": artifact.model.licence,
            "origin": artifact.model.origin,
            "allowed_regions": list(artifact.model.allowed_regions),
            "architecture": artifact.model.architecture,
            "context_length": artifact.model.context_length,
        }
    return value


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
    manifest = Manifest(
        format=FORMAT,
        channel=parse_name(fields.text("channel", max_characters=64), where="channel"),
        version=fields.integer("version", minimum=1, maximum=MAX_VERSION),
        created=parse_moment(
            fields.text("created", max_characters=64), where="created"
        ),
        artifacts=tuple(
            _parse_artifact(Fields(item, where=where), limits=limits)
            for item, where in fields.items("artifacts", max_items=limits.artifacts)
        ),
    )
    fields.finish()
    _check_artifacts(manifest.artifacts, limits=limits)
    return manifest


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


def _parse_artifact(fields: Fields, *, limits: Limits) -> Artifact:
    kind = _parse_kind(fields)
    artifact = Artifact(
        kind=kind,
        name=parse_name(
            fields.text("name", max_characters=64), where=fields.place("name")
        ),
        path=parse_path(
            fields.text("path", max_characters=200), where=fields.place("path")
        ),
        size_bytes=fields.integer(
            "size_bytes",
            minimum=1,
            maximum=limits.artifact_bytes if kind == "model" else limits.policy_bytes,
        ),
        sha256=parse_sha256(
            fields.text("sha256", max_characters=64), where=fields.place("sha256")
        ),
        chunks=tuple(
            _parse_chunk(Fields(item, where=where), limits=limits)
            for item, where in fields.items("chunks", max_items=limits.chunks)
        ),
        model=_parse_terms(fields.nested("model"), limits=limits)
        if kind == "model"
        else None,
    )
    _check_one(artifact, fields)
    fields.finish()
    return artifact


def _parse_kind(fields: Fields) -> Kind:
    match fields.text("kind", max_characters=16):
        case "model":
            return "model"
        case "policy":
            return "policy"
        case other:
            raise MalformedError(
                "unknown kind", where=fields.place("kind"), actual=ascii(other)
            )


def _parse_chunk(fields: Fields, *, limits: Limits) -> Chunk:
    chunk = Chunk(
        sha256=parse_sha256(
            fields.text("sha256", max_characters=64), where=fields.place("sha256")
        ),
        size_bytes=fields.integer("size_bytes", minimum=1, maximum=limits.chunk_bytes),
    )
    fields.finish()
    return chunk


def _parse_terms(fields: Fields, *, limits: Limits) -> ModelTerms:
    terms = ModelTerms(
        licence=fields.text("licence", max_characters=limits.text_characters),
        origin=fields.text("origin", max_characters=limits.text_characters),
        allowed_regions=tuple(
            parse_region(item if isinstance(item, str) else "", where=where)
            for item, where in fields.items("allowed_regions", max_items=limits.regions)
        ),
        architecture=fields.text("architecture", max_characters=64),
        context_length=fields.integer(
            "context_length", minimum=1, maximum=limits.context_tokens
        ),
    )
    if not terms.allowed_regions:
        raise MalformedError("no region", where=fields.place("allowed_regions"))
    _check_ascending(terms.allowed_regions, where=fields.place("allowed_regions"))
    fields.finish()
    return terms


def _check_one(artifact: Artifact, fields: Fields) -> None:
    if artifact.path.split("/")[0] != FOLDERS[artifact.kind]:
        raise MalformedError(
            f"not below {FOLDERS[artifact.kind]}/", where=fields.place("path")
        )
    total = sum(chunk.size_bytes for chunk in artifact.chunks)
    if total != artifact.size_bytes:
        raise MalformedError(
            "the chunks do not add up to the artifact",
            where=fields.place("size_bytes"),
            expected=str(total),
            actual=str(artifact.size_bytes),
        )


def _check_artifacts(artifacts: tuple[Artifact, ...], *, limits: Limits) -> None:
    # Compared without case: two names that differ only in case are one file on
    # the media this format travels on, and one name to a person.
    _check_ascending((a.path.lower() for a in artifacts), where="artifacts")
    names = sorted((artifact.kind, artifact.name) for artifact in artifacts)
    _check_ascending((f"{kind} {name}" for kind, name in names), where="artifacts")
    if sum(len(artifact.chunks) for artifact in artifacts) > limits.chunks:
        raise LimitExceededError(
            "too many chunks", where="artifacts", expected=f"at most {limits.chunks}"
        )
    sizes: dict[Sha256, int] = {}
    for chunk in itertools.chain.from_iterable(a.chunks for a in artifacts):
        if sizes.setdefault(chunk.sha256, chunk.size_bytes) != chunk.size_bytes:
            raise MalformedError("one chunk, two sizes", where=f"chunk {chunk.sha256}")


def _check_ascending(values: Iterable[str], *, where: str) -> None:
    for before, after in itertools.pairwise(values):
        if before >= after:
            raise MalformedError(
                "not in ascending order, or twice the same",
                where=where,
                actual=f"{before!a} before {after!a}",
            )
