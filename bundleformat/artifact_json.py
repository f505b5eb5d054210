"""Reads and writes one artifact of the manifest; each value has one spelling.

An optional field that says nothing is absent, never null or empty.
"""

import base64
import binascii
import datetime as dt
import re
from typing import Any, Final, cast, get_args

from bundleformat.artifact import (
    FOLDERS,
    Artifact,
    Chunk,
    CpuLevel,
    Environment,
    Kind,
    ModelTerms,
    Provenance,
    Role,
    SigningMode,
    WheelSizes,
)
from bundleformat.digest import parse_sha256, parse_sha384
from bundleformat.errors import MalformedError
from bundleformat.fields import Fields
from bundleformat.limits import Limits
from bundleformat.paths import (
    Name,
    check_ascending,
    parse_artifact_name,
    parse_name,
    parse_path,
    parse_region,
)

_MINOR = re.compile(r"[1-9][0-9]?\.(?:0|[1-9][0-9]{0,2})", re.ASCII)
_PLATFORM: Final = "linux_x86_64"


def artifact_value(artifact: Artifact) -> dict[str, Any]:
    """Return ``artifact`` as the manifest writes it."""
    value: dict[str, Any] = {
        "kind": artifact.kind,
        "name": artifact.name,
        "path": artifact.path,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
        "chunks": [_chunk_value(chunk) for chunk in artifact.chunks],
    }
    if artifact.sha384 is not None:
        value["sha384"] = artifact.sha384
    if artifact.model is not None:
        value["model"] = _terms_value(artifact.model)
    if artifact.environment is not None:
        value["environment"] = _environment_value(artifact.environment)
    if artifact.provenance is not None:
        value["provenance"] = {
            "mode": artifact.provenance.mode,
            "anchor": artifact.provenance.anchor,
            "signer": artifact.provenance.signer,
        }
    if artifact.wheel is not None:
        value["wheel"] = {
            "unpacked_bytes": artifact.wheel.unpacked_bytes,
            "python_bytes": artifact.wheel.python_bytes,
            "files": artifact.wheel.files,
        }
    return value


def _chunk_value(chunk: Chunk) -> dict[str, Any]:
    value: dict[str, Any] = {"sha256": chunk.sha256, "size_bytes": chunk.size_bytes}
    if chunk.sha384 is not None:
        value["sha384"] = chunk.sha384
    return value


def _terms_value(terms: ModelTerms) -> dict[str, Any]:
    value: dict[str, Any] = {
        "licence": terms.licence,
        "origin": terms.origin,
        "allowed_regions": list(terms.allowed_regions),
        "architecture": terms.architecture,
        "context_length": terms.context_length,
    }
    if terms.intended_use is not None:
        value["intended_use"] = terms.intended_use
    if terms.review_by is not None:
        value["review_by"] = terms.review_by
    if terms.parts:
        value["parts"] = list(terms.parts)
    return value


def _environment_value(environment: Environment) -> dict[str, Any]:
    return {
        "python": environment.python,
        "platform": environment.platform,
        "glibc": environment.glibc,
        "cpu": environment.cpu,
        "role": environment.role,
        "wheels": list(environment.wheels),
    }


def parse_artifact(fields: Fields, *, digest: str, limits: Limits) -> Artifact:
    """Return the artifact in ``fields``, of a manifest that names ``digest``.

    Raises:
        MalformedError: A field is missing, unknown, or not what it should be.
        LimitExceededError: A size or count above its limit.
    """
    kind = _choice(fields, "kind", get_args(Kind))
    artifact = Artifact(
        kind=cast("Kind", kind),
        name=_parse_name(fields, kind),
        path=parse_path(
            fields.text("path", max_characters=200), where=fields.place("path")
        ),
        size_bytes=fields.integer(
            "size_bytes", minimum=1, maximum=limits.bytes_of(kind)
        ),
        sha256=parse_sha256(
            fields.text("sha256", max_characters=64), where=fields.place("sha256")
        ),
        sha384=_parse_sha384(fields, digest),
        chunks=tuple(
            _parse_chunk(Fields(item, where=where), digest=digest, limits=limits)
            for item, where in fields.items("chunks", max_items=limits.chunks)
        ),
        model=_parse_terms(fields.nested("model"), limits=limits)
        if kind == "model"
        else None,
        environment=_parse_environment(fields.nested("environment"), limits=limits)
        if kind == "lock"
        else None,
        provenance=_parse_provenance(fields.nested("provenance"), limits=limits)
        if kind == "provenance"
        else None,
        wheel=_parse_sizes(fields.nested("wheel"), limits=limits)
        if kind == "wheel" and fields.has("wheel")
        else None,
    )
    _check_one(artifact, fields)
    fields.finish()
    return artifact


