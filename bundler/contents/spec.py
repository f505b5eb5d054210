"""What the publisher asks for: a TOML file, read strictly.

::

    channel = "main"
    version = 7

    [[models]]
    name = "llama-3b"                   # what API clients will ask for
    path = "models/llama-3b.gguf"       # relative to this file; or hugging_face,
                                        # or ollama: see sources/wanted.py
    licence = "Llama-3.2-Community"
    origin = "https://example.org/llama-3b, revision 1a2b3c"
    allowed_regions = ["in-blr"]
    intended_use = "summaries of claims"  # if somebody approved it for that
    review_by = "2027-06-30"              # when to look at the approval again

    [[policies]]
    name = "site"
    path = "site.cedar"

A key this version does not know is refused, so that a misspelt one cannot be
ignored. Parsing opens no file but the spec itself.
"""

import datetime as dt
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bundleformat.errors import RefusalError
from bundleformat.fields import Fields
from bundleformat.limits import Limits
from bundleformat.manifest import MAX_VERSION
from bundleformat.paths import Name, parse_name, parse_region
from bundler.errors import SpecError
from bundler.sources.wanted import MAX_CHARACTERS, LocalFile, ModelSource, parse_source
from bundler.wheels.target import WheelsSpec, parse_wheels

MAX_SPEC_BYTES: Final = 2**20
"""Largest spec file. Unit: bytes."""

_VERSION = re.compile(r"(?:0|[1-9][0-9]{0,5})(?:\.(?:0|[1-9][0-9]{0,5})){2}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvenanceSpec:
    """A vendor's signature over a model, and with what it is checked.

    Exactly one of ``key`` and ``certificate`` is a path.
    """

    signature: Path
    key: Path | None
    certificate: Path | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A model to deliver.

    Attributes:
        name: What API clients ask for.
        source: Where it comes from.
        licence: SPDX expression or name of the licence.
        origin: Where it came from, for people; None where the source says it.
        allowed_regions: Regions whose hosts may serve it, ascending, each once.
        intended_use: What it was approved for, or None.
        review_by: When the approval is to be looked at again, or None.
        provenance: A vendor's signature to check and carry, or None.
    """

    name: Name
    source: ModelSource
    licence: str
    origin: str | None
    allowed_regions: tuple[str, ...]
    intended_use: str | None = None
    review_by: str | None = None
    provenance: ProvenanceSpec | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicySpec:
    """A site policy file to deliver."""

    name: Name
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleSpec:
    """One bundle to build."""

    channel: Name
    version: int
    models: tuple[ModelSpec, ...]
    policies: tuple[PolicySpec, ...]
    wheels: tuple[WheelsSpec, ...] = ()
    minimum_version: str | None = None


def read_spec(path: Path, *, limits: Limits) -> BundleSpec:
    """Return the spec in ``path``; its paths are relative to the file's folder.

    Raises:
        SpecError: It cannot be read, is no TOML, or asks for something that
            cannot be built; ``where`` names the field.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SPEC_BYTES + 1)
    except OSError as error:
        raise SpecError(
            "cannot be read", where=str(path), actual=error.strerror or str(error)
        ) from error
    if len(data) > MAX_SPEC_BYTES:
        raise SpecError("too long", where=str(path))
    return parse_spec(data, name=path.name, folder=path.parent, limits=limits)


def parse_spec(data: bytes, *, name: str, folder: Path, limits: Limits) -> BundleSpec:
    """Return the spec in ``data``.

    Raises:
        SpecError: As ``read_spec``.
    """
    try:
        value = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError("not a TOML file", where=name, actual=str(error)) from error
    try:
        spec = _parse(value, folder=folder, limits=limits)
        _check_unique(spec)
    except RefusalError as error:
        raise SpecError(
            error.problem,
            where=f"{name}: {error.where}",
            expected=error.expected,
            actual=error.actual,
            hint=error.hint or "`sallyport-bundler build --help` shows a spec file.",
        ) from error
    return spec


