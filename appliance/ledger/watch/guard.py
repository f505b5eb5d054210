"""Watches over one ledger for a process: OK, LOW or HALTED.

Every program that opens the host has the guard examine the ledger; the server's
writer asks it before each commit and once a second. What it finds halts the ledger,
for every process, until the security officer releases it.
"""

import contextlib
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import Clock
from appliance.db.session import database_faults, reader
from appliance.db.tables import CheckpointRow, HaltRow, RecordRow
from appliance.errors import AuditUnavailableError
from appliance.ledger.log.halt import Halt, find_halt, marker_of
from appliance.ledger.log.halt_marker import Marked
from appliance.ledger.log.objects import ObjectsWatch, check_objects
from appliance.ledger.records.events import Draft, Event
from appliance.ledger.records.fields import JSON
from appliance.ledger.watch.ballast import Ballast
from appliance.ledger.watch.clock_watch import ClockWatch, check_clock
from appliance.ledger.watch.halting import Signing, end_halt, keep_halt, mark
from appliance.ledger.watch.head_copy import HeadCopy, check_contains
from appliance.ledger.watch.room import Room, RoomWatch
from bundleformat.errors import StorageFaultError
from bundleformat.ledger_release import Cause, LedgerRelease

_NEWEST_TS: Final = (
    select(CheckpointRow.ts).order_by(CheckpointRow.size.desc()).limit(1)
)
_LAST_CROSSING: Final = (
    select(RecordRow.event)
    .where(RecordRow.event.in_((str(Event.LOG_LOW), str(Event.LOG_RECOVERED))))
    .order_by(RecordRow.seq.desc())
    .limit(1)
)


class State(StrEnum):
    """How the ledger is."""

    OK = "OK"
    LOW = "LOW"
    HALTED = "HALTED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How the ledger is, and what halted it."""

    state: State
    cause: Cause | None = None