def _choice(fields: Fields, key: str, known: tuple[str, ...]) -> str:
    found = fields.text(key, max_characters=32)
    if found not in known:
        raise MalformedError(
            f"unknown {key}",
            where=fields.place(key),
            expected=", ".join(known),
            actual=ascii(found),
        )
    return found


def _parse_name(fields: Fields, kind: str) -> Name:
    text, where = fields.text("name", max_characters=128), fields.place("name")
    if kind in {"model", "policy", "lock", "requirements", "provenance"}:
        return parse_name(text, where=where)
    return parse_artifact_name(text, where=where)


def _parse_sha384(fields: Fields, digest: str) -> str | None:
    if digest != "sha384":
        return None
    return parse_sha384(
        fields.text("sha384", max_characters=96), where=fields.place("sha384")
    )


def _parse_chunk(fields: Fields, *, digest: str, limits: Limits) -> Chunk:
    chunk = Chunk(
        sha256=parse_sha256(
            fields.text("sha256", max_characters=64), where=fields.place("sha256")
        ),
        size_bytes=fields.integer("size_bytes", minimum=1, maximum=limits.chunk_bytes),
        sha384=_parse_sha384(fields, digest),
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
        intended_use=fields.text("intended_use", max_characters=limits.text_characters)
        if fields.has("intended_use")
        else None,
        review_by=parse_day(
            fields.text("review_by", max_characters=10), where=fields.place("review_by")
        )
        if fields.has("review_by")
        else None,
        parts=tuple(
            parse_sha256(item if isinstance(item, str) else "", where=where)
            for item, where in fields.items("parts", max_items=limits.model_parts)
        )
        if fields.has("parts")
        else (),
    )
    if not terms.allowed_regions:
        raise MalformedError("no region", where=fields.place("allowed_regions"))
    check_ascending(terms.allowed_regions, where=fields.place("allowed_regions"))
    fields.finish()
    return terms


def parse_day(text: str, *, where: str) -> str:
    """Return ``text`` if it is a day as ``YYYY-MM-DD``.

    Raises:
        MalformedError: Another spelling, or no such day.
    """
    try:
        day = dt.date.fromisoformat(text).isoformat()
    except ValueError:
        day = ""
    if day != text:
        raise MalformedError(
            "not a day", where=where, expected="YYYY-MM-DD", actual=ascii(text)
        )
    return text


def _parse_environment(fields: Fields, *, limits: Limits) -> Environment:
    wheels = tuple(
        parse_artifact_name(item if isinstance(item, str) else "", where=where)
        for item, where in fields.items("wheels", max_items=limits.artifacts)
    )
    environment = Environment(
        python=_minor_version(fields, "python"),
        platform=_choice(fields, "platform", (_PLATFORM,)),
        glibc=_minor_version(fields, "glibc"),
        cpu=cast("CpuLevel", _choice(fields, "cpu", get_args(CpuLevel))),
        role=cast("Role", _choice(fields, "role", get_args(Role))),
        wheels=wheels,
    )
    if not wheels:
        raise MalformedError("no wheel", where=fields.place("wheels"))
    check_ascending(wheels, where=fields.place("wheels"))
    fields.finish()
    return environment


def _minor_version(fields: Fields, key: str) -> str:
    text = fields.text(key, max_characters=8)
    if not _MINOR.fullmatch(text):
        raise MalformedError(
            "not a minor version",
            where=fields.place(key),
            expected="two numbers such as 3.11",
            actual=ascii(text),
        )
    return text


def _parse_provenance(fields: Fields, *, limits: Limits) -> Provenance:
    anchor = fields.text("anchor", max_characters=limits.anchor_characters)
    provenance = Provenance(
        mode=cast("SigningMode", _choice(fields, "mode", get_args(SigningMode))),
        anchor=anchor,
        signer=fields.text("signer", max_characters=limits.text_characters),
    )
    try:
        again = base64.b64encode(base64.b64decode(anchor, validate=True)).decode()
    except (binascii.Error, ValueError):
        again = ""
    if again != anchor:
        raise MalformedError("not base64", where=fields.place("anchor"))
    fields.finish()
    return provenance


def _parse_sizes(fields: Fields, *, limits: Limits) -> WheelSizes:
    unpacked_bytes = fields.integer(
        "unpacked_bytes", minimum=1, maximum=limits.unpacked_bytes
    )
    sizes = WheelSizes(
        unpacked_bytes=unpacked_bytes,
        python_bytes=fields.integer("python_bytes", minimum=0, maximum=unpacked_bytes),
        files=fields.integer("files", minimum=1, maximum=limits.wheel_files),
    )
    fields.finish()
    return sizes


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
    parts = artifact.model.parts if artifact.model is not None else ()
    if parts and (len(parts) == 1 or parts[0] != artifact.sha256):
        raise MalformedError(
            "not all parts of a split model, its own file first",
            where=fields.place("model.parts"),
        )
