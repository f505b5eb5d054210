"""The ledger writer against bare SQLite on the same disk.

The floor is one INSERT per transaction of a row with the same columns and bytes
as ``record``, through a connection with the same PRAGMAs: what being durable
costs at all. The writer adds the Merkle tree, the signed checkpoint, the list of
open requests and its thread; with many requests waiting it takes away commits.
"""

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from appliance.clock import SystemClock
from appliance.db.session import connect
from appliance.ledger.records.events import Draft, encode_record, timestamp
from appliance.ledger.tree.merkle import leaf_hash
from appliance.ledger.writer import TICK_S, LedgerWriter
from benchmarks.measure import Plan, Rounds, measure_rounds, p50
from benchmarks.report import Figure, Result
from tests.support.ledgers import (
    NOW,
    Ledger,
    ledger_in,
    request,
    response,
    writer_of,
)

PRODUCERS = 16
"""Requests in flight in the crowded case."""

PAIRS = 1_024
"""Requests of one measurement; each writes two records."""

BARE_TABLE = """
CREATE TABLE bare (
  seq INTEGER PRIMARY KEY, leaf BLOB, bytes BLOB, ts TEXT,
  event TEXT, outcome TEXT, team TEXT, request_id TEXT
)
"""

BARE_INSERT = "INSERT INTO bare VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

Row = tuple[int, bytes, bytes, str, str, str, str | None, str | None]


def run(plan: Plan) -> Result:
    """Measure the writer alone and crowded, in turns with bare inserts."""
    pairs = plan.amount(PAIRS)
    with ledger_in(plan.scratch) as ledger:
        bare = _Bare(ledger=ledger, connection=_bare_connection(plan), pairs=pairs)
        writer = writer_of(ledger, clock=SystemClock(), tick_s=TICK_S)
        try:
            subjects = [
                _Written(writer=writer, pairs=pairs, producers=producers)
                for producers in (1, PRODUCERS)
            ]
            rounds = measure_rounds(
                bare.measure,
                [subject.measure for subject in subjects],
                repetitions=plan.repetitions,
            )
        finally:
            writer.close()
            bare.connection.close()
    return _result(rounds, records=2 * pairs)


@dataclass
class _Bare:
    """The floor: prepared rows, each in a transaction of its own."""

    ledger: Ledger
    connection: sqlite3.Connection
    pairs: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def measure(self) -> Mapping[str, float]:
        rows = [self._row(draft) for draft in self._drafts()]
        taken: list[float] = []
        began = time.perf_counter()
        for first, second in zip(rows[::2], rows[1::2], strict=True):
            before = time.perf_counter()
            self._insert(first)
            self._insert(second)
            taken.append(time.perf_counter() - before)
        elapsed = time.perf_counter() - began
        return {"bare_s": elapsed / len(rows), "bare_pair_s": p50(taken)}

    def _drafts(self) -> Iterator[Draft]:
        for _ in range(self.pairs):
            name = _name(next(self._numbers))
            yield request(name)
            yield response(name, parent=0)

    def _row(self, draft: Draft) -> Row:
        seq = next(self._numbers)
        data = encode_record(draft, seq=seq, now=NOW, origin=self.ledger.log.origin)
        return (
            *(seq, leaf_hash(data), data, timestamp(NOW)),
            *(str(draft.event), str(draft.outcome), draft.team, draft.request_id),
        )

    def _insert(self, row: Row) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute(BARE_INSERT, row)
        self.connection.execute("COMMIT")


@dataclass
class _Written:
    """The subject: requests that write their first record, then their last."""

    writer: LedgerWriter
    pairs: int
    producers: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def measure(self) -> Mapping[str, float]:
        taken: list[float] = []
        began = time.perf_counter()
        asyncio.run(self._produce(taken))
        elapsed = time.perf_counter() - began
        return {
            f"writer_{self.producers}_s": elapsed / (2 * len(taken)),
            f"writer_{self.producers}_pair_s": p50(taken),
        }

    async def _produce(self, taken: list[float]) -> None:
        share = max(1, self.pairs // self.producers)
        async with asyncio.TaskGroup() as producing:
            for _ in range(self.producers):
                producing.create_task(self._requests(share, taken))

    async def _requests(self, count: int, taken: list[float]) -> None:
        for _ in range(count):
            name = f"{self.producers}-{_name(next(self._numbers))}"
            before = time.perf_counter()
            opened = await self.writer.append(request(name))
            await self.writer.append(response(name, parent=opened.seq))
            taken.append(time.perf_counter() - before)


def _name(number: int) -> str:
    """Return a request id as long as real ones."""
    return f"chatcmpl-{number:024}"


def _bare_connection(plan: Plan) -> sqlite3.Connection:
    """Return a connection to a database of its own, with the product's PRAGMAs."""
    engine = connect(plan.scratch / "bare.db")
    driver = cast("sqlite3.Connection", engine.raw_connection().driver_connection)
    driver.execute(BARE_TABLE)
    return driver


def _result(rounds: Rounds, *, records: int) -> Result:
    crowd = f"writer_{PRODUCERS}"
    return Result(
        name="ledger",
        title="records made durable, against bare SQLite inserts",
        ratios=(
            Figure(
                name="commit rate, 1 request waiting: writer/bare",
                values=rounds.ratio("bare_s", "writer_1_s"),
            ),
            Figure(
                name=f"commit rate, {PRODUCERS} requests waiting: writer/bare",
                values=rounds.ratio("bare_s", f"{crowd}_s"),
            ),
            Figure(
                name="a request's two records, p50, 1 waiting: writer/bare",
                values=rounds.ratio("writer_1_pair_s", "bare_pair_s"),
            ),
            Figure(
                name=f"a request's two records, p50, {PRODUCERS} waiting: writer/bare",
                values=rounds.ratio(f"{crowd}_pair_s", "bare_pair_s"),
            ),
        ),
        context=(
            *(
                Figure(
                    name=f"{label}: records",
                    values=tuple(1 / each for each in rounds.of(name)),
                    unit="per s",
                )
                for label, name in (
                    ("bare", "bare_s"),
                    ("writer, 1 waiting", "writer_1_s"),
                    (f"writer, {PRODUCERS} waiting", f"{crowd}_s"),
                )
            ),
            *(
                Figure(
                    name=f"latency added to a request, p50, {waiting} waiting",
                    values=tuple(
                        1000 * each for each in rounds.of(f"writer_{waiting}_pair_s")
                    ),
                    unit="ms",
                )
                for waiting in (1, PRODUCERS)
            ),
        ),
        noise=Figure(name="noise: bare / bare", values=rounds.noise("bare_s")),
        notes=(
            f"{records} records per measurement; every COMMIT is synced to the disk.",
        ),
    )
