"""Appending grows one signed tree, whoever appends, inside the caller's transaction."""

import dataclasses
import json
import threading
from pathlib import Path

import pytest
from sqlalchemy import select, text

from appliance.db.session import connect
from appliance.db.tables import CheckpointRow, RecordRow
from appliance.errors import AuditUnavailableError
from appliance.ledger.log.append import append, extend
from appliance.ledger.log.head import read_head, read_note, read_verified_head
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.tree.merkle import Frontier, leaf_hash, tree_root
from appliance.ledger.tree.note import open_checkpoint, parse_vkey
from tests.support.ledgers import NOW, Ledger, refusal, request, response


def test_a_receipt_says_where_the_record_is_and_what_covers_it(ledger: Ledger) -> None:
    receipts = ledger.append([request("r1"), response("r1", parent=1)])
    with ledger.engine.connect() as connection:
        rows = connection.execute(
            select(RecordRow.seq, RecordRow.leaf, RecordRow.bytes_).order_by(
                RecordRow.seq
            )
        ).all()
        signed = open_checkpoint(
            read_note(connection).encode(), key=parse_vkey(ledger.log.vkey)
        )
    assert [row.seq for row in rows] == [0, 1, 2]
    assert [r.leaf for r in receipts] == [leaf_hash(row.bytes) for row in rows[1:]]
    root = tree_root(row.leaf for row in rows)
    assert {(r.size, r.root) for r in receipts} == {(3, root)}
    assert (signed.origin, signed.size, signed.root) == (ledger.log.origin, 3, root)
    assert json.loads(rows[2].bytes)["parent"] == str(rows[1].seq)


def test_one_append_signs_one_checkpoint(ledger: Ledger) -> None:
    ledger.append([refusal()] * 5)
    assert ledger.count("checkpoint") == 2


def test_no_drafts_append_nothing(ledger: Ledger) -> None:
    assert ledger.append([]) == ()
    assert ledger.count("checkpoint") == 1


def test_a_rolled_back_transaction_leaves_no_record(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        append(connection, [request("r1")], log=ledger.log, keys=ledger.keys, now=NOW)
        connection.rollback()
    assert (ledger.count(), ledger.count("open_request")) == (1, 0)


def test_a_request_is_open_until_its_outcome_is_recorded(ledger: Ledger) -> None:
    ledger.append([request("r1"), request("r2")])
    assert ledger.count("open_request") == 2
    ledger.append([response("r1", parent=1), request("r3"), response("r3", parent=4)])
    with ledger.engine.connect() as connection:
        left = connection.execute(text("SELECT request_id, seq FROM open_request"))
        assert left.all() == [("r2", 2)]


@pytest.mark.parametrize(
    "drafts",
    [
        (request("r1"),),
        (request("r2"), request("r2")),
        (response("r9", parent=1),),
        (response("r1", parent=1), response("r1", parent=1)),
    ],
)
def test_a_request_that_opens_or_ends_twice_is_a_bug_and_nothing_is_written(
    ledger: Ledger, drafts: tuple[Draft, ...]
) -> None:
    ledger.append([request("r1")])
    with pytest.raises(ValueError, match="open"):
        ledger.append(drafts)
    assert (ledger.count(), ledger.count("open_request")) == (2, 1)


def test_two_engines_append_to_one_tree(ledger: Ledger) -> None:
    other = connect(Path(str(ledger.engine.url.database)))
    second = dataclasses.replace(ledger, engine=other)

    def work(mine: Ledger, prefix: str) -> None:
        for number in range(20):
            mine.append([request(f"{prefix}{number}")])

    threads = [
        threading.Thread(target=work, args=each)
        for each in ((ledger, "a"), (second, "b"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.dispose()
    with ledger.engine.connect() as connection:
        leaves = connection.execute(
            select(RecordRow.leaf).order_by(RecordRow.seq)
        ).scalars()
        assert (
            tree_root(leaves) == read_verified_head(connection, log=ledger.log).root()
        )
    assert ledger.count() == 41


def test_a_ledger_that_was_rolled_back_is_not_extended(ledger: Ledger) -> None:
    ahead = Frontier().extended([bytes(32)] * 5)
    with ledger.engine.connect() as connection, pytest.raises(AuditUnavailableError):
        extend(
            connection,
            [refusal()],
            log=ledger.log,
            keys=ledger.keys,
            now=NOW,
            seen=ahead,
        )
    assert ledger.count() == 1


@pytest.mark.parametrize(
    "column", ["root = zeroblob(32)", "frontier = zeroblob(32)", "frontier = x''"]
)
def test_a_damaged_head_is_not_extended(ledger: Ledger, column: str) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER checkpoint_no_update"))
        connection.execute(text(f"UPDATE checkpoint SET {column}"))  # noqa: S608 - fixed text
    with pytest.raises(AuditUnavailableError):
        ledger.append([refusal()])
    assert ledger.count() == 1


def test_a_head_signed_by_another_key_is_not_verified(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        forged = read_note(connection).replace("\n1\n", "\n2\n")
        connection.execute(text("DROP TRIGGER checkpoint_no_update"))
        connection.execute(text("UPDATE checkpoint SET note = :n"), {"n": forged})
    with ledger.engine.connect() as connection:
        assert read_head(connection).size == 1
        with pytest.raises(AuditUnavailableError):
            read_verified_head(connection, log=ledger.log)
        assert connection.execute(select(CheckpointRow.size)).scalars().all() == [1]


def test_an_administrative_change_and_its_record_are_one_transaction(
    ledger: Ledger,
) -> None:
    draft = Draft(
        event=Event.TEAM_CREATED,
        outcome=Outcome.OK,
        team="claims",
        fields={"clearance": "pii"},
    )
    insert_team = text(
        "INSERT INTO team (name, clearance, default_class, created_ts)"
        " VALUES ('claims', 'pii', 'pii', 't')"
    )
    ledger_keys = {"log": ledger.log, "keys": ledger.keys, "now": NOW}
    with ledger.engine.connect() as connection:
        connection.execute(insert_team)
        append(connection, [draft], **ledger_keys)  # type: ignore[arg-type]
        connection.rollback()
    assert (ledger.count(), ledger.count("team")) == (1, 0)
    with ledger.engine.begin() as connection:
        connection.execute(insert_team)
        append(connection, [draft], **ledger_keys)  # type: ignore[arg-type]
    assert (ledger.count(), ledger.count("team")) == (2, 1)
