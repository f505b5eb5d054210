"""Says what a build would take, before anything is downloaded, copied or signed."""

import math
from dataclasses import dataclass
from typing import Any

from bundleformat.artifact import Chunk
from bundleformat.digest import sha256_of
from bundleformat.limits import Limits
from bundler.build_flow import check_chunk_count
from bundler.contents.models import WantedModel, locate_models
from bundler.contents.spec import BundleSpec
from bundler.media.volume_plan import plan_volumes
from bundler.progress import size
from bundler.sources.located import LocatedFile, OnDisk
from bundler.sources.opened import Source

METADATA_BYTES_PER_CHUNK = 512
"""What one chunk adds to manifest and targets metadata, roughly. Unit: bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFile:
    """A source file, its size, and whether it has still to be downloaded."""

    name: str
    size_bytes: int
    remote: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundItem:
    """A model or policy of the spec, with everything known of it so far."""

    kind: str
    name: str
    origin: str
    files: tuple[FoundFile, ...]
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Size of all its files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundPlan:
    """What a build would take.

    Attributes:
        channel: The channel.
        version: The version.
        items: What would be delivered, as far as it has a size already.
        environments: Names of environments, whose wheels a build resolves.
        chunks: How many chunks the items make.
        volumes: About how many volumes; None if no size was given.
    """

    channel: str
    version: int
    items: tuple[FoundItem, ...]
    environments: tuple[str, ...]
    chunks: int
    volumes: int | None

    @property
    def size_bytes(self) -> int:
        """Size of all items."""
        return sum(item.size_bytes for item in self.items)

    @property
    def download_bytes(self) -> int:
        """Size of what may have to be downloaded first."""
        files = (file for item in self.items for file in item.files)
        return sum(file.size_bytes for file in files if file.remote)


def plan_build(
    spec: BundleSpec, *, chunk_bytes: int, volume_bytes: int | None, limits: Limits
) -> FoundPlan:
    """Return what building ``spec`` would take.

    Raises:
        RefusalError: A source cannot be delivered.
        HubFaultError: A hub cannot be reached.
    """
    models = locate_models(spec.models, limits=limits)
    check_chunk_count(models, chunk_bytes=chunk_bytes, limits=limits)
    items = (
        *(_model_item(model) for model in models),
        *_policy_items(spec, limits=limits),
    )
    sizes = [
        min(chunk_bytes, file.size_bytes - index * chunk_bytes)
        for item in items
        for file in item.files
        for index in range(math.ceil(file.size_bytes / chunk_bytes))
    ]
    return FoundPlan(
        channel=spec.channel,
        version=spec.version,
        items=items,
        environments=tuple(wheels.name for wheels in spec.wheels),
        chunks=len(sizes),
        volumes=None if volume_bytes is None else _volumes(sizes, volume_bytes),
    )


def plan_value(plan: FoundPlan) -> dict[str, Any]:
    """Return what ``--json`` shows of a plan."""
    return {
        "channel": plan.channel,
        "version": plan.version,
        "size_bytes": plan.size_bytes,
        "download_bytes": plan.download_bytes,
        "chunks": plan.chunks,
        "volumes": plan.volumes,
        "environments": list(plan.environments),
        "items": [
            {
                "kind": item.kind,
                "name": item.name,
                "origin": item.origin,
                "size_bytes": item.size_bytes,
                "files": [
                    {"name": f.name, "size_bytes": f.size_bytes, "remote": f.remote}
                    for f in item.files
                ],
                "notes": list(item.notes),
            }
            for item in plan.items
        ],
    }


def plan_lines(plan: FoundPlan) -> tuple[str, ...]:
    """Return what a person reads of a plan."""
    lines = [f"channel {plan.channel}, version {plan.version}"]
    for item in plan.items:
        lines.append(f"{item.kind} {item.name}  {size(item.size_bytes)}")
        lines += [f"  {_file_line(file)}" for file in item.files]
        lines += [f"  note: {note}" for note in item.notes]
    lines += [
        f"environment {name}: a build resolves its wheels" for name in plan.environments
    ]
    lines.append(
        f"{size(plan.size_bytes)} in {_counted(plan.chunks, 'chunk')}; "
        f"{size(plan.download_bytes)} of it to download, unless they are here already"
    )
    if plan.volumes is not None:
        lines.append(f"about {_counted(plan.volumes, 'volume')}")
    return tuple(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _file_line(file: FoundFile) -> str:
    return f"{file.name}  {size(file.size_bytes)}"


def _model_item(model: WantedModel) -> FoundItem:
    return FoundItem(
        kind="model",
        name=model.spec.name,
        origin=model.spec.origin or model.located.origin or "",
        files=tuple(_found(file) for file in model.located.files),
        notes=model.located.notes,
    )


def _found(file: LocatedFile) -> FoundFile:
    here = isinstance(file, OnDisk)
    name = str(file.path) if isinstance(file, OnDisk) else file.file.origin
    return FoundFile(name=name, size_bytes=file.size_bytes, remote=not here)


def _policy_items(spec: BundleSpec, *, limits: Limits) -> tuple[FoundItem, ...]:
    items = []
    for policy in spec.policies:
        with Source(policy.path, max_bytes=limits.policy_bytes) as source:
            file = FoundFile(
                name=str(policy.path), size_bytes=source.size_bytes, remote=False
            )
        items.append(
            FoundItem(kind="policy", name=policy.name, origin="", files=(file,))
        )
    return tuple(items)


def _volumes(sizes: list[int], volume_bytes: int) -> int:
    """Return about how many volumes; the digests, and so the folders, are made up."""
    chunks = [
        Chunk(sha256=sha256_of(str(index).encode()), size_bytes=size_bytes)
        for index, size_bytes in enumerate(sizes)
    ]
    shared = [METADATA_BYTES_PER_CHUNK * len(chunks) + 65_536]
    return len(plan_volumes(chunks, volume_bytes=volume_bytes, shared_sizes=shared))