class LedgerGuard:
    """Watches over the ledger of one host.

    Args:
        engine: Its database.
        signing: Whose ledger it is, and what signs the records of halting.
        clock: Both times.
        ballast: Room that is given up to record a halt.
        head_copy: The head that the ledger must contain.
        low_percent: Below which share of the disk free space is low.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        signing: Signing,
        clock: Clock,
        ballast: Ballast,
        head_copy: HeadCopy,
        low_percent: int,
    ) -> None:
        self._engine = engine
        self._signing = signing
        self._clock_source = clock
        self._ballast = ballast
        self._copy = head_copy
        self._room = RoomWatch(
            ballast.folder,
            low_percent=low_percent,
            ballast_bytes=ballast.size_bytes,
        )
        self._objects = ObjectsWatch()
        self._clock = ClockWatch(clock, newest=None)
        self._notes: list[Draft] = []

    @property
    def ballast(self) -> Ballast:
        """The room that is kept back."""
        return self._ballast

    def room(self) -> Room:
        """Return how much room the disk has.

        Raises:
            OSError: The disk does not say.
        """
        return self._room.look()

    def examine(self) -> Halt | None:
        """Return the halt the ledger is in, after looking for a reason for one.

        Raises:
            StorageFaultError: The database cannot be read.
        """
        kept, now = self._copy.read(), self._clock_source.now()
        with database_faults(self._engine):
            try:
                with reader(self._engine).connect() as connection:
                    halt = find_halt(connection)
                    if halt is not None:
                        return halt
                    check_objects(connection)
                    check_contains(connection, kept)
                    newest = connection.execute(_NEWEST_TS).scalar_one_or_none()
                    check_clock(
                        now, due=dt.datetime.fromisoformat(newest) if newest else now
                    )
            except AuditUnavailableError as error:
                self.halt(error)
            with reader(self._engine).connect() as connection:
                return find_halt(connection)

    def begin(self) -> Halt | None:
        """Prepare for a server, which holds the serve lock; return the halt it is in.

        Raises:
            StorageFaultError: There is no room for the ballast, or the database
                cannot be read.
        """
        halt = self.examine()
        if halt is not None and not halt.recorded:
            marked = marker_of(self._engine).read()
            if marked is not None:
                self._keep(marked)
        if halt is None:
            self.hold_ballast()
            self.refresh_head()
        return halt

    def hold_ballast(self) -> None:
        """Keep the room back from now on.

        Raises:
            StorageFaultError: The disk has not that much.
        """
        try:
            self._ballast.hold()
        except OSError as error:
            raise StorageFaultError(
                "there is no room to keep back for the ledger",
                where=str(self._ballast.folder),
                expected=f"{self._ballast.size_bytes:,} bytes",
                actual=str(error.strerror),
                hint="Free that much on the disk of the home folder; it is the setting "
                "ballast_bytes in the section [ledger].",
            ) from error

    def follow_from_now(self, connection: Connection) -> None:
        """Begin to watch as a writer does, from what the ledger says."""
        newest = connection.execute(_NEWEST_TS).scalar_one_or_none()
        self._clock.begin_anew(newest)
        crossing = connection.execute(_LAST_CROSSING).scalar_one_or_none()
        self._room.low = crossing == Event.LOG_LOW

    def look(self, connection: Connection) -> dt.datetime:
        """Return the time for the records of this transaction, if it may go on.

        Raises:
            AuditUnavailableError: The ledger has to halt.
        """
        self._objects.look(connection)
        return self._clock.look()

    def look_around(self) -> None:
        """Look at everything that can change between two commits.

        Raises:
            AuditUnavailableError: The ledger has to halt.
            SQLAlchemyError, OSError: The database or the disk cannot be read.
        """
        self._clock.look()
        crossing = self._room.follow()
        if crossing is not None:
            self._notes.append(crossing)
        with reader(self._engine).connect() as connection:
            self._objects.look(connection, closely=True)
            self._copy.refresh(connection)

    def notes(self) -> tuple[Draft, ...]:
        """Return what is to be recorded of all that; again until it is."""
        step = self._clock.take_step()
        if step is not None:
            self._notes.append(step)
        return tuple(self._notes)

    def recorded(self, now: dt.datetime) -> None:
        """Remember that a transaction of that time is durable."""
        self._clock.recorded(now)

    def noted(self) -> None:
        """Remember that all notes are durable."""
        self._notes.clear()

    def refresh_head(self) -> None:
        """Have the copy of the head follow the ledger."""
        with (
            database_faults(self._engine),
            reader(self._engine).connect() as connection,
        ):
            self._copy.refresh(connection)

    def halt(self, error: Exception) -> Marked:
        """Halt the ledger for what ``error`` says; return the halt to follow."""
        return self._keep(mark(error, now=self._clock_source.now()))

    def find(self) -> Marked | None:
        """Return the halt the ledger is in, or None.

        Raises:
            StorageFaultError: The database cannot be read.
        """
        with (
            database_faults(self._engine),
            reader(self._engine).connect() as connection,
        ):
            halt = find_halt(connection)
        return None if halt is None else Marked(cause=halt.cause, halted=halt.halted)

    def follow(self, marked: Marked) -> Marked | None:
        """Return the halt that is to be waited for, or None if it was released.

        One that is not on record is put there. A mark that disappeared ends
        nothing: only a record of the release does.
        """
        try:
            with reader(self._engine).connect() as connection:
                row = connection.execute(
                    select(HaltRow.released_seq).where(
                        HaltRow.halted_ts == marked.halted
                    )
                ).one_or_none()
        except SQLAlchemyError:
            return marked
        if row is None:
            return self._keep(marked)
        return marked if row.released_seq is None else None

    def _keep(self, marked: Marked) -> Marked:
        return keep_halt(
            self._engine,
            marked,
            signing=self._signing,
            ballast=self._ballast,
            now=self._clock_source.now(),
        )

    def release(
        self,
        release: LedgerRelease,
        *,
        envelope: bytes,
        key_ids: tuple[str, ...],
        now: dt.datetime,
        account: Mapping[str, JSON] = MappingProxyType({}),
    ) -> None:
        """End the halt that ``release`` names, if its cause is over.

        The caller MUST have compared the release with the halt. ``account`` is who
        brought it, for its record.

        Raises:
            AuditUnavailableError: Triggers are changed, or the head is not sound.
            StorageFaultError: There is still no room.
            SQLAlchemyError: The database refused; the ledger stays halted.
        """
        self._make_room()
        with self._engine.begin() as connection:
            check_objects(connection)
            end_halt(
                connection,
                release,
                envelope=envelope,
                key_ids=key_ids,
                signing=self._signing,
                now=now,
                account=account,
            )
        with contextlib.suppress(OSError):
            marker_of(self._engine).remove()
        self.refresh_head()

    def _make_room(self) -> None:
        """Keep the ballast back again, and see that there is more than that."""
        try:
            self.hold_ballast()
            self._check_room()
        except StorageFaultError:
            self._ballast.give_up()
            raise

    def _check_room(self) -> None:
        free_bytes = self._room.look().free_bytes
        if free_bytes < self._ballast.size_bytes:
            raise StorageFaultError(
                "the disk is still full",
                where=str(self._ballast.folder),
                expected=f"{self._ballast.size_bytes:,} bytes free",
                actual=f"{free_bytes:,} bytes",
                hint="Free space on the disk of the home folder.",
            )

    def standing(self, halted: Marked | None) -> Standing:
        """Return how the ledger is, as its writer knows it."""
        if halted is not None:
            return Standing(state=State.HALTED, cause=halted.cause)
        return Standing(state=State.LOW if self._room.low else State.OK)
