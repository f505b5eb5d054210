"""The migrations make the tables, and the triggers keep the ledger append-only."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from appliance.db.session import (
    SCHEMA,
    alembic_config,
    connect,
    create_database,
    open_database,
)
from appliance.db.tables import Base
from appliance.errors import HostNotReadyError
from bundleformat.errors import StorageFaultError

RECORD = (
    "INSERT INTO record (seq, leaf, bytes, ts, event, outcome)"
    " VALUES (:seq, zeroblob(32), x'00', 't', 'e', 'o')"
)
CHECKPOINT = (
    "INSERT INTO checkpoint (size, root, frontier, note, ts)"
    " VALUES (:size, zeroblob(32), x'', 'n', 't')"
)
LOG = "INSERT INTO log_meta VALUES ('a', 'b', 'c', 'd')"
EPOCHS = (
    "INSERT INTO epoch_key VALUES (0, 'v', 0, NULL, 0, NULL)",
    "UPDATE epoch_key SET to_size = 2",
    "INSERT INTO epoch_key VALUES (1, 'w', 2, NULL, 1, NULL)",
    "UPDATE epoch_key SET destroyed_ts = 't' WHERE epoch = 0",
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_database(tmp_path / "sallyport.db")
    with engine.begin() as connection:
        connection.execute(text(LOG))
        for seq in (0, 1):
            connection.execute(text(RECORD), {"seq": seq})
        connection.execute(text(CHECKPOINT), {"size": 2})
        for statement in EPOCHS:
            connection.execute(text(statement))
    yield engine
    engine.dispose()


def _rows(connection: Connection, table: str) -> int:
    counted = connection.execute(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 - fixed names
    return int(counted.scalar_one())


def test_the_migrations_make_exactly_the_tables_of_the_code(engine: Engine) -> None:
    path = Path(str(engine.url.database))
    command.check(alembic_config(path))
    made = set(inspect(engine).get_table_names()) - {"alembic_version"}
    assert made == set(Base.metadata.tables)


def test_a_path_with_a_percent_sign_works(tmp_path: Path) -> None:
    home = tmp_path / "50%s"
    home.mkdir()
    create_database(home / "sallyport.db").dispose()
    open_database(home / "sallyport.db").dispose()


def test_creating_twice_keeps_what_is_there(engine: Engine) -> None:
    again = create_database(Path(str(engine.url.database)))
    with again.connect() as connection:
        assert _rows(connection, "record") == 2
    again.dispose()


def test_the_database_is_readable_by_its_owner_alone(engine: Engine) -> None:
    assert Path(str(engine.url.database)).stat().st_mode & 0o777 == 0o600


def test_open_refuses_a_missing_database_and_creates_none(tmp_path: Path) -> None:
    with pytest.raises(HostNotReadyError):
        open_database(tmp_path / "sallyport.db")
    assert list(tmp_path.iterdir()) == []


def test_open_refuses_a_schema_that_is_not_this_releases(tmp_path: Path) -> None:
    path = tmp_path / "sallyport.db"
    engine = connect(path)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('9999')"))
    engine.dispose()
    with pytest.raises(HostNotReadyError) as caught:
        open_database(path)
    assert (caught.value.expected, caught.value.actual) == (SCHEMA, "9999")


def test_generations_from_before_the_order_was_kept_have_a_place_in_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sallyport.db"
    command.upgrade(alembic_config(path), "0001")
    engine = connect(path)
    row = "INSERT INTO generation VALUES (:id, 'main', :id, '', x'', 't', :active)"
    with engine.begin() as connection:
        for identity, active in ((1, 0), (2, 1), (3, 0)):
            connection.execute(text(row), {"id": identity, "active": active})
    engine.dispose()
    upgraded = create_database(path)
    with upgraded.connect() as connection:
        order = connection.execute(
            text("SELECT generation, reason FROM activation ORDER BY id")
        )
        assert [tuple(each) for each in order] == [
            (1, "import"),
            (3, "import"),
            (2, "import"),
        ]
        # A program of the release before writes without knowing of the new column.
        known = (
            "(id, channel, version, manifest_sha256, manifest, activated_ts, active)"
        )
        connection.execute(
            text(f"INSERT INTO generation {known} VALUES (4,'main',4,'',x'','t',0)")  # noqa: S608 - fixed names
        )
        connection.rollback()
    upgraded.dispose()


def test_the_first_key_of_an_older_ledger_is_its_first_epoch(tmp_path: Path) -> None:
    path = tmp_path / "sallyport.db"
    command.upgrade(alembic_config(path), "0005")
    engine = connect(path)
    with engine.begin() as connection:
        connection.execute(text(LOG))
    engine.dispose()
    upgraded = create_database(path)
    with upgraded.connect() as connection:
        found = connection.execute(text("SELECT * FROM epoch_key")).one()
    assert tuple(found) == (0, "c", 0, None, 0, None)
    upgraded.dispose()


def test_a_failed_upgrade_leaves_no_table(tmp_path: Path) -> None:
    path = tmp_path / "sallyport.db"
    engine = connect(path)
    with engine.begin() as connection:
        # One of the last tables is in the way, so the upgrade fails late.
        connection.execute(text("CREATE TABLE api_key (other TEXT)"))
    with pytest.raises(StorageFaultError):
        create_database(path)
    assert inspect(engine).get_table_names() == ["api_key"]
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE record SET outcome = 'x' WHERE seq = 0",
        "DELETE FROM record WHERE seq = 1",
        "INSERT OR REPLACE INTO record SELECT * FROM record WHERE seq = 1",
        (
            "INSERT INTO record SELECT * FROM record WHERE seq = 1"
            " ON CONFLICT(seq) DO UPDATE SET outcome = 'x'"
        ),
        "UPDATE checkpoint SET note = 'x'",
        "DELETE FROM checkpoint",
        "INSERT OR REPLACE INTO checkpoint SELECT * FROM checkpoint",
        "UPDATE log_meta SET origin = 'x'",
        "DELETE FROM log_meta",
        "INSERT INTO log_meta VALUES ('second', 'b', 'c', 'd')",
        "INSERT OR REPLACE INTO log_meta VALUES ('a', 'x', 'c', 'd')",
        "DELETE FROM epoch_key",
        "UPDATE epoch_key SET vkey = 'x'",
        "UPDATE epoch_key SET to_size = 0",
        "UPDATE epoch_key SET destroyed_ts = 't' WHERE epoch = 1",
        "UPDATE epoch_key SET to_size = 3 WHERE epoch = 0",
        "UPDATE epoch_key SET to_size = NULL WHERE epoch = 0",
        "INSERT INTO epoch_key VALUES (2, 'v', 2, NULL, 1, NULL)",
        "INSERT OR REPLACE INTO epoch_key VALUES (1, 'v', 2, NULL, 1, NULL)",
    ],
)
def test_the_ledger_tables_refuse_every_change(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        with pytest.raises(IntegrityError):
            connection.execute(text(statement))
        connection.rollback()
        assert [_rows(connection, t) for t in ("record", "checkpoint", "log_meta")] == [
            2,
            1,
            1,
        ]


@pytest.mark.parametrize("seq", [-1, 0, 1, 3])
def test_a_record_that_leaves_a_gap_or_repeats_is_refused(
    engine: Engine, seq: int
) -> None:
    with engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(text(RECORD), {"seq": seq})


def test_a_record_with_a_short_leaf_is_refused(engine: Engine) -> None:
    short = RECORD.replace("zeroblob(32)", "zeroblob(31)")
    with engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(text(short), {"seq": 2})


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_checkpoint_that_does_not_cover_every_record_is_refused(
    engine: Engine, size: int
) -> None:
    with engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(text(CHECKPOINT), {"size": size})


def test_a_database_that_is_no_database_is_a_storage_fault(tmp_path: Path) -> None:
    path = tmp_path / "sallyport.db"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageFaultError):
        create_database(path)
    with pytest.raises(StorageFaultError):
        open_database(path)


def test_the_schema_that_is_expected_is_that_of_the_newest_migration(
    tmp_path: Path,
) -> None:
    scripts = ScriptDirectory.from_config(alembic_config(tmp_path / "sallyport.db"))
    assert scripts.get_current_head() == SCHEMA
