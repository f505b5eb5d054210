"""The ledger's head: which log this is, how far it goes, and whether that holds.

Everything here reads. A head that contradicts itself, its signature or what this
process last saw is never extended.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from appliance.db.tables import CheckpointRow, EpochKeyRow, RecordRow
from appliance.errors import AuditUnavailableError
from appliance.ledger.tree.merkle import Frontier
from appliance.ledger.tree.note import (
    Checkpoint,
    VerifierKey,
    open_checkpoint,
    parse_vkey,
)
from bundleformat.errors import RefusalError

_NEWEST = select(func.max(CheckpointRow.size)).scalar_subquery()
_LAST = select(func.max(EpochKeyRow.epoch)).scalar_subquery()

# One statement for the head and the key that may go on from it: every commit asks.
_HEAD = (
    select(
        EpochKeyRow.epoch,
        EpochKeyRow.vkey,
        CheckpointRow.size,
        CheckpointRow.root,
        CheckpointRow.frontier,
        CheckpointRow.note,
    )
    .outerjoin_from(EpochKeyRow, CheckpointRow, CheckpointRow.size == _NEWEST)
    .where(EpochKeyRow.epoch == _LAST, EpochKeyRow.to_size.is_(None))
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogIdentity:
    """Which ledger this is.

    Attributes:
        log_id: Random name, given at commissioning.
        origin: The name that checkpoints and records carry.
        vkey: The first verifier key, as the auditor holds it; each later one is
            named by a record under the one before it.
    """

    log_id: str
    origin: str
    vkey: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenEpoch:
    """The epoch whose key signs the next head: its number and verifier key."""

    number: int
    vkey: str


def read_head(connection: Connection) -> Frontier:
    """Return the edge of the tree as the newest checkpoint row holds it.

    Raises:
        AuditUnavailableError: The row's frontier and root contradict each other.
    """
    return read_signing_head(connection)[0]


def read_signing_head(connection: Connection) -> tuple[Frontier, OpenEpoch]:
    """Return the edge of the tree, and whose key signs what comes next.

    Raises:
        AuditUnavailableError: The head contradicts itself, or no key is open.
    """
    row = connection.execute(_HEAD).one_or_none()
    if row is None:
        raise _damaged("the ledger has no open key")
    opened = OpenEpoch(number=row.epoch, vkey=row.vkey)
    if row.size is None:
        return Frontier(), opened
    try:
        frontier = Frontier.decode(row.frontier, size=row.size)
    except ValueError as error:
        raise _damaged("the newest checkpoint's frontier is damaged") from error
    if frontier.root() != row.root:
        raise _damaged("the newest checkpoint's frontier and root differ")
    return frontier, opened


def read_open_epoch(connection: Connection) -> OpenEpoch:
    """Return whose key signs what comes next, without looking at the head.

    Raises:
        AuditUnavailableError: No key is open.
    """
    row = connection.execute(
        select(EpochKeyRow.epoch, EpochKeyRow.vkey).where(
            EpochKeyRow.epoch == _LAST, EpochKeyRow.to_size.is_(None)
        )
    ).one_or_none()
    if row is None:
        raise _damaged("the ledger has no open key")
    return OpenEpoch(number=row.epoch, vkey=row.vkey)


def key_at(connection: Connection, size: int) -> VerifierKey:
    """Return the key that signs a head over ``size`` records.

    Raises:
        AuditUnavailableError: There is none.
    """
    vkey = connection.execute(
        select(EpochKeyRow.vkey)
        .where(EpochKeyRow.from_size < size)
        .order_by(EpochKeyRow.epoch.desc())
        .limit(1)
    ).scalar_one_or_none()
    if vkey is None:
        raise _damaged(f"the ledger has no key for {size} records")
    return parse_vkey(vkey)


def check_continues(connection: Connection, *, seen: Frontier, head: Frontier) -> None:
    """Check that the tree at ``head`` is the one at ``seen``, grown or unchanged.

    Raises:
        AuditUnavailableError: The ledger was rolled back or rewritten meanwhile.
    """
    if head == seen:
        return
    added = connection.execute(
        select(RecordRow.leaf)
        .where(RecordRow.seq >= seen.size, RecordRow.seq < head.size)
        .order_by(RecordRow.seq)
    ).scalars()
    if seen.extended(added) != head:
        raise _damaged("the ledger no longer continues from what was last written")


def read_note(connection: Connection) -> str:
    """Return the newest signed checkpoint, as it was stored.

    Raises:
        AuditUnavailableError: The ledger has none.
    """
    row = connection.execute(_HEAD).one_or_none()
    if row is None or row.note is None:
        raise _damaged("the ledger has no checkpoint")
    return str(row.note)


def read_checkpoint(connection: Connection, *, size: int) -> tuple[bytes, str] | None:
    """Return root and note of the head over ``size`` records, if one was signed."""
    row = connection.execute(
        select(CheckpointRow.root, CheckpointRow.note).where(CheckpointRow.size == size)
    ).one_or_none()
    return None if row is None else (row.root, row.note)


def read_verified_head(connection: Connection, *, log: LogIdentity) -> Frontier:
    """Return the head after checking that the key of its epoch signed it.

    Raises:
        AuditUnavailableError: It did not, or the head contradicts itself.
    """
    head = read_head(connection)
    note = read_note(connection)
    try:
        signed = open_checkpoint(note.encode(), key=key_at(connection, head.size))
    except RefusalError as error:
        raise _damaged("the newest checkpoint is not signed by this log") from error
    if signed != Checkpoint(origin=log.origin, size=head.size, root=head.root()):
        raise _damaged("the newest checkpoint's row and its signed note differ")
    return head


def _damaged(problem: str) -> AuditUnavailableError:
    return AuditUnavailableError(
        problem,
        where="ledger",
        hint="Run: sallyport audit fsck, and compare with the last export.",
    )
