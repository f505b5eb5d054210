"""A commissioned ledger in a scratch folder, and drafts to fill it with."""

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, text

from appliance.clock import Clock
from appliance.compose import ledger_guard
from appliance.db.session import create_database, database_faults, open_database
from appliance.home import Home
from appliance.ledger.exports.export import Wishes, export
from appliance.ledger.log.append import LogIdentity, Receipt, append
from appliance.ledger.log.commission import commission, open_ledger
from appliance.ledger.log.halt import find_halt
from appliance.ledger.log.head import read_open_epoch
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.log.rotation import rotate
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.watch.guard import LedgerGuard
from appliance.ledger.watch.halting import Signing
from appliance.ledger.writer import LedgerWriter
from appliance.settings import LedgerSettings
from bundleformat.ledger_release import LedgerRelease

NOW = dt.datetime(2026, 11, 22, 8, 4, 29, 123456, tzinfo=dt.UTC)
SHA = "ab" * 32
TOOL = "sallyport/test"


class FixedClock:
    """A clock that stands still."""

    def now(self) -> dt.datetime:
        return NOW

    def monotonic_ns(self) -> int:
        return 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """A ledger with its genesis record, and everything needed to append to it."""

    engine: Engine
    log: LogIdentity
    keys: LedgerKeys
    home: Path

    @property
    def signer(self) -> Ed25519PrivateKey:
        """The key that signs now."""
        with self.engine.connect() as connection:
            return self.keys.signer(read_open_epoch(connection))

    def rotate(self, *, now: dt.datetime = NOW) -> None:
        """Go on under a new key; the old one is gone."""
        rotate(self.engine, log=self.log, keys=self.keys, now=now, reason="start")

    def append(self, drafts: Sequence[Draft]) -> tuple[Receipt, ...]:
        """Append ``drafts`` in one committed transaction."""
        with self.engine.begin() as connection:
            return append(connection, drafts, log=self.log, keys=self.keys, now=NOW)

    def export(self, folder: Path, wishes: Wishes | None = None) -> Path:
        """Export what ``wishes`` says to ``folder``, and return that."""
        made = export(
            self.engine,
            folder,
            log=self.log,
            keys=self.keys,
            now=NOW,
            tool=TOOL,
            wishes=wishes,
        )
        return made.folder

    @property
    def now(self) -> dt.datetime:
        """The one moment in which everything of it happens."""
        return NOW

    def count(self, table: str = "record") -> int:
        """Return the number of rows of ``table``."""
        with self.engine.connect() as connection:
            counted = connection.execute(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 - fixed names
            return int(counted.scalar_one())


@contextmanager
def ledger_at(home: Path) -> Iterator[Ledger]:
    """Yield the ledger that lies in ``home`` already."""
    engine = open_database(home / "sallyport.db")
    with database_faults(engine), engine.connect() as connection:
        log, keys = open_ledger(connection, key_path=home / "keys" / "ledger.key")
    yield Ledger(engine=engine, log=log, keys=keys, home=home)
    engine.dispose()


@contextmanager
def ledger_in(home: Path, *, site: str = "test.example") -> Iterator[Ledger]:
    """Yield a commissioned ledger in the empty folder ``home``."""
    engine = create_database(home / "sallyport.db")
    key_path = home / "keys" / "ledger.key"
    with engine.begin() as connection:
        log = commission(connection, key_path=key_path, site=site, tool=TOOL, now=NOW)
    yield Ledger(engine=engine, log=log, keys=LedgerKeys(key_path), home=home)
    engine.dispose()


def guard_of(
    engine: Engine,
    *,
    log: LogIdentity,
    keys: LedgerKeys,
    clock: Clock | None = None,
    ballast_bytes: int = 2**16,
    low_percent: int = 1,
) -> LedgerGuard:
    """Return what watches over the ledger of ``engine``, with a small ballast."""
    return ledger_guard(
        Home(Path(str(engine.url.database)).parent),
        LedgerSettings(ballast_bytes=ballast_bytes, low_percent=low_percent),
        database=engine,
        signing=Signing(log=log, keys=keys),
        clock=clock or FixedClock(),
    )


def writer_of(
    ledger: "Ledger",
    *,
    clock: Clock | None = None,
    guard: LedgerGuard | None = None,
    tick_s: float = 0.02,
) -> LedgerWriter:
    """Return a running writer of ``ledger``; the caller closes it."""
    clock = clock or FixedClock()
    return LedgerWriter(
        ledger.engine,
        log=ledger.log,
        keys=ledger.keys,
        clock=clock,
        guard=guard
        or guard_of(ledger.engine, log=ledger.log, keys=ledger.keys, clock=clock),
        tick_s=tick_s,
    )


def release(ledger: "Ledger", *, guard: LedgerGuard | None = None) -> None:
    """End the halt of ``ledger`` as the security officer would."""
    guard = guard or guard_of(ledger.engine, log=ledger.log, keys=ledger.keys)
    with ledger.engine.connect() as connection:
        halt = find_halt(connection)
    assert halt is not None
    statement = LedgerRelease(
        log=ledger.log.origin,
        halt=halt.number,
        cause=halt.cause,
        halted=halt.halted,
        reason="a test is over",
        issued=NOW.replace(microsecond=0),
    )
    guard.release(statement, envelope=b"", key_ids=("ab",), now=NOW)


def request(request_id: str, *, team: str = "claims") -> Draft:
    """Return a draft of an ``llm.request``."""
    return Draft(
        event=Event.LLM_REQUEST,
        outcome=Outcome.ALLOWED,
        team=team,
        request_id=request_id,
        fields={
            "actor": {"key_id": "W1sF0wRy"},
            "model": {"name": "demo", "sha256": SHA, "generation": 1},
            "labels": {"class": "pii", "region": "in-blr", "requested_region": None},
            "policy": {"decision": "allow", "ids": ("base",), "set_sha256": SHA},
            "params": {"stream": True, "max_tokens": 16, "temperature": "0.7"},
            "prompt_tokens": 12,
        },
    )


def response(
    request_id: str, *, parent: int, outcome: Outcome = Outcome.OK, team: str = "claims"
) -> Draft:
    """Return a draft of an ``llm.response``."""
    return Draft(
        event=Event.LLM_RESPONSE,
        outcome=outcome,
        team=team,
        request_id=request_id,
        fields={
            "parent": str(parent),
            "status": 200,
            "finish_reason": "stop",
            "prompt_tokens": 12,
            "completion_tokens": 3,
            "ttft_ms": 5,
            "total_ms": 9,
        },
    )


def refusal(code: str = "invalid-api-key") -> Draft:
    """Return a draft of an ``llm.refused``, which opens and ends nothing."""
    return Draft(
        event=Event.LLM_REFUSED,
        outcome=Outcome.REFUSED,
        fields={"code": code, "status": 401},
    )
