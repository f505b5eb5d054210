"""What makes an import visible, and what undoes the loss of a stored file.

Each function that changes the database does so in one transaction, the record of
the change included.
"""

from collections.abc import Collection

from sqlalchemy import Connection

from appliance.db.session import database_faults
from appliance.import_steps.host import Copies, ImportHost, Step
from appliance.import_steps.records import (
    Receipt,
    expiry_draft,
    imported_draft,
    refused_draft,
    repaired_draft,
    updated_draft,
)
from appliance.intake import trust_state
from appliance.intake.trust_state import ChannelTrust
from appliance.ledger.records.events import Draft, Outcome
from appliance.ledger.records.fields import JSON
from appliance.registry import catalogue
from bundleformat.digest import Sha256
from bundleformat.errors import ConflictError, Error
from bundleformat.manifest import Artifact
from bundleformat.verify import VerifiedBundle


def record(host: ImportHost, draft: Draft) -> None:
    """Append one record, in a transaction of its own."""
    with database_faults(host.database), host.database.begin() as connection:
        host.append_records(connection, (draft,))


def record_refusal(
    host: ImportHost,
    error: Error,
    *,
    outcome: Outcome,
    step: Step,
    known: dict[str, JSON],
) -> None:
    """Record that a bundle was refused, in a transaction of its own."""
    refused = refused_draft(
        code=error.code,
        outcome=outcome,
        step=step,
        known=known,
        operator_uid=host.operator_uid,
    )
    record(host, refused)


def admit(host: ImportHost, copies: Copies) -> int:
    """Move every copy that is not there yet into the store; return how many."""
    moved = [each for each in copies if not is_stored(host, each, copies)]
    for sha256 in moved:
        host.store.admit(copies[sha256], sha256)
    return len(moved)


def activate(
    host: ImportHost,
    bundle: VerifiedBundle,
    *,
    trust: ChannelTrust,
    receipt: Receipt,
) -> int:
    """Commit generation, trust state, floor and receipt; return the generation's id.

    If the bundle had expired, that it was accepted is on record in the same
    transaction.

    Raises:
        ConflictError: The trust state is no longer ``trust``.
    """
    now = host.clock.now()
    with database_faults(host.database), host.database.begin() as connection:
        _replace_trust(connection, bundle, trust=trust)
        generation = catalogue.activate(
            connection,
            manifest=bundle.manifest,
            manifest_bytes=bundle.manifest_bytes,
            now=now,
        )
        drafts = (
            *_expiry_drafts(host, bundle, receipt),
            imported_draft(bundle, receipt, generation=generation),
        )
        host.append_records(connection, drafts)
    return generation


def update_trust(
    host: ImportHost,
    bundle: VerifiedBundle,
    *,
    trust: ChannelTrust,
    receipt: Receipt | None,
) -> None:
    """Commit the trust state and floor of a bundle that makes no generation.

    Without a ``receipt``, that an expired bundle was accepted is on record already.

    Raises:
        ConflictError: The trust state is no longer ``trust``.
    """
    accepted = _expiry_drafts(host, bundle, receipt) if receipt else ()
    updated = updated_draft(bundle, operator_uid=host.operator_uid)
    with database_faults(host.database), host.database.begin() as connection:
        _replace_trust(connection, bundle, trust=trust)
        host.append_records(connection, (*accepted, updated))


def repair(
    host: ImportHost,
    bundle: VerifiedBundle,
    copies: Copies,
    *,
    generation: int,
    moved: Collection[Sha256],
    receipt: Receipt,
) -> tuple[str, ...]:
    """Replace what the store has lost of an active bundle; return its names.

    The files move inside the transaction of their record: a ledger that takes no
    record leaves the store as it was, and a disk that refuses leaves no record. What
    cannot be committed in the end is ``moved`` for the next run. If the bundle had
    expired, that it was accepted is on record before them.
    """
    replaced: list[Artifact] = [
        artifact
        for artifact in bundle.manifest.artifacts
        if artifact.sha256 in moved
        or (artifact.sha256 in copies and not is_stored(host, artifact.sha256, copies))
    ]
    drafts = (
        *_expiry_drafts(host, bundle, receipt),
        repaired_draft(
            bundle, replaced, generation=generation, operator_uid=receipt.operator_uid
        ),
    )
    with database_faults(host.database), host.database.begin() as connection:
        host.append_records(connection, drafts)
        admit(host, copies)
    return tuple(artifact.name for artifact in replaced)


def is_stored(host: ImportHost, sha256: Sha256, copies: Copies) -> bool:
    """Return whether a copy is the store's own file and not one to admit."""
    return copies[sha256] == host.store.path_of(sha256)


def _replace_trust(
    connection: Connection, bundle: VerifiedBundle, *, trust: ChannelTrust
) -> None:
    if trust_state.load(connection, trust.channel) != trust:
        raise ConflictError(
            "the trust state changed during the import",
            where=trust.channel,
            hint="Import again.",
        )
    trust_state.save(
        connection, channel=trust.channel, state=bundle.state, floor=bundle.floor
    )


def _expiry_drafts(
    host: ImportHost, bundle: VerifiedBundle, receipt: Receipt
) -> tuple[Draft, ...]:
    if not bundle.expired:
        return ()
    days = None if receipt.accept_expired else host.settings.grace_days
    return (expiry_draft(bundle, receipt, grace_days=days),)
