"""Hashes of the tree: what is kept is what the leaves say, and proofs read no more."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, create_engine, event, select, text

from appliance.db.session import alembic_config
from appliance.db.tables import RecordRow, SubtreeRow
from appliance.ledger.log.head import read_head
from appliance.ledger.log.subtrees import KEPT_LEAVES, inclusion_path, range_root
from appliance.ledger.recover import fsck
from appliance.ledger.tree.merkle import (
    consistency_holds,
    consistency_ranges,
    inclusion_holds,
    inclusion_proof,
    tree_root,
)
from bundleformat.errors import DigestMismatchError, MissingError
from tests.support.ledgers import Ledger, refusal

RECORDS = 5 * KEPT_LEAVES + 77


@pytest.fixture
def grown(ledger: Ledger) -> Ledger:
    """A ledger of many records, appended by ones and by hundreds."""
    for count in itertools.cycle((1, 97, 300)):
        left = RECORDS - ledger.count()
        if not left:
            return ledger
        ledger.append([refusal()] * min(count, left))
    raise AssertionError


def untriggered(connection: Connection, change: str) -> None:
    """Change the table as somebody would who can write the database's file."""
    for verb in ("update", "delete"):
        connection.execute(text(f"DROP TRIGGER subtree_no_{verb}"))
    connection.execute(text(change))


def leaves_of(connection: Connection) -> Sequence[bytes]:
    return (
        connection.execute(select(RecordRow.leaf).order_by(RecordRow.seq))
        .scalars()
        .all()
    )


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE subtree SET root = zeroblob(32) WHERE leaves = 512 AND place = 512",
        "UPDATE subtree SET place = 1 WHERE leaves = 256 AND place = 0",
        "DELETE FROM subtree WHERE leaves = 1024",
        "INSERT INTO subtree VALUES (2048, 0, zeroblob(32))",
    ],
)
def test_a_hash_that_is_not_the_records_is_found(grown: Ledger, change: str) -> None:
    with grown.engine.begin() as connection:
        untriggered(connection, change)
    with (
        grown.engine.connect() as connection,
        pytest.raises((DigestMismatchError, MissingError)),
    ):
        fsck(connection, log=grown.log)


def test_a_hash_that_is_gone_makes_no_proof(grown: Ledger) -> None:
    with grown.engine.begin() as connection:
        untriggered(connection, "DELETE FROM subtree WHERE leaves = 1024")
    with grown.engine.connect() as connection:
        with pytest.raises(MissingError, match="records 0 to 1023"):
            inclusion_path(connection, RECORDS - 1, size=RECORDS)
        with pytest.raises(MissingError, match="records 1280 to 1407"):
            range_root(connection, range(1280, RECORDS + 60))


@pytest.mark.parametrize(
    "verb", ["UPDATE subtree SET root = x''", "DELETE FROM subtree"]
)
def test_the_hashes_are_append_only(grown: Ledger, verb: str) -> None:
    with (
        grown.engine.begin() as connection,
        pytest.raises(Exception, match="append-only"),
    ):
        connection.execute(text(verb))


def test_what_is_kept_is_what_the_leaves_say(grown: Ledger) -> None:
    with grown.engine.connect() as connection:
        leaves = leaves_of(connection)
        rows = connection.execute(select(SubtreeRow.__table__)).all()
        assert fsck(connection, log=grown.log).records == RECORDS
    assert sorted((leaves_, place) for leaves_, place, _ in rows) == [
        *((256, place) for place in range(0, 1280, 256)),
        *((512, place) for place in (0, 512)),
        (1024, 0),
    ]
    for width, place, root in rows:
        assert root == tree_root(leaves[place : place + width])


def test_every_proof_is_that_of_the_whole_tree(grown: Ledger) -> None:
    with grown.engine.connect() as connection:
        leaves = leaves_of(connection)
        root = read_head(connection).root()
        for index in (0, 1, 255, 256, 511, 1023, 1024, 1279, 1280, RECORDS - 1):
            path = inclusion_path(connection, index, size=RECORDS)
            assert path == inclusion_proof(leaves, index)
            assert inclusion_holds(
                leaves[index], path, index=index, size=RECORDS, root=root
            )
        for old in (1, 255, 256, 300, 1024, 1280, 1300, RECORDS - 1):
            proof = [
                range_root(connection, part)
                for part in consistency_ranges(old, RECORDS)
            ]
            assert consistency_holds(
                proof,
                old_size=old,
                old_root=tree_root(leaves[:old]),
                size=RECORDS,
                root=root,
            )


@pytest.fixture
def leaves_read(grown: Ledger) -> Iterator[list[int]]:
    """How many leaves each statement asked for."""
    asked: list[int] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if "SELECT record.leaf" in statement:
            first, last = parameters
            asked.append(last - first)

    event.listen(grown.engine, "before_cursor_execute", note)
    yield asked
    event.remove(grown.engine, "before_cursor_execute", note)


def test_a_proof_reads_few_leaves_however_many_there_are(
    grown: Ledger, leaves_read: list[int]
) -> None:
    with grown.engine.connect() as connection:
        for index in (0, 700, RECORDS - 1):
            leaves_read.clear()
            inclusion_path(connection, index, size=RECORDS)
            assert sum(leaves_read) < 2 * KEPT_LEAVES
        leaves_read.clear()
        for part in consistency_ranges(700, RECORDS):
            range_root(connection, part)
        assert sum(leaves_read) < 3 * KEPT_LEAVES


def test_the_migration_makes_the_hashes_of_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "sallyport.db"
    command.upgrade(alembic_config(path), "0009")
    engine = create_engine(f"sqlite:///{path}")
    leaves = [bytes([seq % 251]) * 32 for seq in range(600)]
    with engine.begin() as connection:
        for seq, leaf in enumerate(leaves):
            connection.execute(
                text(
                    "INSERT INTO record (seq, leaf, bytes, ts, event, outcome)"
                    " VALUES (:seq, :leaf, x'00', 't', 'e', 'o')"
                ),
                {"seq": seq, "leaf": leaf},
            )
    command.upgrade(alembic_config(path), "head")
    with engine.connect() as connection:
        rows = connection.execute(select(SubtreeRow.__table__)).all()
    assert [tuple(row) for row in rows] == [
        (256, 0, tree_root(leaves[:256])),
        (256, 256, tree_root(leaves[256:512])),
        (512, 0, tree_root(leaves[:512])),
    ]
    engine.dispose()
