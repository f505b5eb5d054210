"""Opens ``sallyport.db`` the one way it may be opened.

WAL with ``synchronous=FULL``: a commit that returned survives power loss.
Transactions begin IMMEDIATE, so that a writer never discovers halfway that
another process wrote first. Source: SQLite, "Write-Ahead Logging" and
"PRAGMA synchronous".
"""

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    PoolProxiedConnection,
    Select,
    create_engine,
    event,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DatabaseError, DBAPIError, SQLAlchemyError

from appliance.errors import HostNotReadyError
from appliance.resources import folder
from bundleformat.errors import StorageFaultError

if TYPE_CHECKING:
    from alembic.config import Config

SCHEMA: Final = "0012"
"""The newest migration. Known by its name, so that opening a database needs no
Alembic, which takes a tenth of the memory that an import may use."""

BUSY_TIMEOUT_MS = 10_000
"""How long a writer waits for another process's transaction. Unit: milliseconds."""


def open_database(path: Path) -> Engine:
    """Return an engine on an existing database whose schema is current.

    Raises:
        HostNotReadyError: There is no database, or its schema is another release's.
        StorageFaultError: The file cannot be read as a database.
    """
    check_commissioned(path)
    engine = connect(path)
    try:
        with engine.connect() as connection:
            current = _schema_of(connection)
    except DatabaseError as error:
        raise StorageFaultError(
            "the database cannot be read", where=str(path), actual=str(error.orig)
        ) from error
    if current != SCHEMA:
        raise HostNotReadyError(
            "the database has another release's schema",
            where=str(path),
            expected=SCHEMA,
            actual=str(current),
            hint="Run: sallyport db upgrade",
        )
    return engine


def _schema_of(connection: Connection) -> str | None:
    """Return the migration a database is at, or None if no migration made it."""
    made = connection.exec_driver_sql(
        "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
    ).scalar_one()
    if not made:
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
    return found.scalar_one_or_none()


def check_commissioned(path: Path) -> None:
    """Check that there is a database at ``path``.

    Raises:
        HostNotReadyError: There is none.
    """
    if not path.is_file():
        raise HostNotReadyError(
            "this host has not been commissioned",
            where=str(path),
            hint="Name the right folder with --home or SALLYPORT_HOME; on a new host "
            "run: sallyport trust init --root FILE --fingerprint HEX",
        )


def create_database(path: Path) -> Engine:
    """Create or upgrade the database at ``path`` and return an engine on it.

    Raises:
        StorageFaultError: The disk refused.
    """
    from alembic import command  # noqa: PLC0415 - see ``SCHEMA``

    try:
        command.upgrade(alembic_config(path), "head")
    except DatabaseError as error:
        raise StorageFaultError(
            "the database cannot be written", where=str(path), actual=str(error.orig)
        ) from error
    path.chmod(0o600)
    return connect(path)


def restore_triggers(path: Path) -> tuple[str, ...]:
    """Make every trigger as the migrations made it; return the names of those changed.

    What a fresh database has is the measure, so nothing is spelled here a second time.

    Raises:
        StorageFaultError: The disk refused; nothing changed.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        model = create_database(Path(folder) / "model.db")
        with model.connect() as connection:
            wanted = _triggers(connection)
        model.dispose()
    engine = connect(path)
    with database_faults(engine), engine.begin() as connection:
        found = _triggers(connection)
        changed = {n for n in found | wanted if found.get(n) != wanted.get(n)}
        for name in sorted(changed & found.keys()):
            quoted = name.replace('"', '""')
            connection.exec_driver_sql(f'DROP TRIGGER "{quoted}"')
        for name in sorted(changed & wanted.keys()):
            connection.exec_driver_sql(wanted[name])
    engine.dispose()
    return tuple(sorted(changed))


def _triggers(connection: Connection) -> dict[str, str]:
    rows = connection.exec_driver_sql(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    )
    return {str(row.name): str(row.sql) for row in rows}


def alembic_config(path: Path) -> "Config":
    """Return the Alembic configuration for the database at ``path``."""
    from alembic.config import Config  # noqa: PLC0415 - see ``SCHEMA``

    config = Config()
    # Alembic expands "%" in options; the path travels as an attribute, unexpanded.
    location = str(folder("migrations")).replace("%", "%%")
    config.set_main_option("script_location", location)
    config.attributes["database_path"] = path
    return config


def connect(path: Path) -> Engine:
    """Return an engine with the durability settings of this module.

    The caller MUST have checked the schema, or be a migration.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000},
    )

    @event.listens_for(engine, "connect")
    def _configure(dbapi_connection: Any, _record: Any) -> None:  # noqa: ANN401 - DBAPI
        # The driver's own transaction handling is switched off so that ours,
        # BEGIN IMMEDIATE, is the only one (SQLAlchemy, "SQLite transactions").
        dbapi_connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "recursive_triggers=ON",
            "trusted_schema=OFF",
        ):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy's own type is wider
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def database_faults(engine: Engine) -> Iterator[None]:
    """Translate what the driver of ``engine`` raises into the error tree.

    Raises:
        StorageFaultError: The database could not be read or written.
    """
    try:
        yield
    except DBAPIError as error:
        raise StorageFaultError(
            "the database could not be read or written",
            where=str(engine.url.database),
            actual=str(error.orig),
            hint="Check free space and permissions; nothing was changed.",
        ) from error


class StandingReader:
    """One connection kept open for look-ups that every request makes.

    It reads what is committed at the moment of each statement, in a fiftieth of
    the time that :func:`reader` takes to open a transaction. After a failure a
    new connection is made. For one thread at a time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: PoolProxiedConnection | None = None

    def version(self) -> int:
        """Return a number that changes when another connection has committed.

        Source: SQLite, "PRAGMA data_version".

        Raises:
            StorageFaultError: The database could not be read.
        """
        row = self.one("PRAGMA data_version")
        return 0 if row is None else int(row[0])

    def one(self, statement: str, *values: str | int) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None.

        Raises:
            StorageFaultError: The database could not be read.
        """
        try:
            if self._connection is None:
                self._connection = self._engine.raw_connection()
            cursor = self._connection.cursor()
            cursor.execute(statement, values)
            row: tuple[Any, ...] | None = cursor.fetchone()
            cursor.close()
        except sqlite3.ProgrammingError:
            raise  # a wrong statement is a bug, not a fault of the host
        except (sqlite3.Error, SQLAlchemyError) as error:
            self.close()
            raise StorageFaultError(
                "the database could not be read",
                where=str(self._engine.url.database),
                actual=str(getattr(error, "orig", error)),
            ) from error
        return row

    def close(self) -> None:
        """Close the connection; the next look-up makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error, SQLAlchemyError):
                connection.invalidate()
                connection.close()


def statement_text(statement: Select[Any]) -> str:
    """Return the SQL of a query as :class:`StandingReader` takes it."""
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark")))


def reader(engine: Engine) -> Engine:
    """Return a view of ``engine`` whose transactions only read and lock nobody out."""
    return engine.execution_options(read_only=True)
