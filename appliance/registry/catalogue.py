"""What is active on this host: generations, and the models and policies they name.

A generation's manifest is kept as it was signed, and everything here is read
from those bytes; there is no second list that could disagree. The one exception
is a model that was removed by hand, which is known by its digest and offered by
no generation until it is restored. All functions take a connection already in a
transaction and never commit: activation, trust state and receipt are one
transaction of the flow that calls them.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, Row, Select, insert, select, update

from appliance.clock import rfc3339
from appliance.db.tables import ActivationRow, GenerationRow, RemovedModelRow
from bundleformat.digest import Sha256, parse_sha256, sha256_of
from bundleformat.errors import ConflictError, EquivocationError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import (
    Artifact,
    Kind,
    Manifest,
    ModelTerms,
    model_digest,
    parse_manifest,
)

SHARED_NAMES: Final[frozenset[Kind]] = frozenset({"model", "policy"})
"""Kinds whose names are one namespace for the whole host.

Wheels, locks and documents belong to the generation that brought them.
"""

OFFERED: Final[frozenset[Kind]] = SHARED_NAMES | {"lock"}
"""Kinds that somebody asks for by name, and misses when they are gone."""

SELECT_GENERATION: Final = select(
    GenerationRow.id,
    GenerationRow.channel,
    GenerationRow.version,
    GenerationRow.manifest_sha256,
    GenerationRow.manifest,
    GenerationRow.activated_ts,
    GenerationRow.active,
    GenerationRow.collected_ts,
)


class Reason(StrEnum):
    """Why a generation became the active one."""

    IMPORT = "import"
    ACTIVATE = "activate"
    ROLLBACK = "rollback"


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """An imported bundle; some of its files may be gone since ``collected_ts``."""

    id: int
    channel: str
    version: int
    manifest_sha256: Sha256
    manifest: Manifest
    activated_ts: str
    active: bool
    collected_ts: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A file of the store that somebody needs whole."""

    sha256: Sha256
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ActiveModel:
    """A model that a generation offers under ``name``.

    Attributes:
        name: What callers ask for.
        sha256: Its identity, ``model_digest``; of a model in one file also that
            file's name in the store.
        size_bytes: Of all its files together.
        terms: What the publisher states of it.
        channel: The channel that delivered it.
        version: In which version.
        generation: As which generation.
        activated_ts: When that became active.
        parts: Its files in order; one, unless it is split.
    """

    name: str
    sha256: Sha256
    size_bytes: int
    terms: ModelTerms
    channel: str
    version: int
    generation: int
    activated_ts: str
    parts: tuple[StoredFile, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivePolicy:
    """A site policy file of an active generation."""

    name: str
    sha256: Sha256
    size_bytes: int
    channel: str


def active_generations(connection: Connection) -> tuple[Generation, ...]:
    """Return the active generation of every channel, by channel."""
    query = SELECT_GENERATION.where(GenerationRow.active)
    return read_generations(connection, query.order_by(GenerationRow.channel))


def find_generation(
    connection: Connection, *, channel: str, version: int
) -> Generation | None:
    """Return the generation of that version, active or not, or None."""
    query = SELECT_GENERATION.where(
        GenerationRow.channel == channel, GenerationRow.version == version
    )
    found = read_generations(connection, query)
    return found[0] if found else None


def known_generation(
    connection: Connection, manifest: Manifest, *, manifest_bytes: bytes
) -> Generation | None:
    """Return the generation that ``manifest`` already is, active or not, or None.

    The digest is compared here because a trust state may have forgotten what it
    accepted: a rotated bundler key discards the timestamp it had signed.

    Raises:
        EquivocationError: This host accepted that version with other content.
    """
    known = find_generation(
        connection, channel=manifest.channel, version=manifest.version
    )
    sha256 = sha256_of(manifest_bytes)
    if known is not None and known.manifest_sha256 != sha256:
        raise EquivocationError(
            "this machine accepted another bundle of this version",
            where=f"{manifest.channel} {manifest.version}",
            expected=f"manifest {known.manifest_sha256}",
            actual=f"manifest {sha256}",
            hint="Keep this medium and tell the publisher: what changed needs a "
            "new version.",
        )
    return known


def withdrawn_by(connection: Connection, manifest: Manifest) -> tuple[Artifact, ...]:
    """Return what the channel's active generation offers and ``manifest`` does not.

    Kind and name count; other content under the same name is a replacement. What
    nobody asks for by its name, such as a wheel, is not listed.
    """
    kept = {(artifact.kind, artifact.name) for artifact in manifest.artifacts}
    return tuple(
        artifact
        for generation in active_generations(connection)
        if generation.channel == manifest.channel
        for artifact in generation.manifest.artifacts
        if artifact.kind in OFFERED and (artifact.kind, artifact.name) not in kept
    )


def active_models(connection: Connection) -> tuple[ActiveModel, ...]:
    """Return every model that is offered now, by name."""
    removed = removed_digests(connection)
    return tuple(
        model for model in _every_model(connection) if model.sha256 not in removed
    )


def removed_models(connection: Connection) -> tuple[ActiveModel, ...]:
    """Return every model that would be offered, had it not been removed by hand."""
    removed = removed_digests(connection)
    return tuple(model for model in _every_model(connection) if model.sha256 in removed)


def removed_digests(connection: Connection) -> frozenset[Sha256]:
    """Return the identities of the models that were removed by hand."""
    found = connection.execute(select(RemovedModelRow.sha256)).scalars()
    return frozenset(parse_sha256(sha256) for sha256 in found)


def models_of(generation: Generation) -> tuple[ActiveModel, ...]:
    """Return the models a generation delivers, removed or not, by name."""
    manifest = generation.manifest
    sizes = {each.sha256: each.size_bytes for each in manifest.artifacts}
    models = []
    for artifact in manifest.artifacts:
        if artifact.model is None:
            continue
        parts = tuple(
            StoredFile(sha256=sha256, size_bytes=sizes[sha256])
            for sha256 in artifact.model.parts or (artifact.sha256,)
        )
        models.append(
            ActiveModel(
                name=artifact.name,
                sha256=model_digest(artifact),
                size_bytes=sum(part.size_bytes for part in parts),
                terms=artifact.model,
                channel=generation.channel,
                version=generation.version,
                generation=generation.id,
                activated_ts=generation.activated_ts,
                parts=parts,
            )
        )
    return tuple(sorted(models, key=lambda model: model.name))


def files_of(
    generation: Generation, *, removed: frozenset[Sha256]
) -> Mapping[Sha256, StoredFile]:
    """Return the files that a generation needs in the store to be served.

    Those of a model that was removed by hand are not needed, unless something
    else of the generation has the same bytes.
    """
    needed = {
        each.sha256: StoredFile(sha256=each.sha256, size_bytes=each.size_bytes)
        for each in generation.manifest.artifacts
        if each.kind not in {"model", "part"}
    }
    for model in models_of(generation):
        if model.sha256 not in removed:
            needed |= {part.sha256: part for part in model.parts}
    return needed


def active_policies(connection: Connection) -> tuple[ActivePolicy, ...]:
    """Return every site policy file in force now, by name."""
    policies = (
        ActivePolicy(
            name=artifact.name,
            sha256=artifact.sha256,
            size_bytes=artifact.size_bytes,
            channel=generation.channel,
        )
        for generation in active_generations(connection)
        for artifact in generation.manifest.artifacts
        if artifact.kind == "policy"
    )
    return tuple(sorted(policies, key=lambda policy: policy.name))


def check_names(connection: Connection, manifest: Manifest) -> None:
    """Refuse a manifest whose names another channel already uses.

    Only models and policies share their names with every channel.

    Raises:
        ConflictError: The same kind and name is active from another channel.
    """
    wanted = {
        (artifact.kind, artifact.name)
        for artifact in manifest.artifacts
        if artifact.kind in SHARED_NAMES
    }
    for generation in active_generations(connection):
        if generation.channel == manifest.channel:
            continue
        for artifact in generation.manifest.artifacts:
            if (artifact.kind, artifact.name) in wanted:
                raise ConflictError(
                    f"another channel already delivers this {artifact.kind}",
                    where=artifact.name,
                    actual=generation.channel,
                    hint="Rename it in one of the two bundles.",
                )


def activate(
    connection: Connection,
    *,
    manifest: Manifest,
    manifest_bytes: bytes,
    now: dt.datetime,
) -> int:
    """Make ``manifest`` the active generation of its channel and return its id.

    The generation that was active stays, inactive. The caller MUST have
    verified the manifest and admitted every artifact it lists.

    Raises:
        EquivocationError: This host accepted that version with other content.
    """
    known = known_generation(connection, manifest, manifest_bytes=manifest_bytes)
    if known is None:
        generation = connection.execute(
            insert(GenerationRow)
            .values(
                channel=manifest.channel,
                version=manifest.version,
                manifest_sha256=sha256_of(manifest_bytes),
                manifest=manifest_bytes,
                activated_ts=rfc3339(now),
                active=False,
            )
            .returning(GenerationRow.id)
        ).scalar_one()
    else:
        generation = known.id
    make_active(
        connection,
        channel=manifest.channel,
        generation=generation,
        reason=Reason.IMPORT,
        now=now,
    )
    return generation


def make_active(
    connection: Connection,
    *,
    channel: str,
    generation: int,
    reason: Reason,
    now: dt.datetime,
) -> None:
    """Make a generation the active one of its channel, and the newest activation.

    The caller MUST have checked that every file it needs is in the store.
    """
    of_channel = GenerationRow.channel == channel
    connection.execute(
        update(GenerationRow)
        .where(of_channel, GenerationRow.active)
        .values(active=False)
    )
    connection.execute(
        update(GenerationRow)
        .where(of_channel, GenerationRow.id == generation)
        .values(activated_ts=rfc3339(now), active=True, collected_ts=None)
    )
    connection.execute(
        insert(ActivationRow).values(
            generation=generation, reason=str(reason), activated_ts=rfc3339(now)
        )
    )


def read_generations(
    connection: Connection,
    query: Select[int, str, int, str, bytes, str, bool, str | None],
) -> tuple[Generation, ...]:
    """Return the generations that a form of ``SELECT_GENERATION`` finds."""
    return tuple(_generation(row) for row in connection.execute(query))


def _every_model(connection: Connection) -> tuple[ActiveModel, ...]:
    models = (
        model
        for generation in active_generations(connection)
        for model in models_of(generation)
    )
    return tuple(sorted(models, key=lambda model: model.name))


def _generation(
    row: Row[int, str, int, str, bytes, str, bool, str | None],
) -> Generation:
    identity, channel, version, sha256, manifest, activated_ts, active, collected = row
    return Generation(
        id=identity,
        channel=channel,
        version=version,
        manifest_sha256=parse_sha256(sha256),
        manifest=parse_manifest(manifest, limits=DEFAULT_LIMITS),
        activated_ts=activated_ts,
        active=active,
        collected_ts=collected,
    )
