"""An opened host: its database, its ledger's key, and changing both at once."""

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version

from sqlalchemy import Connection, Engine

from appliance.clock import Clock
from appliance.db.session import database_faults, reader
from appliance.errors import HostNotReadyError
from appliance.file_lock import exclusive_lock
from appliance.home import Home
from appliance.ledger.log.append import Receipt, append
from appliance.ledger.log.head import LogIdentity
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.records.events import Draft
from appliance.ledger.watch.guard import LedgerGuard
from appliance.settings import Settings


def tool_name() -> str:
    """Return this program's name and version as records carry it."""
    return f"sallyport/{version('sallyport')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenHost:
    """A commissioned host, opened by ``compose.open_host``.

    Attributes:
        keys: The private keys that sign checkpoints; in no ``repr``.
        pepper: The secret under which API keys are digested; in no ``repr``.
        guard: Watches over the ledger; it has examined it.
    """

    home: Home
    settings: Settings
    clock: Clock
    database: Engine
    log: LogIdentity
    keys: LedgerKeys = field(repr=False)
    pepper: bytes = field(repr=False)
    guard: LedgerGuard

    @contextmanager
    def change(self) -> Iterator[Connection]:
        """Give one write transaction: all of it is durable afterwards, or none.

        Raises:
            StorageFaultError: The disk or the database refused.
        """
        with database_faults(self.database), self.database.begin() as connection:
            yield connection
        self.guard.refresh_head()

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """Give one consistent view of the database; nobody is locked out.

        Raises:
            StorageFaultError: The disk or the database refused.
        """
        with (
            database_faults(self.database),
            reader(self.database).connect() as connection,
        ):
            yield connection

    @contextmanager
    def hold_serve_lock(self, problem: str) -> Iterator[None]:
        """Be the one who serves this host, or works with its files alone.

        Raises:
            HostNotReadyError: ``problem``: somebody else is.
        """
        path = self.home.run / "serve.lock"
        with exclusive_lock(path, busy=HostNotReadyError(problem, where=str(path))):
            yield

    def record(
        self, connection: Connection, drafts: Sequence[Draft], *, now: dt.datetime
    ) -> tuple[Receipt, ...]:
        """Append ``drafts`` in the caller's transaction; void unless it commits."""
        return append(connection, drafts, log=self.log, keys=self.keys, now=now)
