"""Brings the models of a spec from where they are into chunks.

First everything is found, then what lies on this machine is looked into, then
what does not is downloaded and looked into, and only then is a byte copied: a
refusal after an hour of copying would waste it.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bundleformat.artifact import Artifact
from bundleformat.digest import Sha256
from bundleformat.errors import DigestMismatchError, LimitExceededError
from bundleformat.limits import Limits
from bundler.contents.artifacts import model_artifacts
from bundler.contents.chunks import ChunkFolder, Stored, store_in_chunks
from bundler.contents.inspection import model_terms
from bundler.contents.spec import ModelSpec
from bundler.progress import Meter
from bundler.sources.located import LocatedModel, OnDisk, OnHub
from bundler.sources.opened import Source
from bundler.sources.resolve import fetch, locate


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedModel:
    """A model of the spec, and where its files are."""

    spec: ModelSpec
    located: LocatedModel


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadyModel:
    """A model whose files lie on this machine and are what a host takes."""

    spec: ModelSpec
    files: tuple[OnDisk, ...]
    origin: str | None


def locate_models(
    specs: Sequence[ModelSpec], *, limits: Limits
) -> tuple[WantedModel, ...]:
    """Return where the models are; those of this machine have been looked into.

    Raises:
        RefusalError: One is not there, cannot be delivered, or is no model.
        HubFaultError: A hub cannot be reached.
    """
    found = tuple(
        WantedModel(spec=spec, located=_located(spec, limits=limits)) for spec in specs
    )
    for model in found:
        if not _is_remote(model):
            _look_into(model.spec, _on_disk(model), limits=limits)
    return found


def fetch_models(
    models: Sequence[WantedModel], *, cache: Path, limits: Limits, meter: Meter
) -> tuple[ReadyModel, ...]:
    """Return the models with every file on this machine; downloads what is not.

    Raises:
        RefusalError: A download is not what the hub states, or no model.
        HubFaultError, StorageFaultError: It cannot be downloaded.
    """
    ready = []
    for model in models:
        files = _on_disk(model)
        if _is_remote(model):
            meter.stage(f"Fetching {model.spec.name}", model.located.size_bytes)
            files = tuple(
                fetch(file, cache=cache, progress=meter.advance)
                for file in model.located.files
            )
            _look_into(model.spec, files, limits=limits)
        ready.append(
            ReadyModel(spec=model.spec, files=files, origin=model.located.origin)
        )
    return tuple(ready)


def store_model(
    model: ReadyModel, into: ChunkFolder, *, limits: Limits, meter: Meter
) -> tuple[Artifact, ...]:
    """Copy every file of ``model`` into chunks, and return its artifacts.

    Raises:
        DigestMismatchError: A file is not what its store or hub states.
        ConflictError: A file changed while it was read.
        MalformedError, LimitExceededError: It is no model any more.
    """
    with _opened(model.files, limits=limits) as sources:
        terms = model_terms(sources, model.spec, origin=model.origin)
        meter.stage(
            f"Copying {model.spec.name}", sum(source.size_bytes for source in sources)
        )
        stored = [
            _store(source, into, stated=file.sha256, meter=meter)
            for source, file in zip(sources, model.files, strict=True)
        ]
    return model_artifacts(model.spec.name, stored, terms=terms)


def _located(spec: ModelSpec, *, limits: Limits) -> LocatedModel:
    located = locate(spec.source)
    if len(located.files) > limits.model_parts:
        raise LimitExceededError(
            "too many parts",
            where=f"model {spec.name}",
            expected=f"at most {limits.model_parts}",
            actual=str(len(located.files)),
        )
    return located


def _is_remote(model: WantedModel) -> bool:
    return any(isinstance(file, OnHub) for file in model.located.files)


def _on_disk(model: WantedModel) -> tuple[OnDisk, ...]:
    return tuple(file for file in model.located.files if isinstance(file, OnDisk))


def _look_into(spec: ModelSpec, files: Sequence[OnDisk], *, limits: Limits) -> None:
    with _opened(files, limits=limits) as sources:
        model_terms(sources, spec)


@contextmanager
def _opened(files: Sequence[OnDisk], *, limits: Limits) -> Iterator[list[Source]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(Source(file.path, max_bytes=limits.artifact_bytes))
            for file in files
        ]


def _store(
    source: Source, into: ChunkFolder, *, stated: Sha256 | None, meter: Meter
) -> Stored:
    stored = store_in_chunks(source, into, progress=meter.advance)
    if stated is not None and stored.sha256 != stated:
        raise DigestMismatchError(
            "the file is not what its store states",
            where=str(source.path),
            expected=f"sha256 {stated}",
            actual=f"sha256 {stored.sha256}",
            hint="The file is damaged; remove it, get it again, and build again.",
        )
    return stored
