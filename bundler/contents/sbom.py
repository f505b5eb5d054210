"""Writes a bundle's bill of materials: what is in it, from whom, under what licence.

CycloneDX 1.7 in JSON, checked against the published schema before it is used. The
same artifacts give the same bytes: its serial number follows from them, and its
time is the bundle's.

Source: ECMA-424 (CycloneDX), "Components" and "Model Card"; Package URL.
"""

import datetime as dt
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot7
from cyclonedx.schema import SchemaVersion
from packageurl import PackageURL

from bundleformat.artifact import Artifact, Kind, ModelTerms
from bundleformat.errors import InternalFaultError
from bundleformat.paths import Name

NAMESPACE: Final = uuid.UUID("8c0a4d5e-6d43-5c0b-9b0c-6f4f7e0c9a11")
"""Under this name space a bundle's digest becomes a serial number."""

_HUGGING_FACE = re.compile(r"hf:([^/@\s]+)/([^/@\s]+)@([0-9a-f]{40})(?:/.*)?")

_TYPES: Final[dict[Kind, ComponentType]] = {
    "model": ComponentType.MACHINE_LEARNING_MODEL,
    "wheel": ComponentType.LIBRARY,
    "policy": ComponentType.DATA,
    "installer": ComponentType.APPLICATION,
}
"""How CycloneDX calls a kind of artifact; every other one is a file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """What a wheel says of itself; the licence is None if it says none."""

    project: str
    version: str
    file_name: str
    licence: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """The bundle that is described. ``created`` is the time it carries."""

    channel: Name
    version: int
    created: dt.datetime


def bill_of_materials(
    subject: Subject,
    artifacts: Sequence[Artifact],
    *,
    libraries: Mapping[Name, Library],
) -> bytes:
    """Return the bill of ``artifacts``; ``libraries`` are those that are wheels.

    Raises:
        InternalFaultError: It does not follow the schema; nothing may be signed.
    """
    ordered = sorted(artifacts, key=lambda each: each.path)
    digest = "\n".join(f"{each.path} {each.sha256}" for each in ordered)
    bom = Bom(serial_number=uuid.uuid5(NAMESPACE, digest))
    bom.metadata.timestamp = subject.created
    whole = Component(
        name=f"sallyport bundle {subject.channel}",
        version=str(subject.version),
        type=ComponentType.DATA,
        bom_ref="bundle",
    )
    bom.metadata.component = whole
    parts = [_component(each, libraries.get(each.name)) for each in ordered]
    bom.components.update(parts)
    bom.register_dependency(whole, parts)
    document = json.loads(JsonV1Dot7(bom).output_as_string())
    _add_model_cards(document, ordered)
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    _check(text)
    return text.encode("utf-8")


def _check(text: str) -> None:
    # The validator takes a second to import, which no other command should pay.
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    fault = JsonStrictValidator(SchemaVersion.V1_7).validate_str(text)
    if fault is not None:
        raise InternalFaultError(
            "the bill of materials does not follow CycloneDX 1.7",
            where="sbom",
            actual=str(fault)[:200],
        )


def _component(artifact: Artifact, library: Library | None) -> Component:
    wheel = library if artifact.kind == "wheel" else None
    licence = wheel.licence if wheel else None
    if artifact.model is not None:
        licence = artifact.model.licence
    component = Component(
        name=wheel.project if wheel else artifact.name,
        version=wheel.version if wheel else None,
        type=_TYPES.get(artifact.kind, ComponentType.FILE),
        bom_ref=artifact.path,
        purl=_package_url(artifact, wheel),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=artifact.sha256)],
        properties=_properties(artifact),
    )
    if licence is not None:
        component.licenses.add(LicenseFactory().make_from_string(licence))
    if artifact.sha384 is not None:
        component.hashes.add(
            HashType(alg=HashAlgorithm.SHA_384, content=artifact.sha384)
        )
    return component


def _package_url(artifact: Artifact, wheel: Library | None) -> PackageURL | None:
    if wheel is not None:
        return PackageURL(
            "pypi", None, wheel.project, wheel.version, {"file_name": wheel.file_name}
        )
    if artifact.model is None:
        return None
    found = _HUGGING_FACE.fullmatch(artifact.model.origin)
    return PackageURL("huggingface", found[1], found[2], found[3]) if found else None


def _properties(artifact: Artifact) -> list[Property]:
    said = {
        "sallyport:kind": artifact.kind,
        "sallyport:size_bytes": str(artifact.size_bytes),
    }
    terms = artifact.model
    if terms is not None:
        said |= {
            "gguf:general.architecture": terms.architecture,
            "gguf:context_length": str(terms.context_length),
            "sallyport:allowed_regions": ",".join(terms.allowed_regions),
            "sallyport:origin": terms.origin,
        }
        if terms.review_by is not None:
            said["sallyport:review_by"] = terms.review_by
    if artifact.environment is not None:
        said["sallyport:cpu"] = artifact.environment.cpu
        said["sallyport:glibc"] = artifact.environment.glibc
        said["sallyport:python"] = artifact.environment.python
    return [Property(name=name, value=value) for name, value in said.items()]


def _add_model_cards(document: dict[str, Any], artifacts: Sequence[Artifact]) -> None:
    # The library has no class for model cards; the schema has.
    cards = {each.path: _model_card(each.model) for each in artifacts if each.model}
    for component in document.get("components", ()):
        if component["bom-ref"] in cards:
            component["modelCard"] = cards[component["bom-ref"]]


def _model_card(terms: ModelTerms) -> dict[str, Any]:
    card: dict[str, Any] = {
        "modelParameters": {
            "task": "text-generation",
            "modelArchitecture": terms.architecture,
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        }
    }
    if terms.intended_use is not None:
        card["considerations"] = {"useCases": [terms.intended_use]}
    return card
