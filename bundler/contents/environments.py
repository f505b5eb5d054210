"""Stores environments: their wheels once each, a lock and requirements for each."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bundleformat.artifact import Artifact
from bundleformat.digest import check_digest
from bundleformat.errors import ConflictError
from bundleformat.limits import Limits
from bundleformat.paths import Name
from bundler.contents.artifacts import artifact_of
from bundler.contents.chunks import ChunkFolder, store_bytes, store_in_chunks
from bundler.contents.sbom import Library
from bundler.progress import Meter
from bundler.sources.opened import Source
from bundler.wheels.lock import LockedEnvironment, LockedWheel


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedEnvironment:
    """A locked environment, and the name that the spec gives it."""

    name: Name
    locked: LockedEnvironment


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredEnvironments:
    """What was stored, and what each wheel says of itself, by its artifact's name."""

    artifacts: tuple[Artifact, ...]
    libraries: Mapping[Name, Library]


def store_environments(
    environments: Sequence[NamedEnvironment],
    into: ChunkFolder,
    *,
    limits: Limits,
    meter: Meter,
) -> StoredEnvironments:
    """Store every wheel once, and lock and requirements of every environment.

    Raises:
        ConflictError: Two wheels have one name and other bytes.
        DigestMismatchError: A wheel is not what was locked.
    """
    wheels: dict[Name, Artifact] = {}
    libraries: dict[Name, Library] = {}
    others: list[Artifact] = []
    for item in environments:
        total = sum(wheel.size_bytes for wheel in item.locked.wheels)
        meter.stage(f"Copying wheels of {item.name}", total)
        for locked in item.locked.wheels:
            wheel = _store_wheel(locked, into, limits=limits, meter=meter)
            if wheels.setdefault(wheel.name, wheel).sha256 != wheel.sha256:
                raise ConflictError(
                    "two wheels of one name and other bytes",
                    where=locked.path.name,
                    hint="Build both environments from the same wheel.",
                )
            libraries[wheel.name] = _library(locked)
        others += _store_texts(item, into)
    return StoredEnvironments(
        artifacts=(*wheels.values(), *others), libraries=libraries
    )


def _store_wheel(
    wheel: LockedWheel, into: ChunkFolder, *, limits: Limits, meter: Meter
) -> Artifact:
    with Source(wheel.path, max_bytes=limits.wheel_bytes) as source:
        stored = store_in_chunks(source, into, progress=meter.advance)
    check_digest(wheel.sha256, stored.sha256, where=str(wheel.path), name="sha256")
    return artifact_of(
        wheel.name,
        stored,
        kind="wheel",
        file_name=wheel.path.name,
        wheel=wheel.facts.sizes,
    )


def _library(wheel: LockedWheel) -> Library:
    return Library(
        project=wheel.facts.display_name,
        version=wheel.facts.version,
        file_name=wheel.path.name,
        licence=wheel.facts.licence or None,
    )


def _store_texts(item: NamedEnvironment, into: ChunkFolder) -> tuple[Artifact, ...]:
    lock, requirements = (
        store_bytes(io.BytesIO(data), into, size_bytes=len(data))
        for data in (item.locked.lock, item.locked.requirements)
    )
    return (
        artifact_of(item.name, lock, kind="lock", environment=item.locked.environment),
        artifact_of(item.name, requirements, kind="requirements"),
    )
