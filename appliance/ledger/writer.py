"""The server's one ledger writer: a thread that commits drafts in groups.

A draft's future resolves only after its COMMIT returned with ``synchronous=FULL``.
Whatever is waiting when a commit ends forms the next group, so an idle ledger
adds no delay and a busy one signs and syncs once per group.

Any database error halts the writer: every waiting draft fails with
``AuditUnavailableError``, and so does every later one, until a fresh connection
shows the ledger to continue from what was last written, signed by its own key,
and has committed a ``log.resumed`` record. Nothing is retried on the connection
that failed. When a day of UTC begins, the ledger goes on under a new key before
anything is recorded in it. Source: NIST SP 800-53 AU-5.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from appliance.clock import Clock
from appliance.db.session import reader
from appliance.errors import AuditUnavailableError
from appliance.ledger.append import OF_A_REQUEST, Receipt, extend
from appliance.ledger.events import Draft, Event, Outcome
from appliance.ledger.head import LogIdentity, read_verified_head
from appliance.ledger.keys import LedgerKeys
from appliance.ledger.merkle import Frontier
from appliance.ledger.recover import aborted_drafts
from appliance.ledger.rotation import destroy_closed_keys, hand_over
from bundleformat.errors import Error

MAX_GROUP = 256
"""Most records in one commit. Bounds how long a waiting draft can be held up."""

MAX_WAITING = 8_192
"""Most drafts waiting for a commit; one more is refused at once."""

PROBE_INTERVAL_S = 1.0
"""How often a halted writer tries to resume. Unit: seconds."""

DAY_CHECK_S = 30.0
"""How often an idle writer looks whether a new day has begun. Unit: seconds."""

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
        probe_interval_s: float = PROBE_INTERVAL_S,
        day_check_s: float = DAY_CHECK_S,
    ) -> None:
        """Check the ledger's head and start the thread.

        Raises:
            AuditUnavailableError: The head is damaged or not signed by this log.
        """
        self._engine = engine
        self._log = log
        self._keys = keys
        self._clock = clock
        self._probe_interval_s = probe_interval_s
        self._day_check_s = day_check_s
        self._waiting: queue.Queue[_Pending | None] = queue.Queue(MAX_WAITING)
        self._gate = threading.Lock()
        self._closed = False
        self._day = clock.now().date()
        self._halted_by = ""
        self._refused = 0
        self._unanswered: set[str] = set()
        self._connection: Connection | None = None
        try:
            self._seen = self._read_head()
        except SQLAlchemyError as error:
            raise AuditUnavailableError(
                "the ledger cannot be read", actual=_cause(error)
            ) from error
        self._thread = threading.Thread(
            target=self._run, name="ledger-writer", daemon=True
        )
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether drafts are being accepted: neither halted nor closed."""
        return not self._halted_by and not self._closed

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
            self._commit([pending for pending in group if pending.claim()])
            if self._halted_by and not group and not closed:
                self._probe()
        self._drop_connection()

    def _take(self) -> tuple[list[_Pending], bool]:
        """Return what is waiting, and whether the writer was closed after it."""
        group: list[_Pending] = []
        try:
            item = self._waiting.get(
                timeout=self._probe_interval_s if self._halted_by else self._day_check_s
            )
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
        if today <= self._day or self._halted_by:
            return
        try:
            self._rotate()
            self._day = today
        except _LEDGER_FAILURES as error:
            self._halt(error)

    def _rotate(self) -> None:
        if self._connection is None:
            self._connection = self._engine.connect()
        now = self._clock.now()
        with self._connection.begin():
            done = hand_over(
                self._connection,
                log=self._log,
                keys=self._keys,
                now=now,
                reason="day",
                seen=self._seen,
            )
        self._seen = done.frontier
        destroy_closed_keys(self._engine, keys=self._keys, now=now)

    def _commit(self, group: Sequence[_Pending]) -> None:
        """Make ``group`` durable and answer every draft of it."""
        if self._halted_by:
            self._refuse(group)
            return
        if not group:
            return
        try:
            receipts = self._write([pending.draft for pending in group])
        except _LEDGER_FAILURES as error:
            self._halt(error)
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
            lost = aborted_drafts(
                self._connection, reason="ledger-unavailable", request_ids=settled
            )
            done = extend(
                self._connection,
                [*drafts, *lost],
                log=self._log,
                keys=self._keys,
                now=self._clock.now(),
                seen=self._seen,
            )
        self._seen = done.frontier
        with self._gate:
            self._unanswered -= settled
        return done.receipts[: len(drafts)]

    def _halt(self, error: Exception) -> None:
        with self._gate:
            self._halted_by = _cause(error)
        self._drop_connection()

    def _probe(self) -> None:
        """Resume on a fresh connection if the ledger is whole and can be written."""
        resumed = Draft(
            event=Event.LOG_RESUMED,
            outcome=Outcome.OK,
            fields={"cause": self._halted_by, "refused": self._refused},
        )
        try:
            self._engine.dispose()
            self._read_head()
            self._write([resumed])
        except Exception:  # noqa: BLE001 - whatever it was, the ledger stays shut and the thread alive
            self._drop_connection()
            return
        with self._gate:
            self._halted_by = ""
            self._refused = 0

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
            cause = self._halted_by or "closed-or-full"
        for pending in group:
            pending.future.set_exception(
                AuditUnavailableError("the ledger cannot write", actual=cause)
            )

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


def _cause(error: Exception) -> str:
    """Return the short name of what went wrong, as a record may hold it."""
    if isinstance(error, DBAPIError):
        named = getattr(error.orig, "sqlite_errorname", None)
        return str(named or type(error.orig).__name__)
    return type(error).__name__
