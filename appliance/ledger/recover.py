"""What makes a ledger whole again after a crash, and what proves that it is.

``abort_open_requests`` runs at start, before anything is served. ``fsck``
recomputes everything from the stored bytes; it repairs nothing, since a ledger
that does not add up is evidence.
"""

import datetime as dt
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select

from appliance.db.tables import CheckpointRow, OpenRequestRow, RecordRow
from appliance.ledger.log.append import CLOSING, Receipt, append
from appliance.ledger.log.head import LogIdentity, read_verified_head
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.log.rotation import Epoch, read_epochs
from appliance.ledger.log.subtrees import KeptSubtrees
from appliance.ledger.records.catalogue import PRUNABLE
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.retention.check import check_retention
from appliance.ledger.tree.merkle import Frontier, leaf_hash
from appliance.ledger.tree.note import Checkpoint, open_checkpoint, parse_vkey
from appliance.ledger.watch.halt_check import check_halts
from bundleformat.errors import DigestMismatchError, MissingError, SignatureError

_STREAMED = {"yield_per": 1_000}
"""How rows are fetched, so that a ledger of any size fits in memory."""

_INDEXED = ("seq", "ts", "event", "outcome", "team", "request_id")
"""The columns of ``record`` that must repeat what its bytes say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FsckReport:
    """What was recomputed and found equal.

    Attributes:
        records: Number of records.
        pruned: Of how many of them only the hash is left, as others say.
        checkpoints: Number of signed checkpoints, all verified.
        epochs: Number of keys that signed them, one after the other.
        root: The tree head over all records.
        open_requests: Requests whose outcome is not recorded yet.
    """

    records: int
    pruned: int
    checkpoints: int
    epochs: int
    root: bytes
    open_requests: int


def abort_open_requests(
    connection: Connection,
    *,
    log: LogIdentity,
    keys: LedgerKeys,
    now: dt.datetime,
) -> tuple[Receipt, ...]:
    """Record ``llm.aborted`` for every request that has no outcome.

    The caller MUST hold the host's serve lock: a request that another process is
    still answering would be ended too.
    """
    drafts = aborted_drafts(connection, reason="restart")
    return append(connection, drafts, log=log, keys=keys, now=now)


def aborted_drafts(
    connection: Connection,
    *,
    reason: str,
    request_ids: Collection[str] | None = None,
) -> tuple[Draft, ...]:
    """Return ``llm.aborted`` for open requests: all, or those of ``request_ids``."""
    if request_ids is not None and not request_ids:
        return ()
    rows = connection.execute(
        select(
            OpenRequestRow.request_id, OpenRequestRow.seq, OpenRequestRow.team
        ).order_by(OpenRequestRow.seq)
    ).all()
    return tuple(
        Draft(
            event=Event.LLM_ABORTED,
            outcome=Outcome.ABORTED,
            team=row.team,
            request_id=row.request_id,
            fields={"parent": str(row.seq), "reason": reason},
        )
        for row in rows
        if request_ids is None or row.request_id in request_ids
    )


def fsck(connection: Connection, *, log: LogIdentity) -> FsckReport:
    """Recompute every leaf, root, index column and signature of the ledger.

    Raises:
        AuditUnavailableError: The head contradicts itself or is not signed.
        DigestMismatchError: A record, a column or a checkpoint was changed.
        MissingError: A record is missing.
        SignatureError: A checkpoint is not signed by the key of its epoch, or a key
            is not vouched for by the one before it.
    """
    head = read_verified_head(connection, log=log)
    epochs = read_epochs(connection)
    _check_epochs(epochs, log=log)
    named = {0: log.vkey}
    checkpoints = _checkpoints(connection, epochs)
    due = next(checkpoints, None)
    tree, verified, unanswered = Frontier(), 0, set[str]()
    subtrees = KeptSubtrees(connection)
    records = select(RecordRow.__table__).order_by(RecordRow.seq)
    for row in connection.execute(records, execution_options=_STREAMED).mappings():
        if row["seq"] != tree.size:
            raise MissingError("a record is missing", where=f"record {tree.size}")
        _check_record(row, log=log)
        _follow_request(row, unanswered)
        if row["event"] == Event.KEY_ROTATE:
            named[tree.size] = json.loads(row["bytes"])["vkey"]
        tree = tree.extended([row["leaf"]], grown=subtrees.check)
        if due is not None and due.size == tree.size:
            _check_root(due, tree)
            due, verified = next(checkpoints, None), verified + 1
    if due is not None or tree != head:
        raise MissingError(
            "records are missing at the end",
            where="ledger",
            expected=f"{head.size} records",
            actual=str(tree.size),
        )
    subtrees.check_no_more()
    if named != {epoch.rotate_seq: epoch.vkey for epoch in epochs}:
        raise SignatureError(
            "the records name other keys than the table", where="epoch_key"
        )
    _check_open_requests(connection, unanswered)
    check_halts(connection)
    return FsckReport(
        records=tree.size,
        pruned=check_retention(connection),
        checkpoints=verified,
        epochs=len(epochs),
        root=tree.root(),
        open_requests=len(unanswered),
    )


def _check_epochs(epochs: Sequence[Epoch], *, log: LogIdentity) -> None:
    """Check that the keys follow one another from the ledger's own."""
    size = 0
    for number, epoch in enumerate(epochs):
        follows = (epoch.number, epoch.from_size) == (number, size)
        first = epoch.vkey == log.vkey if number == 0 else epoch.rotate_seq == size - 1
        closed = epoch.to_size is not None
        if not (follows and first and closed == (epoch is not epochs[-1])):
            raise SignatureError("a key does not follow the last", where="epoch_key")
        size = epoch.to_size or size


