"""The server's one ledger writer: a thread that commits drafts in groups.

A draft's future resolves only after its COMMIT returned with ``synchronous=FULL``.
Whatever is waiting when a commit ends forms the next group, so an idle ledger
adds no delay and a busy one signs and syncs once per group.

An error of the database, and whatever ``guard`` finds, halts the ledger: every
waiting draft fails with ``AuditUnavailableError``, and so does every later one, until
the security officer has released it. Then a fresh connection goes on, from a head
that its own key signed, with the record ``log.resumed``. Nothing is retried on the
connection that failed. Only where another process keeps the database too long, the
drafts concerned fail alone. When a day of UTC begins, the ledger goes on under a new
key before anything is recorded in it. Source: NIST SP 800-53 AU-5.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import Clock
from appliance.db.session import reader
from appliance.db.tables import OpenRequestRow
from appliance.errors import AuditUnavailableError
from appliance.ledger.log.append import OF_A_REQUEST, Receipt, extend
from appliance.ledger.log.halt import halted_error
from appliance.ledger.log.halt_marker import Marked
from appliance.ledger.log.head import LogIdentity, read_verified_head
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.log.rotation import destroy_closed_keys, hand_over
from appliance.ledger.records.causes import cause_of, name_of
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.ledger.recover import aborted_drafts
from appliance.ledger.tree.merkle import Frontier
from appliance.ledger.watch.guard import LedgerGuard, Standing
from bundleformat.errors import Error

MAX_GROUP = 256
"""Most records in one commit. Bounds how long a waiting draft can be held up."""

MAX_WAITING = 8_192
"""Most drafts waiting for a commit; one more is refused at once."""

TICK_S = 1.0
"""How often an idle writer looks around, and a halted one for its release. Unit:
seconds."""

_LEDGER_FAILURES = (Error, SQLAlchemyError, sqlite3.Error, OSError)
"""What makes the ledger unable to write: its head, its key, its disk."""


@dataclass(frozen=True, slots=True)
class _Pending:
    draft: Draft
    future: "Future[Receipt]" = field(default_factory=Future)

    def claim(self) -> bool:
        """Make the draft uncancellable, unless it has been cancelled already."""
        return self.future.set_running_or_notify_cancel()


class LedgerWriter:
    """Takes drafts from any thread, and answers when they are durable."""

    def __init__(
        self,
        engine: Engine,
        *,
        log: LogIdentity,
        keys: LedgerKeys,
        clock: Clock,
        guard: LedgerGuard,
        tick_s: float = TICK_S,
    ) -> None:
        """Check the ledger's head and start the thread, halted if the ledger is.

        Raises:
            AuditUnavailableError: The head is damaged or not signed by this log.
            StorageFaultError: The database cannot be read.
        """
        self._engine = engine
        self._log = log
        self._keys = keys
        self._clock = clock
        self._guard = guard
        self._tick_s = tick_s
        self._ticked_ns = clock.monotonic_ns()
        self._waiting: queue.Queue[_Pending | None] = queue.Queue(MAX_WAITING)
        self._gate = threading.Lock()
        self._closed = False
        self._day = clock.now().date()
        self._halt: Marked | None = guard.find()
        self._refused = 0
        self._unanswered: set[str] = set()
        self._connection: Connection | None = None
        self._seen = Frontier()
        try:
            self._begin()
        except SQLAlchemyError as error:
            raise AuditUnavailableError(
                "the ledger cannot be read", actual=name_of(error)
            ) from error
        self._thread = threading.Thread(
            target=self._run, name="ledger-writer", daemon=True
        )
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether drafts are being accepted: neither halted nor closed."""
        return self._halt is None and not self._closed

    def check(self) -> None:
        """Return if drafts are being accepted.

        Raises:
            AuditUnavailableError: They are not; it says why.
        """
        if not self.healthy:
            raise self._unavailable()

    @property
    def standing(self) -> Standing:
        """How the ledger is: OK, LOW or HALTED, and by what."""
        return self._guard.standing(self._halt)

    def submit(self, draft: Draft) -> "Future[Receipt]":
        """Queue ``draft``; the future resolves when it is durable.

        The future fails with ``AuditUnavailableError`` when the ledger cannot
        write, and with ``ValueError`` when the draft contradicts the ledger. A
        draft that failed MUST NOT be submitted again: the writer itself records
        ``llm.aborted`` for a request whose outcome it had to refuse.
        """
        pending = _Pending(draft)
        with self._gate:
            if self.healthy:
                with contextlib.suppress(queue.Full):
                    self._waiting.put_nowait(pending)
                    return pending.future
        self._refuse([pending])
        return pending.future

    async def append(self, draft: Draft) -> Receipt:
        """Return the receipt of ``draft`` once it is durable.

        Cancelling the caller never loses a record. An ``llm.request`` whose
        caller went away is either not written or followed by ``llm.aborted``.

        Raises:
            AuditUnavailableError: The ledger cannot write.
        """
        future = self.submit(draft)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            if draft.event is Event.LLM_REQUEST and not future.cancel():
                future.add_done_callback(lambda done: self._abandon(draft, done))
            raise

    def close(self) -> None:
        """Commit what is waiting, then end the thread; refuse everything later."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        closed = False
        while not closed:
            group, closed = self._take()
            self._follow_the_day()
            if not group or self._is_time():
                self._tick()
            self._commit([pending for pending in group if pending.claim()])
        self._drop_connection()
        with contextlib.suppress(Error):
            self._guard.refresh_head()

    def _is_time(self) -> bool:
        """Whether a busy writer has to look around all the same."""
        return self._clock.monotonic_ns() - self._ticked_ns >= self._tick_s * 1e9

    def _tick(self) -> None:
        self._ticked_ns = self._clock.monotonic_ns()
        if self._halt is not None:
            self._follow_halt(self._halt)
            return
        try:
            self._guard.look_around()
            if self._guard.notes():
                self._write(())
        except Exception as error:  # noqa: BLE001 - the thread's top: it stays alive, and shut
            self._fail(error)

    def _take(self) -> tuple[list[_Pending], bool]:
        """Return what is waiting, and whether the writer was closed after it."""
        group: list[_Pending] = []
        try:
            item = self._waiting.get(timeout=self._tick_s)
            while item is not None:
                group.append(item)
                if len(group) == MAX_GROUP:
                    return group, False
                item = self._waiting.get_nowait()
        except queue.Empty:
            return group, False
        return group, True

    def _follow_the_day(self) -> None:
        """Hand over to a new key if a day has begun since the last time."""
        today = self._clock.now().date()
        if today <= self._day or self._halt is not None:
            return
        try:
            self._rotate()
            self._day = today
        except _LEDGER_FAILURES as error:
            self._fail(error)

    def _rotate(self) -> None:
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            now = self._guard.look(self._connection)
            done = hand_over(
                self._connection,
                log=self._log,
                keys=self._keys,
                now=now,
                reason="day",
                seen=self._seen,
            )
        self._seen = done.frontier
        self._guard.recorded(now)
        destroy_closed_keys(self._engine, keys=self._keys, now=now)

    def _commit(self, group: Sequence[_Pending]) -> None:
        """Make ``group`` durable and answer every draft of it."""
        if self._halt is not None:
            self._refuse(group)
            return
        if not group:
            return
        try:
            receipts = self._write([pending.draft for pending in group])
        except _LEDGER_FAILURES as error:
            self._fail(error)
            self._refuse(group)
        except Exception as error:  # noqa: BLE001 - the thread's top: a bug must fail its caller, not hang it
            if len(group) == 1:
                group[0].future.set_exception(error)
                return
            # Only the draft that contradicts the ledger fails, not its neighbours.
            for pending in group:
                self._commit([pending])
        else:
            for pending, receipt in zip(group, receipts, strict=True):
                pending.future.set_result(receipt)

    def _write(self, drafts: Sequence[Draft]) -> tuple[Receipt, ...]:
        """Commit ``drafts``, and the end of requests whose outcome was refused."""
        if self._connection is None:
            self._connection = self._engine.connect()
        named = {draft.request_id for draft in drafts}
        with self._gate:
            settled = self._unanswered - named
        with self._connection.begin():
            now = self._guard.look(self._connection)
            lost = aborted_drafts(
                self._connection, reason="ledger-unavailable", request_ids=settled
            )
            done = extend(
                self._connection,
                [*drafts, *lost, *self._guard.notes()],
                log=self._log,
                keys=self._keys,
                now=now,
                seen=self._seen,
            )
        self._seen = done.frontier
        self._guard.recorded(now)
        self._guard.noted()
        with self._gate:
            self._unanswered -= settled
        return done.receipts[: len(drafts)]

    def _fail(self, error: Exception) -> None:
        """Halt for ``error``, unless it is one that is over by itself."""
        self._drop_connection()
        if cause_of(error) is None:
            return
        halt = self._guard.halt(error)
        with self._gate:
            self._halt = halt

    def _follow_halt(self, halt: Marked) -> None:
        """Go on if the halt was released and the ledger can be written."""
        now_in = self._guard.follow(halt)
        if now_in is not None:
            with self._gate:
                self._halt = now_in
            return
        resumed = Draft(
            event=Event.LOG_RESUMED,
            outcome=Outcome.OK,
            fields={"cause": str(halt.cause), "refused": self._refused},
        )
        try:
            self._begin(released=True)
            self._write([resumed])
        except _LEDGER_FAILURES as error:
            self._fail(error)
            return
        with self._gate:
            self._halt = None
            self._refused = 0

    def _begin(self, *, released: bool = False) -> None:
        """Take the ledger as it is: its head, its last record, what is unanswered."""
        if self._halt is not None and not released:
            self._unanswered |= self._open_requests()
            return
        self._engine.dispose()
        self._seen = self._read_head()
        with reader(self._engine).connect() as connection:
            self._guard.follow_from_now(connection)

    def _open_requests(self) -> set[str]:
        """Return the requests without an outcome: nobody answers them any more."""
        with reader(self._engine).connect() as connection:
            found = connection.execute(select(OpenRequestRow.request_id))
            return set(found.scalars())

    def _read_head(self) -> Frontier:
        with reader(self._engine).connect() as connection:
            return read_verified_head(connection, log=self._log)

    def _refuse(self, group: Sequence[_Pending]) -> None:
        """Fail every draft of ``group``; remember the requests left without outcome."""
        with self._gate:
            self._refused += len(group)
            self._unanswered |= {
                pending.draft.request_id
                for pending in group
                if pending.draft.request_id and pending.draft.event in OF_A_REQUEST
            }
        for pending in group:
            pending.future.set_exception(self._unavailable())

    def _unavailable(self) -> AuditUnavailableError:
        halt = self._halt
        if halt is None:
            problem = "the ledger cannot write at this moment"
            return AuditUnavailableError(problem, actual="closed or busy")
        return halted_error(halt.cause)

    def _abandon(self, draft: Draft, done: "Future[Receipt]") -> None:
        """End a request that became durable after its caller had gone."""
        if done.exception() is not None:
            return
        self.submit(
            Draft(
                event=Event.LLM_ABORTED,
                outcome=Outcome.ABORTED,
                team=draft.team,
                request_id=draft.request_id,
                fields={"parent": str(done.result().seq), "reason": "caller-gone"},
            )
        )

    def _drop_connection(self) -> None:
        """Throw the connection away: after an error it is never used again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError, sqlite3.Error):
                connection.invalidate()
            with contextlib.suppress(SQLAlchemyError, sqlite3.Error):
                connection.close()
