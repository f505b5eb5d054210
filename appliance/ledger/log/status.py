"""What the ledger says of itself: for ``sallyport audit status`` and ``checkpoint``.

Both only read; neither takes a lock that a writer would wait for.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from appliance.db.tables import CheckpointRow, OpenRequestRow
from appliance.ledger.log.commission import read_identity
from appliance.ledger.log.head import read_note, read_verified_head


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerStatus:
    """The ledger at one moment.

    Attributes:
        origin: The log's name.
        vkey: Its verifier key; auditors compare it with what they wrote down.
        size: Number of records.
        root: The signed tree head over them.
        ts: When the newest checkpoint was signed.
        open_requests: Requests without an outcome: running, or lost in a crash.
    """

    origin: str
    vkey: str
    size: int
    root: bytes
    ts: str
    open_requests: int


def status(connection: Connection) -> LedgerStatus:
    """Return the state of the ledger, its head verified.

    Raises:
        HostNotReadyError: This host has no ledger yet.
        AuditUnavailableError: The head is damaged or not signed by this log.
    """
    log = read_identity(connection)
    head = read_verified_head(connection, log=log)
    ts = connection.execute(
        select(CheckpointRow.ts).where(CheckpointRow.size == head.size)
    ).scalar_one()
    waiting = connection.execute(
        select(func.count()).select_from(OpenRequestRow)
    ).scalar_one()
    return LedgerStatus(
        origin=log.origin,
        vkey=log.vkey,
        size=head.size,
        root=head.root(),
        ts=ts,
        open_requests=waiting,
    )


def checkpoint(connection: Connection) -> str:
    """Return the newest signed checkpoint: what a person keeps outside the host.

    Raises:
        HostNotReadyError: This host has no ledger yet.
        AuditUnavailableError: The head is damaged or not signed by this log.
    """
    read_verified_head(connection, log=read_identity(connection))
    return read_note(connection)
