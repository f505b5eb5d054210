"""Whether the wall clock goes as time does.

Between two looks it must advance as the monotonic clock does, and it must not be
before the newest record. Times that others measured cannot be repaired afterwards, so
a clock that goes back halts the ledger; one that jumps ahead is put on record.
"""

import datetime as dt

from appliance.clock import Clock
from appliance.errors import AuditUnavailableError
from appliance.ledger.records.events import Draft, Event, Outcome, timestamp
from bundleformat.ledger_release import Cause

TOLERANCE_S = 5
"""How far the wall clock may be from where it should be. Unit: seconds."""


class ClockWatch:
    """Compares ``clock`` with itself and with the newest record.

    Args:
        clock: Both clocks.
        newest: The time of the newest record, or None.
    """

    def __init__(self, clock: Clock, *, newest: str | None) -> None:
        self._clock = clock
        self._step: Draft | None = None
        self.begin_anew(newest)

    def begin_anew(self, newest: str | None) -> None:
        """Take the clock as it is now, compared with the newest record alone."""
        self._wall = self._clock.now()
        self._ns = self._clock.monotonic_ns()
        self._newest = None if newest is None else dt.datetime.fromisoformat(newest)

    def look(self) -> dt.datetime:
        """Return the time for a record.

        Raises:
            AuditUnavailableError: The clock went back.
        """
        now, ns = self._clock.now(), self._clock.monotonic_ns()
        due = self._wall + dt.timedelta(microseconds=(ns - self._ns) // 1_000)
        check_clock(now, due=due if self._newest is None else max(due, self._newest))
        if now - due > dt.timedelta(seconds=TOLERANCE_S):
            self._step = _step(due, now)
        self._wall, self._ns = now, ns
        return now

    def recorded(self, now: dt.datetime) -> None:
        """Remember the time of the newest record."""
        self._newest = now if self._newest is None else max(now, self._newest)

    def take_step(self) -> Draft | None:
        """Return the record of a jump ahead, once."""
        step, self._step = self._step, None
        return step


def check_clock(now: dt.datetime, *, due: dt.datetime) -> None:
    """Check that it is not earlier than it must be.

    Raises:
        AuditUnavailableError: It is, by more than the tolerance.
    """
    behind = due - now
    if behind > dt.timedelta(seconds=TOLERANCE_S):
        raise AuditUnavailableError(
            "the clock went back",
            expected=f"{timestamp(due)} or later",
            actual=timestamp(now),
            cause=Cause.CLOCK_BACK,
            details={"behind_ms": behind // dt.timedelta(milliseconds=1)},
        )


def _step(due: dt.datetime, now: dt.datetime) -> Draft:
    return Draft(
        event=Event.CLOCK_STEP,
        outcome=Outcome.OK,
        fields={
            "from": timestamp(due),
            "to": timestamp(now),
            "ahead_ms": (now - due) // dt.timedelta(milliseconds=1),
        },
    )
