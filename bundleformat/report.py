"""What both command lines say alike: an error, and a bundle for machines.

An error reads ``PROGRAM: refused: digest-mismatch: c/ab/…: …`` and then
``hint: …``; for machines it is one JSON object with the error's fields. What is
not printable is escaped in both, since an error may quote a hostile medium.
"""

import json
import re
from typing import Any, Final

from bundleformat.errors import (
    Error,
    FaultError,
    RefusalError,
    UsageError,
    VolumesMissingError,
)
from bundleformat.manifest import Artifact
from bundleformat.moments import format_moment
from bundleformat.verify import VerifiedBundle

_DIGEST: Final = re.compile(
    r"(?<![/0-9a-f])([0-9a-f]{8})(?:[0-9a-f]{48}|[0-9a-f]{80})([0-9a-f]{8})(?![0-9a-f])"
)
"""A SHA-256 or SHA-384 that is not part of a path."""


def error_lines(error: Error, *, program: str, as_json: bool) -> tuple[str, ...]:
    """Return the lines that report ``error`` on stderr.

    Digests are shortened for people, as the transfer sheet has them; machines get
    them whole. A path stays as it is, because somebody will look for the file.
    """
    kind = _kind(error)
    if as_json:
        value = {
            "kind": kind,
            "code": error.code,
            "message": error.text(),
            "where": error.where,
            "expected": error.expected,
            "actual": error.actual,
            "hint": error.hint,
        }
        line = json.dumps({"error": value}, ensure_ascii=True, sort_keys=True)
        # The one control character that JSON may hold as it is.
        return (line.replace("\x7f", "\\u007f"),)
    named = kind if kind == error.code else f"{kind}: {error.code}"
    text = _DIGEST.sub(r"\1…\2", error.text())
    line = printable(f"{program}: {named}: {text}")
    return (line, printable(f"hint: {error.hint}")) if error.hint else (line,)


def printable(text: str) -> str:
    r"""Return ``text`` with every character escaped that could drive a terminal.

    Control characters, marks that turn the writing direction, line ends and
    lone surrogates become ``\x1b`` or ``\u202e``; letters of any script stay.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def json_line(value: dict[str, Any]) -> str:
    """Return ``value`` as one line of JSON that could not drive a terminal, either.

    Letters of any script stay; what is not printable is escaped as JSON has it, so
    machines get every character back.
    """
    line = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line).replace(
        "\x7f", "\\u007f"
    )


def _kind(error: Error) -> str:
    if isinstance(error, UsageError):
        return "usage"
    if isinstance(error, VolumesMissingError):
        return "incomplete"
    if isinstance(error, RefusalError):
        return "refused"
    return "fault" if isinstance(error, FaultError) else "error"


def bundle_value(bundle: VerifiedBundle) -> dict[str, Any]:
    """Return what ``--json`` shows of a verified bundle."""
    manifest = bundle.manifest
    return {
        "channel": manifest.channel,
        "version": manifest.version,
        "purpose": manifest.purpose,
        "digest": manifest.digest,
        "minimum_version": manifest.minimum_version,
        "created": format_moment(manifest.created),
        "expires": format_moment(bundle.expires),
        "root_version": bundle.root_version,
        "signed_by": list(bundle.signed_by),
        "artifacts": [_artifact_value(item) for item in manifest.artifacts],
    }


def _artifact_value(artifact: Artifact) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": artifact.kind,
        "name": artifact.name,
        "path": artifact.path,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
        "chunks": len(artifact.chunks),
    }
    if artifact.model is not None:
        terms = artifact.model
        value |= {
            "licence": terms.licence,
            "origin": terms.origin,
            "allowed_regions": list(terms.allowed_regions),
            "architecture": terms.architecture,
            "context_length": terms.context_length,
            "intended_use": terms.intended_use,
            "review_by": terms.review_by,
            "parts": list(terms.parts),
        }
    if artifact.environment is not None:
        wanted = artifact.environment
        value["environment"] = {
            "python": wanted.python,
            "platform": wanted.platform,
            "glibc": wanted.glibc,
            "cpu": wanted.cpu,
            "role": wanted.role,
            "wheels": list(wanted.wheels),
        }
    if artifact.provenance is not None:
        signed = artifact.provenance
        value["provenance"] = {"mode": signed.mode, "signer": signed.signer}
    if artifact.wheel is not None:
        value["unpacked_bytes"] = artifact.wheel.unpacked_bytes
    return value
