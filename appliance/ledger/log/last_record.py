"""Where an export ends: with the record that it was made.

Evidence is never withheld: the export of a halted ledger, to which nothing can be
appended, ends with its newest record.
"""

import datetime as dt
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, select

from appliance.db.session import reader
from appliance.db.tables import RecordRow
from appliance.ledger.log.append import Receipt, append
from appliance.ledger.log.halt import is_halted
from appliance.ledger.log.head import LogIdentity, read_open_epoch, read_verified_head
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.records.events import Draft


def record_and_end(
    engine: Engine,
    draft: Callable[[Connection], Draft],
    *,
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
) -> tuple[Receipt, Ed25519PrivateKey]:
    """Append a record if that is possible; return the newest, and the key in use.

    The key is held from here on: a server may put another in its place meanwhile.

    Raises:
        AuditUnavailableError: The head is damaged.
        RollbackError: The database is older than its keys, which are gone.
        Error: Whatever ``draft`` refuses.
    """
    if not is_halted(engine):
        with engine.begin() as connection:
            drafts = [draft(connection)]
            end = append(connection, drafts, log=log, keys=keys, now=now)[0]
            return end, keys.signer(read_open_epoch(connection))
    with reader(engine).connect() as connection:
        draft(connection)
        head = read_verified_head(connection, log=log)
        seq = head.size - 1
        leaf = connection.execute(
            select(RecordRow.leaf).where(RecordRow.seq == seq)
        ).scalar_one()
        end = Receipt(seq=seq, leaf=leaf, size=head.size, root=head.root())
        return end, keys.signer(read_open_epoch(connection))
