"""What the publisher asks for: a TOML file, read strictly.

::

    channel = "main"
    version = 7

    [[models]]
    name = "llama-3b"                   # what API clients will ask for
    path = "models/llama-3b.gguf"       # relative to this file
    licence = "Llama-3.2-Community"
    origin = "https://example.org/llama-3b, revision 1a2b3c"
    allowed_regions = ["in-blr"]

    [[policies]]
    name = "site"
    path = "site.cedar"

A key this version does not know is refused, so that a misspelt one cannot be
ignored. Parsing opens no file but the spec itself.
"""

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

MAX_SPEC_BYTES: Final = 2**20
"""Largest spec file. Unit: bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A model to deliver; ``allowed_regions`` ascend, each once."""

    name: Name
    path: Path
    licence: str
    origin: str
    allowed_regions: tuple[str, ...]


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
    except SpecError:
        raise
    except RefusalError as error:
        raise SpecError(
            error.problem,
            where=f"{name}: {error.where}",
            expected=error.expected,
            actual=error.actual,
            hint="`sallyport-bundler build --help` shows a spec file.",
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
    )
    fields.finish()
    return spec


def _tables(fields: Fields, key: str, limits: Limits) -> tuple[tuple[Any, str], ...]:
    if not fields.has(key):
        return ()
    return tuple(fields.items(key, max_items=limits.artifacts))


def _parse_model(fields: Fields, *, folder: Path, limits: Limits) -> ModelSpec:
    model = ModelSpec(
        name=_name(fields),
        path=folder / fields.text("path", max_characters=4_096),
        licence=fields.text("licence", max_characters=limits.text_characters),
        origin=fields.text("origin", max_characters=limits.text_characters),
        allowed_regions=tuple(
            sorted(
                parse_region(item if isinstance(item, str) else "", where=where)
                for item, where in fields.items(
                    "allowed_regions", max_items=limits.regions
                )
            )
        ),
    )
    if not model.allowed_regions or len(set(model.allowed_regions)) != len(
        model.allowed_regions
    ):
        raise SpecError(
            "no region, or one twice",
            where=fields.place("allowed_regions"),
            hint="Name every region whose hosts may serve the model.",
        )
    fields.finish()
    return model


def _parse_policy(fields: Fields, *, folder: Path) -> PolicySpec:
    policy = PolicySpec(
        name=_name(fields), path=folder / fields.text("path", max_characters=4_096)
    )
    fields.finish()
    return policy


def _name(fields: Fields) -> Name:
    return parse_name(
        fields.text("name", max_characters=64), where=fields.place("name")
    )


def _check_unique(spec: BundleSpec) -> None:
    if not spec.models and not spec.policies:
        raise SpecError("nothing to deliver", where="models")
    for kind, items in (("models", spec.models), ("policies", spec.policies)):
        names = [item.name for item in items]
        for name in names:
            if names.count(name) > 1:
                raise SpecError("two of one name", where=kind, actual=name)
