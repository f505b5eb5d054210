"""Collects everything a bundle delivers into chunks, kind after kind.

The bill of materials is made from all that was stored before it.
"""

import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import dataclass

from bundleformat.artifact import Artifact
from bundleformat.limits import Limits
from bundleformat.paths import Name
from bundler.contents.artifacts import artifact_of
from bundler.contents.chunks import ChunkFolder, store_bytes, store_in_chunks
from bundler.contents.environments import NamedEnvironment, store_environments
from bundler.contents.evidence import store_bill, store_provenance
from bundler.contents.inspection import check_policy
from bundler.contents.models import ReadyModel, store_model
from bundler.contents.spec import BundleSpec, PolicySpec
from bundler.installer import INSTALLER_NAME, installer_bytes
from bundler.progress import Meter
from bundler.sources.opened import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Everything that is on this machine now, and ready to be copied."""

    models: tuple[ReadyModel, ...]
    environments: tuple[NamedEnvironment, ...]


def collect(
    spec: BundleSpec,
    sources: Sources,
    into: ChunkFolder,
    *,
    created: dt.datetime,
    limits: Limits,
    meter: Meter,
) -> tuple[Artifact, ...]:
    """Store everything that ``spec`` asks for, and return it ascending by path.

    ``created`` is the time that the bundle carries.

    Raises:
        RefusalError: A source cannot be delivered, or changed meanwhile.
        OSError: The disk is full or cannot be written.
    """
    artifacts: list[Artifact] = []
    for model in sources.models:
        files = store_model(model, into, limits=limits, meter=meter)
        artifacts += files
        artifacts += store_provenance(
            model.spec, files, into, created=created, limits=limits
        )
    for policy in spec.policies:
        artifacts.append(_store_policy(policy, into, limits=limits, meter=meter))
    stored = store_environments(sources.environments, into, limits=limits, meter=meter)
    artifacts += stored.artifacts
    if _has_appliance(artifacts):
        artifacts.append(_store_installer(into))
    artifacts.append(
        store_bill(spec, artifacts, into, created=created, libraries=stored.libraries)
    )
    return tuple(sorted(artifacts, key=lambda item: item.path.lower()))


def _store_policy(
    spec: PolicySpec, into: ChunkFolder, *, limits: Limits, meter: Meter
) -> Artifact:
    with Source(spec.path, max_bytes=limits.policy_bytes) as source:
        check_policy(source)
        meter.stage(f"Copying {spec.name}", source.size_bytes)
        stored = store_in_chunks(source, into, progress=meter.advance)
    return artifact_of(spec.name, stored)


def _has_appliance(artifacts: Sequence[Artifact]) -> bool:
    return any(
        item.environment is not None and item.environment.role == "appliance"
        for item in artifacts
    )


def _store_installer(into: ChunkFolder) -> Artifact:
    data = installer_bytes()
    stored = store_bytes(io.BytesIO(data), into, size_bytes=len(data))
    return artifact_of(Name(INSTALLER_NAME), stored, kind="installer")
