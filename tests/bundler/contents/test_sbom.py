"""The bill of materials follows its schema, and says the same of the same things."""

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from bundleformat import strictjson
from bundleformat.artifact import Artifact, ModelTerms
from bundleformat.errors import InternalFaultError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import parse_manifest
from bundleformat.paths import parse_name
from bundler.contents import sbom
from bundler.contents.sbom import Library, Subject, bill_of_materials
from tests.bundleformat.test_artifact_json import example

SUBJECT = Subject(
    channel=parse_name("main"),
    version=7,
    created=dt.datetime(2026, 11, 22, 8, tzinfo=dt.UTC),
)
WHEEL = "tiny-1.0+cpu-py3-none-any"
TINY = Library(
    project="tiny", version="1.0+cpu", file_name=f"{WHEEL}.whl", licence="BSD-3-Clause"
)


def artifacts() -> tuple[Artifact, ...]:
    data = strictjson.encode(example())
    return parse_manifest(data, limits=DEFAULT_LIMITS).artifacts


def written(
    found: tuple[Artifact, ...] | None = None, library: Library = TINY
) -> dict[str, Any]:
    libraries = {each.name: library for each in artifacts() if each.kind == "wheel"}
    data = bill_of_materials(SUBJECT, found or artifacts(), libraries=libraries)
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(data.decode()) is None
    document: dict[str, Any] = json.loads(data)
    return document


def component(document: dict[str, Any], path: str) -> dict[str, Any]:
    (found,) = [each for each in document["components"] if each["bom-ref"] == path]
    return dict(found)


def changed_terms(**changes: Any) -> tuple[Artifact, ...]:
    def change(artifact: Artifact) -> Artifact:
        if artifact.model is None:
            return artifact
        terms: ModelTerms = replace(artifact.model, **changes)
        return replace(artifact, model=terms)

    return tuple(change(each) for each in artifacts())


def test_every_artifact_is_listed_with_its_digest() -> None:
    document = written()
    for artifact in artifacts():
        found = component(document, artifact.path)
        assert {"alg": "SHA-256", "content": artifact.sha256} in found["hashes"]
    assert len(document["components"]) == len(artifacts())
    assert document["metadata"]["timestamp"] == "2026-11-22T08:00:00+00:00"


def test_a_model_has_a_card_with_what_it_was_approved_for() -> None:
    model = component(written(), "models/big-00001-of-00002.gguf")
    assert model["type"] == "machine-learning-model"
    assert model["licenses"] == [{"license": {"id": "MIT"}}]
    assert model["modelCard"]["considerations"] == {"useCases": ["drafts of letters"]}
    assert model["modelCard"]["modelParameters"]["modelArchitecture"] == "llama"
    assert "purl" not in model


def test_a_model_of_a_hub_has_a_package_url() -> None:
    origin = f"hf:Example/Tiny-Model@{'ab' * 20}/tiny.gguf"
    model = component(
        written(changed_terms(origin=origin)), "models/big-00001-of-00002.gguf"
    )
    assert model["purl"] == f"pkg:huggingface/Example/Tiny-Model@{'ab' * 20}"


def test_a_wheel_has_its_package_url_and_licence() -> None:
    wheel = component(written(), f"wheels/{WHEEL}.whl")
    assert wheel["purl"].startswith("pkg:pypi/tiny@1.0%2Bcpu?file_name=")
    assert wheel["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("Llama-3.2-Community", [{"license": {"name": "Llama-3.2-Community"}}]),
        ("MIT OR Apache-2.0", [{"expression": "MIT OR Apache-2.0"}]),
    ],
)
def test_a_licence_is_an_identifier_an_expression_or_a_name(
    licence: str, expected: list[dict[str, Any]]
) -> None:
    document = written(changed_terms(licence=licence))
    model = component(document, "models/big-00001-of-00002.gguf")
    assert model["licenses"] == expected


def test_a_wheel_without_a_licence_states_none() -> None:
    document = written(library=replace(TINY, licence=None))
    assert "licenses" not in component(document, f"wheels/{WHEEL}.whl")


def test_the_same_artifacts_give_the_same_bytes_in_any_order() -> None:
    libraries = {parse_name_of_wheel(): TINY}
    first = bill_of_materials(SUBJECT, artifacts(), libraries=libraries)
    again = bill_of_materials(SUBJECT, artifacts()[::-1], libraries=libraries)
    assert first == again
    changed = tuple(replace(each, sha256=artifacts()[0].sha256) for each in artifacts())
    other = bill_of_materials(SUBJECT, changed, libraries=libraries)
    assert json.loads(other)["serialNumber"] != json.loads(first)["serialNumber"]


def parse_name_of_wheel() -> Any:
    (wheel,) = [each.name for each in artifacts() if each.kind == "wheel"]
    return wheel


def test_a_bill_that_breaks_the_schema_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sbom, "_model_card", lambda _terms: {"task": 7})
    with pytest.raises(InternalFaultError):
        bill_of_materials(SUBJECT, artifacts(), libraries={})
