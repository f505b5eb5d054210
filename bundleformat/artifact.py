"""What a bundle can deliver: the kinds of artifact, and what is said of each.

Values only; ``artifact_json`` reads and writes them, and FORMAT.md is normative.
"""

from dataclasses import dataclass
from typing import Final, Literal

from bundleformat.digest import Sha256, sha256_of
from bundleformat.paths import ArchivePath, Name

Kind = Literal[
    "model",
    "part",
    "policy",
    "wheel",
    "lock",
    "requirements",
    "sbom",
    "provenance",
    "installer",
]
"""What an artifact is. A part is a further file of a model split over several."""

FOLDERS: Final[dict[Kind, str]] = {
    "model": "models",
    "part": "models",
    "policy": "policies",
    "wheel": "wheels",
    "lock": "locks",
    "requirements": "locks",
    "sbom": "sbom",
    "provenance": "provenance",
    "installer": "installer",
}
"""The first part of an artifact's path, by kind."""

CpuLevel = Literal["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"]
"""What a processor must offer.

Source: x86-64 psABI supplement, section 3.1.1, "Micro-Architecture Levels".
"""

Role = Literal["appliance", "team"]
"""Whom an environment is for: Sallyport itself, or a team's own programs."""

SigningMode = Literal["key", "certificate"]
"""How a vendor's signature names its signer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """A run of an artifact's bytes; it lies in a file named by its SHA-256.

    ``sha384`` is there exactly in bundles whose signatures use that digest.
    """

    sha256: Sha256
    size_bytes: int
    sha384: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelTerms:
    """What the publisher states of a model; an import recomputes what it can.

    Attributes:
        licence: SPDX expression or name of the licence.
        origin: Where the file came from, for people.
        allowed_regions: Regions whose hosts may serve it, ascending.
        architecture: ``general.architecture`` of its GGUF header; recomputed.
        context_length: Tokens it was made for; recomputed.
        intended_use: What it was approved for, for people, or None.
        review_by: The day the approval is to be looked at again, as
            ``YYYY-MM-DD``, or None.
        parts: Digests of all files of a split model in their order, the first
            being the artifact's own; empty for a model in one file.
    """

    licence: str
    origin: str
    allowed_regions: tuple[str, ...]
    architecture: str
    context_length: int
    intended_use: str | None = None
    review_by: str | None = None
    parts: tuple[Sha256, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """A set of wheels that are installed together, and what they need.

    Attributes:
        python: Minor version of Python, such as ``3.11``.
        platform: ``linux_x86_64``.
        glibc: Oldest C library that all of them run on, such as ``2.34``.
        cpu: What the processor must offer.
        role: Whom the environment is for.
        wheels: Names of the wheel artifacts, ascending.
    """

    python: str
    platform: str
    glibc: str
    cpu: CpuLevel
    role: Role
    wheels: tuple[Name, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelSizes:
    """What a wheel takes once it is installed; an import recomputes it.

    Attributes:
        unpacked_bytes: Sum of all its members. Unit: bytes.
        python_bytes: Of these, those in files that end with ``.py``, which an
            installer compiles besides. Unit: bytes.
        files: How many of its members are files.
    """

    unpacked_bytes: int
    python_bytes: int
    files: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Who else signed a model, and with what that signature is checked.

    Attributes:
        mode: Whether ``anchor`` is a public key or a certificate.
        anchor: Base64 of the DER form of the key or of the CA's certificate.
        signer: Whose signature it is, for people.
    """

    mode: SigningMode
    anchor: str
    signer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A file the bundle delivers.

    ``model``, ``environment`` and ``provenance`` are there exactly for the kinds
    ``model``, ``lock`` and ``provenance``; ``wheel`` may be there for the kind of
    that name.
    """

    kind: Kind
    name: Name
    path: ArchivePath
    size_bytes: int
    sha256: Sha256
    chunks: tuple[Chunk, ...]
    sha384: str | None = None
    model: ModelTerms | None = None
    environment: Environment | None = None
    provenance: Provenance | None = None
    wheel: WheelSizes | None = None


def model_digest(artifact: Artifact) -> Sha256:
    """Return what identifies a model in the ledger: a digest of all its bytes.

    For a model in one file it is the file's; for a split one it is the SHA-256 of
    its parts' digests, in hexadecimal, joined by line feeds.
    """
    parts = artifact.model.parts if artifact.model is not None else ()
    return sha256_of("\n".join(parts).encode()) if parts else artifact.sha256
