"""Gives what lies in chunks its place and name in the manifest."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bundleformat.artifact import (
    FOLDERS,
    Artifact,
    Environment,
    Kind,
    ModelTerms,
    WheelSizes,
)
from bundleformat.gguf_split import part_name
from bundleformat.paths import Name, parse_artifact_name, parse_path
from bundler.contents.chunks import Stored

_FILE_NAMES: Final[dict[Kind, str]] = {
    "model": "{}.gguf",
    "part": "{}.gguf",
    "policy": "{}.cedar",
    "wheel": "{}.whl",
    "lock": "pylock.{}.toml",
    "requirements": "{}.requirements.txt",
    "sbom": "{}.cdx.json",
    "provenance": "{}.sig",
    "installer": "{}",
}
"""How the file of an artifact is called, by kind, from its name."""


def artifact_of(
    name: Name,
    stored: Stored,
    *,
    model: ModelTerms | None = None,
    kind: Kind | None = None,
    file_name: str | None = None,
    environment: Environment | None = None,
    wheel: WheelSizes | None = None,
) -> Artifact:
    """Return the manifest's entry for what was stored.

    Without a ``kind`` it is a model if there are terms for one, or else a policy.
    ``file_name`` is for wheels, whose letters have a case that names have not.
    """
    chosen: Kind = kind or ("policy" if model is None else "model")
    return Artifact(
        kind=chosen,
        name=name,
        path=parse_path(
            f"{FOLDERS[chosen]}/{file_name or _FILE_NAMES[chosen].format(name)}"
        ),
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        sha384=stored.sha384,
        chunks=stored.chunks,
        model=model,
        environment=environment,
        wheel=wheel,
    )


def model_artifacts(
    name: Name, files: Sequence[Stored], *, terms: ModelTerms
) -> tuple[Artifact, ...]:
    """Return the entries for a model in one file, or for all parts of a split one."""
    if len(files) == 1:
        return (artifact_of(name, files[0], model=terms),)
    count = len(files)
    first, *others = files
    whole = replace(terms, parts=tuple(file.sha256 for file in files))
    return (
        artifact_of(
            name,
            first,
            model=whole,
            file_name=f"{part_name(name, number=1, count=count)}.gguf",
        ),
        *(
            artifact_of(
                parse_artifact_name(part_name(name, number=number, count=count)),
                part,
                kind="part",
            )
            for number, part in enumerate(others, start=2)
        ),
    )