def _parse(value: dict[str, Any], *, folder: Path, limits: Limits) -> BundleSpec:
    fields = Fields(value, where="")
    spec = BundleSpec(
        channel=parse_name(fields.text("channel", max_characters=64), where="channel"),
        version=fields.integer("version", minimum=1, maximum=MAX_VERSION),
        models=tuple(
            _parse_model(Fields(item, where=where), folder=folder, limits=limits)
            for item, where in _tables(fields, "models", limits)
        ),
        policies=tuple(
            _parse_policy(Fields(item, where=where), folder=folder)
            for item, where in _tables(fields, "policies", limits)
        ),
        wheels=tuple(
            parse_wheels(Fields(item, where=where), folder=folder)
            for item, where in _tables(fields, "wheels", limits)
        ),
        minimum_version=_minimum_version(fields),
    )
    fields.finish()
    return spec


def _tables(fields: Fields, key: str, limits: Limits) -> tuple[tuple[Any, str], ...]:
    if not fields.has(key):
        return ()
    return tuple(fields.items(key, max_items=limits.artifacts))


def _minimum_version(fields: Fields) -> str | None:
    if not fields.has("minimum_version"):
        return None
    text = fields.text("minimum_version", max_characters=32)
    if not _VERSION.fullmatch(text):
        raise SpecError(
            "not a version of sallyport",
            where="minimum_version",
            expected="X.Y.Z",
            actual=ascii(text),
        )
    return text


def _parse_model(fields: Fields, *, folder: Path, limits: Limits) -> ModelSpec:
    source = parse_source(fields, folder=folder)
    model = ModelSpec(
        name=_name(fields),
        source=source,
        licence=fields.text("licence", max_characters=limits.text_characters),
        origin=_text(fields, "origin", limits, required=isinstance(source, LocalFile)),
        allowed_regions=_regions(fields, limits=limits),
        intended_use=_text(fields, "intended_use", limits),
        review_by=_review_by(fields),
        provenance=_provenance(fields, folder=folder),
    )
    fields.finish()
    return model


def _text(
    fields: Fields, key: str, limits: Limits, *, required: bool = False
) -> str | None:
    if not required and not fields.has(key):
        return None
    return fields.text(key, max_characters=limits.text_characters)


def _regions(fields: Fields, *, limits: Limits) -> tuple[str, ...]:
    where = fields.place("allowed_regions")
    regions = sorted(
        parse_region(item if isinstance(item, str) else "", where=place)
        for item, place in fields.items("allowed_regions", max_items=limits.regions)
    )
    if not regions or len(set(regions)) != len(regions):
        raise SpecError(
            "no region, or one twice",
            where=where,
            hint="Name every region whose hosts may serve the model.",
        )
    return tuple(regions)


def _review_by(fields: Fields) -> str | None:
    if not fields.has("review_by"):
        return None
    text = fields.text("review_by", max_characters=10)
    try:
        day = dt.date.fromisoformat(text).isoformat()
    except ValueError:
        day = ""
    if day != text:
        raise SpecError(
            "not a day",
            where=fields.place("review_by"),
            expected="YYYY-MM-DD, in quotes",
            actual=ascii(text),
        )
    return text


def _provenance(fields: Fields, *, folder: Path) -> ProvenanceSpec | None:
    if not fields.has("provenance"):
        return None
    nested = fields.nested("provenance")

    def path(key: str) -> Path | None:
        if not nested.has(key):
            return None
        return folder / nested.text(key, max_characters=MAX_CHARACTERS)

    signature, key, certificate = path("signature"), path("key"), path("certificate")
    if signature is None or (key is None) == (certificate is None):
        raise SpecError(
            "not a signature and what it is checked with",
            where=fields.place("provenance"),
            expected="signature, and one of key and certificate",
        )
    nested.finish()
    return ProvenanceSpec(signature=signature, key=key, certificate=certificate)


def _parse_policy(fields: Fields, *, folder: Path) -> PolicySpec:
    policy = PolicySpec(
        name=_name(fields),
        path=folder / fields.text("path", max_characters=MAX_CHARACTERS),
    )
    fields.finish()
    return policy


def _name(fields: Fields) -> Name:
    return parse_name(
        fields.text("name", max_characters=64), where=fields.place("name")
    )


def _check_unique(spec: BundleSpec) -> None:
    if not (spec.models or spec.policies or spec.wheels):
        raise SpecError("nothing to deliver", where="models")
    for kind, names in (
        ("models", [item.name for item in spec.models]),
        ("policies", [item.name for item in spec.policies]),
        ("wheels", [item.name for item in spec.wheels]),
    ):
        for name in names:
            if names.count(name) > 1:
                raise SpecError("two of one name", where=kind, actual=name)
