"""Runs the migrations of ``sallyport.db``; Alembic imports this file.

The whole upgrade is one IMMEDIATE transaction: it happens entirely or not at
all, and a second process that upgrades at the same moment waits, then finds
nothing left to do. Batch mode is never used: it re-creates a table by copying
it, which goes around the triggers that keep the ledger append-only.
"""

from pathlib import Path

from alembic import context

from appliance.db.session import connect
from appliance.db.tables import Base

_path: Path = context.config.attributes["database_path"]
_engine = connect(_path)
try:
    with _engine.connect() as _connection:
        context.configure(
            connection=_connection,
            target_metadata=Base.metadata,
            transactional_ddl=True,
            compare_server_default=True,
        )
        with context.begin_transaction():
            context.run_migrations()
finally:
    _engine.dispose()
