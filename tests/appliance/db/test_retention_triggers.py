"""The triggers let nothing go but what a record names, and end no hold without one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from appliance.db.session import alembic_config, connect, create_database

RECORD = (
    "INSERT INTO record (seq, leaf, bytes, ts, event, outcome, team, request_id)"
    " VALUES (:seq, zeroblob(32), CAST(:bytes AS BLOB), 't', :event, 'ok', 'a', :id)"
)
PRUNED = '{"event":"log.pruned","kind":"record","log":"l","ranges":["1-2","4-4"]}'
BODIES = '{"event":"log.pruned","kind":"body","log":"l","ranges":["1-1"]}'
PLACED = '{"event":"hold.placed","hold":1,"log":"l"}'
LIFTED = '{"event":"hold.lifted","hold":1,"log":"l"}'
OTHER = '{"event":"hold.lifted","hold":11,"log":"l"}'
ROWS = (
    ("log.created", "{}", None),
    ("llm.request", "{}", "r1"),
    ("llm.response", "{}", "r1"),
    ("llm.request", "{}", "open"),
    ("key.rotate", "{}", None),
    ("log.pruned", PRUNED, None),
    ("log.pruned", BODIES, None),
    ("hold.placed", PLACED, None),
    ("hold.lifted", OTHER, None),
    ("hold.lifted", LIFTED, None),
)
RANGE = "INSERT INTO prune_range VALUES ('record', 1, 2, 5)"
HOLD = "INSERT INTO hold VALUES (1, NULL, NULL, NULL, 'a', NULL, NULL, 7, 't', NULL)"
GO = "UPDATE record SET bytes = NULL WHERE seq ="


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_database(tmp_path / "sallyport.db")
    with engine.begin() as connection:
        for seq, (event, said, request) in enumerate(ROWS):
            values = {"seq": seq, "bytes": said, "event": event, "id": request}
            connection.execute(text(RECORD), values)
        connection.execute(text("INSERT INTO open_request VALUES ('open', 3, 'a')"))
        connection.execute(text(RANGE))
        connection.execute(text(HOLD))
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        # Not what a record names, or not the bytes alone.
        f"{GO} 3",
        f"{GO} 4",
        f"{GO} 0",
        "UPDATE record SET bytes = x'7b7d' WHERE seq = 1",
        "UPDATE record SET bytes = x'' WHERE seq = 1",
        "UPDATE record SET bytes = NULL, leaf = zeroblob(33) WHERE seq = 1",
        "UPDATE record SET bytes = NULL, ts = 'x' WHERE seq = 1",
        "UPDATE record SET bytes = NULL, event = 'llm.refused' WHERE seq = 1",
        "UPDATE record SET bytes = NULL, outcome = 'x' WHERE seq = 1",
        "UPDATE record SET bytes = NULL, team = NULL WHERE seq = 1",
        "UPDATE record SET bytes = NULL, request_id = NULL WHERE seq = 1",
        "UPDATE record SET bytes = NULL, seq = 20 WHERE seq = 1",
        "DELETE FROM record WHERE seq = 2",
        (
            "INSERT INTO record VALUES"
            " (10, zeroblob(32), NULL, 't', 'llm.refused', 'o', 'a', NULL)"
        ),
        # A range that no log.pruned names, or of another kind, or twice.
        "INSERT INTO prune_range VALUES ('record', 3, 3, 5)",
        "INSERT INTO prune_range VALUES ('record', 4, 4, 6)",
        "INSERT INTO prune_range VALUES ('body', 4, 4, 5)",
        "INSERT INTO prune_range VALUES ('other', 4, 4, 5)",
        "INSERT INTO prune_range VALUES ('record', 4, 4, 4)",
        "INSERT INTO prune_range VALUES ('record', 4, 4, 7)",
        "INSERT INTO prune_range VALUES ('record', 1, 2, 5)",
        "INSERT OR REPLACE INTO prune_range VALUES ('record', 1, 2, 5)",
        "UPDATE prune_range SET last_seq = 4",
        "DELETE FROM prune_range",
        # A hold without its record, or ended without one.
        "INSERT INTO hold VALUES (2,NULL,NULL,NULL,'a',NULL,NULL,7,'t',NULL)",
        "INSERT INTO hold VALUES (1,NULL,NULL,NULL,'a',NULL,NULL,7,'t',NULL)",
        "INSERT OR REPLACE INTO hold VALUES (1,9,9,NULL,NULL,NULL,NULL,7,'t',NULL)",
        "UPDATE hold SET team = 'b'",
        "UPDATE hold SET first_seq = 1",
        "UPDATE hold SET lifted_seq = 7",
        "UPDATE hold SET lifted_seq = 8",
        "UPDATE hold SET lifted_seq = 99",
        "DELETE FROM hold",
    ],
)
def test_nothing_else_can_be_changed(engine: Engine, statement: str) -> None:
    dump = "SELECT * FROM record, prune_range, hold ORDER BY seq"
    with engine.connect() as connection:
        before = connection.execute(text(dump)).all()
        with pytest.raises(IntegrityError):
            connection.execute(text(statement))
        connection.rollback()
        assert connection.execute(text(dump)).all() == before


def test_what_a_record_names_can_go_and_once_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        assert connection.execute(text(f"{GO} 1")).rowcount == 1
        assert connection.execute(text(f"{GO} 2")).rowcount == 1
        # The key's change is named by that record; it is of no call, and stays.
        connection.execute(text("INSERT INTO prune_range VALUES ('record', 4, 4, 5)"))
        connection.execute(text("INSERT INTO prune_range VALUES ('body', 1, 1, 6)"))
    for seq in (1, 4):
        with engine.connect() as connection, pytest.raises(IntegrityError):
            connection.execute(text(f"{GO} {seq}"))


def test_a_hold_ends_by_its_record(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE hold SET lifted_seq = 9"))
    with engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(text("UPDATE hold SET lifted_seq = NULL"))


def test_records_of_an_older_database_are_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "sallyport.db"
    command.upgrade(alembic_config(path), "0009")
    engine = connect(path)
    with engine.begin() as connection:
        for seq in range(3):
            values = {"seq": seq, "bytes": "{}", "event": "llm.refused", "id": None}
            connection.execute(text(RECORD), values)
    engine.dispose()
    upgraded = create_database(path)
    with upgraded.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]
        found = connection.execute(text("SELECT seq, bytes FROM record")).all()
        assert [tuple(row) for row in found] == [(seq, b"{}") for seq in range(3)]
        with pytest.raises(IntegrityError):
            connection.execute(text(f"{GO} 1"))
    upgraded.dispose()
