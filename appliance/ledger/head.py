"""The ledger's head: which log this is, how far it goes, and whether that holds.

Everything here reads. A head that contradicts itself, its signature or what this
process last saw is never extended.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from appliance.db.tables import CheckpointRow, RecordRow
from appliance.errors import AuditUnavailableError
from appliance.ledger.merkle import Frontier
from appliance.ledger.note import Checkpoint, open_checkpoint, parse_vkey
from bundleformat.errors import RefusalError

_HEAD = (
    select(
        CheckpointRow.size,
        CheckpointRow.root,
        CheckpointRow.frontier,
        CheckpointRow.note,
    )
    .order_by(CheckpointRow.size.desc())
    .limit(1)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogIdentity:
    """Which ledger this is.

    Attributes:
        log_id: Random name, given at commissioning.
        origin: The name that checkpoints and records carry.
        vkey: The verifier key, as the auditor holds it.
    """

    log_id: str
    origin: str
    vkey: str


def read_head(connection: Connection) -> Frontier:
    """Return the edge of the tree as the newest checkpoint row holds it.

    Raises:
        AuditUnavailableError: The row's frontier and root contradict each other.
    """
    row = connection.execute(_HEAD).one_or_none()
    if row is None:
        return Frontier()
    try:
        frontier = Frontier.decode(row.frontier, size=row.size)
    except ValueError as error:
        raise _damaged("the newest checkpoint's frontier is damaged") from error
    if frontier.root() != row.root:
        raise _damaged("the newest checkpoint's frontier and root differ")
    return frontier


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
    if row is None:
        raise _damaged("the ledger has no checkpoint")
    return str(row.note)


def read_verified_head(connection: Connection, *, log: LogIdentity) -> Frontier:
    """Return the head after checking that the log's own key signed it.

    Raises:
        AuditUnavailableError: It did not, or the head contradicts itself.
    """
    head = read_head(connection)
    note = read_note(connection)
    try:
        signed = open_checkpoint(note.encode(), key=parse_vkey(log.vkey))
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
