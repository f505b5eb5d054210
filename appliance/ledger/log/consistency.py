"""Shows that what somebody held of this ledger is the beginning of what it is now.

A proof is the body of a C2SP tlog-witness ``add-checkpoint`` request: the old size,
the hashes, an empty line, the new head. Any program that knows RFC 6962 checks it.
Source: C2SP tlog-witness; RFC 6962, section 2.1.2.
"""

import base64

from sqlalchemy import Connection, select

from appliance.db.tables import RecordRow
from appliance.ledger.log.head import key_at, read_checkpoint
from appliance.ledger.log.subtrees import range_root
from appliance.ledger.tree.merkle import (
    consistency_holds,
    consistency_ranges,
)
from appliance.ledger.tree.note import (
    Checkpoint,
    decode_note,
    from_base64,
    open_note,
    parse_checkpoint,
)
from bundleformat.errors import (
    EquivocationError,
    MalformedError,
    RollbackError,
)


def held_checkpoint(connection: Connection, data: bytes, *, where: str) -> Checkpoint:
    """Return the head in ``data``, which this ledger signed and still continues.

    Raises:
        MalformedError: It is no signed checkpoint.
        SignatureError: This ledger did not sign it.
        RollbackError: It covers more records than there are.
        EquivocationError: It covers other records than the ledger has.
    """
    head = parse_checkpoint(decode_note(data).text)
    check_held(connection, head, where=where)
    open_note(data, key=key_at(connection, head.size))
    return head


def check_held(connection: Connection, head: Checkpoint, *, where: str) -> None:
    """Check that ``head`` is one that this ledger signed over its own beginning.

    Raises:
        RollbackError: It covers more records than there are.
        EquivocationError: It covers other records than the ledger has.
    """
    newest = connection.execute(
        select(RecordRow.seq).order_by(RecordRow.seq.desc()).limit(1)
    ).scalar_one()
    if head.size > newest + 1:
        raise RollbackError(
            "this ledger has fewer records than it covers",
            where=where,
            expected=f"at most {newest + 1}",
            actual=str(head.size),
            hint="Keep it, and the database: together they show that records are gone.",
        )
    found = read_checkpoint(connection, size=head.size)
    if found is None or found[0] != head.root:
        raise EquivocationError(
            "this ledger has other records than it covers",
            where=where,
            hint="Keep it, and the database: together they show that history was "
            "rewritten, unless it is of another ledger.",
        )


def consistency_file(
    connection: Connection, held: Checkpoint, *, size: int, note: str
) -> bytes:
    """Return the proof that ``held`` is the beginning of the head in ``note``."""
    hashes = (
        base64.b64encode(range_root(connection, part)).decode()
        for part in consistency_ranges(held.size, size)
    )
    lines = "".join(f"{text}\n" for text in hashes)
    return f"old {held.size}\n{lines}\n{note}".encode()


def check_consistency(data: bytes, *, held: Checkpoint, note: bytes) -> None:
    """Check that the proof in ``data`` leads from ``held`` to the head in ``note``.

    Raises:
        MalformedError: It is no proof from that size to that head.
        EquivocationError: It does not hold.
    """
    proof, _, end = data.partition(b"\n\n")
    first, *lines = proof.decode("utf-8", "replace").split("\n")
    if first != f"old {held.size}" or end != note:
        raise MalformedError(
            "not a proof from the head that was held to this one", where="consistency"
        )
    hashes = [from_base64(line, where="consistency") for line in lines]
    head = parse_checkpoint(decode_note(note).text)
    if not consistency_holds(
        hashes,
        old_size=held.size,
        old_root=held.root,
        size=head.size,
        root=head.root,
    ):
        raise EquivocationError(
            "the head that was held is not the beginning of this one",
            where="consistency",
        )
