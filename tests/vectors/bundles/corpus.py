"""All hostile bundles of the corpus, by class."""

from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Final

from tests.vectors.bundles import (
    bombs,
    chunks,
    freshness,
    images,
    json_text,
    links,
    manifests,
    models,
    names,
    policies,
    provenance,
    signatures,
    single_files,
    swaps,
    targets,
    volumes,
    wheels,
)
from tests.vectors.bundles.case import Case

CLASSES: Final[Mapping[str, ModuleType]] = {
    "links": links,
    "chunks": chunks,
    "swaps": swaps,
    "volumes": volumes,
    "single-file": single_files,
    "image": images,
    "json": json_text,
    "bombs": bombs,
    "signatures": signatures,
    "freshness": freshness,
    "targets": targets,
    "names": names,
    "manifest": manifests,
    "policies": policies,
    "models": models,
    "wheels": wheels,
    "provenance": provenance,
}
"""The classes of attack: first what needs no key, then what was signed."""


@cache
def corpus() -> Mapping[str, tuple[Case, ...]]:
    """Return the cases of every class; within one, each has its own name."""
    return {name: tuple(_named_once(name)) for name in CLASSES}


def _named_once(name: str) -> Iterator[Case]:
    seen: set[str] = set()
    for case in CLASSES[name].cases():
        if case.name in seen:
            raise ValueError(f"{name}/{case.name}")
        seen.add(case.name)
        yield case
