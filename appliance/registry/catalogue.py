"""What is active on this host: generations, and the models and policies they name.

A generation's manifest is kept as it was signed, and everything here is read
from those bytes; there is no second list that could disagree. All functions
take a connection already in a transaction and never commit: activation, trust
state and receipt are one transaction of the flow that calls them.
"""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, Row, insert, select, update

from appliance.clock import rfc3339
from appliance.db.tables import GenerationRow
from bundleformat.digest import Sha256, parse_sha256, sha256_of
from bundleformat.errors import ConflictError, EquivocationError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import Artifact, Manifest, ModelTerms, parse_manifest

_SELECT = select(
    GenerationRow.id,
    GenerationRow.channel,
    GenerationRow.version,
    GenerationRow.manifest_sha256,
    GenerationRow.manifest,
    GenerationRow.activated_ts,
    GenerationRow.active,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """An imported bundle."""

    id: int
    channel: str
    version: int
    manifest_sha256: Sha256
    manifest: Manifest
    activated_ts: str
    active: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ActiveModel:
    """A model that an active generation offers under ``name``."""

    name: str
    sha256: Sha256
    size_bytes: int
    terms: ModelTerms
    channel: str
    version: int
    generation: int
    activated_ts: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivePolicy:
    """A site policy file of an active generation."""

    name: str
    sha256: Sha256
    size_bytes: int
    channel: str


def active_generations(connection: Connection) -> tuple[Generation, ...]:
    """Return the active generation of every channel, by channel."""
    query = _SELECT.where(GenerationRow.active).order_by(GenerationRow.channel)
    return tuple(_generation(row) for row in connection.execute(query))


def find_generation(
    connection: Connection, *, channel: str, version: int
) -> Generation | None:
    """Return the generation of that version, active or not, or None."""
    query = _SELECT.where(
        GenerationRow.channel == channel, GenerationRow.version == version
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _generation(row)


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

    Kind and name count; other content under the same name is a replacement.
    """
    kept = {(artifact.kind, artifact.name) for artifact in manifest.artifacts}
    return tuple(
        artifact
        for generation in active_generations(connection)
        if generation.channel == manifest.channel
        for artifact in generation.manifest.artifacts
        if (artifact.kind, artifact.name) not in kept
    )


def active_models(connection: Connection) -> tuple[ActiveModel, ...]:
    """Return every model that is offered now, by name."""
    models = (
        ActiveModel(
            name=artifact.name,
            sha256=artifact.sha256,
            size_bytes=artifact.size_bytes,
            terms=artifact.model,
            channel=generation.channel,
            version=generation.version,
            generation=generation.id,
            activated_ts=generation.activated_ts,
        )
        for generation in active_generations(connection)
        for artifact in generation.manifest.artifacts
        if artifact.model is not None
    )
    return tuple(sorted(models, key=lambda model: model.name))


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

    Raises:
        ConflictError: The same kind and name is active from another channel.
    """
    wanted = {(artifact.kind, artifact.name) for artifact in manifest.artifacts}
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
    of_channel = GenerationRow.channel == manifest.channel
    connection.execute(
        update(GenerationRow)
        .where(of_channel, GenerationRow.active)
        .values(active=False)
    )
    values = {"activated_ts": rfc3339(now), "active": True}
    if known is not None:
        connection.execute(
            update(GenerationRow).where(GenerationRow.id == known.id).values(values)
        )
        return known.id
    return connection.execute(
        insert(GenerationRow)
        .values(
            channel=manifest.channel,
            version=manifest.version,
            manifest_sha256=sha256_of(manifest_bytes),
            manifest=manifest_bytes,
            **values,
        )
        .returning(GenerationRow.id)
    ).scalar_one()


def _generation(row: Row[int, str, int, str, bytes, str, bool]) -> Generation:
    identity, channel, version, sha256, manifest, activated_ts, active = row
    return Generation(
        id=identity,
        channel=channel,
        version=version,
        manifest_sha256=parse_sha256(sha256),
        manifest=parse_manifest(manifest, limits=DEFAULT_LIMITS),
        activated_ts=activated_ts,
        active=active,
    )