def _checkpoints(
    connection: Connection, epochs: Sequence[Epoch]
) -> Iterator[Checkpoint]:
    """Yield every checkpoint, smallest first, its signature and columns verified.

    Raises:
        SignatureError: One is not signed, or one at the end of an epoch is missing.
    """
    left = list(reversed(epochs))
    epoch = left.pop()
    last = 0
    rows = select(CheckpointRow.size, CheckpointRow.root, CheckpointRow.note).order_by(
        CheckpointRow.size
    )
    for row in connection.execute(rows, execution_options=_STREAMED):
        if epoch.to_size is not None and row.size > epoch.to_size:
            if last != epoch.to_size:
                raise SignatureError(
                    "no head was signed where a key ended",
                    where=f"checkpoint {epoch.to_size}",
                )
            epoch = left.pop()
        last = row.size
        signed = open_checkpoint(row.note.encode(), key=parse_vkey(epoch.vkey))
        if (signed.size, signed.root) != (row.size, row.root):
            raise DigestMismatchError(
                "a row and its signed note differ", where=f"checkpoint {row.size}"
            )
        yield signed


def _check_record(row: RowMapping, *, log: LogIdentity) -> None:
    where = f"record {row['seq']}"
    if row["bytes"] is None:
        _check_may_lack(row, where=where)
        return
    if leaf_hash(row["bytes"]) != row["leaf"]:
        raise DigestMismatchError(
            "the bytes do not hash to the leaf",
            where=where,
            expected=row["leaf"].hex(),
            actual=leaf_hash(row["bytes"]).hex(),
        )
    record = json.loads(row["bytes"])
    said = {name: record.get(name) for name in _INDEXED} | {"log": record.get("log")}
    kept = {name: row[name] for name in _INDEXED}
    kept |= {"seq": str(row["seq"]), "log": log.origin}
    for name, value in kept.items():
        if said[name] != value:
            raise DigestMismatchError(
                f"the record says another {name} than its row", where=where
            )


def _check_may_lack(row: RowMapping, *, where: str) -> None:
    """Check that a record without bytes is one that can have been pruned."""
    if row["event"] not in PRUNABLE:
        raise MissingError("a record that is never pruned has no bytes", where=where)


def _follow_request(row: RowMapping, unanswered: set[str]) -> None:
    if row["event"] == Event.LLM_REQUEST:
        unanswered.add(row["request_id"])
    elif row["event"] in CLOSING:
        unanswered.discard(row["request_id"])


def _check_root(checkpoint: Checkpoint, tree: Frontier) -> None:
    if checkpoint.root != tree.root():
        raise DigestMismatchError(
            "the records do not hash to the signed root",
            where=f"checkpoint {checkpoint.size}",
            expected=checkpoint.root.hex(),
            actual=tree.root().hex(),
        )


def _check_open_requests(connection: Connection, unanswered: set[str]) -> None:
    listed = set(connection.execute(select(OpenRequestRow.request_id)).scalars())
    if listed != unanswered:
        raise DigestMismatchError(
            "the list of open requests is not what the records say",
            where="open_request",
            expected=str(len(unanswered)),
            actual=str(len(listed)),
        )
