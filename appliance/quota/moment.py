"""When something is counted; pure."""

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One moment, by both clocks that limits go by.

    Attributes:
        ns: Nanoseconds that never go back; minutes are counted by them.
        now: The time in UTC; days are counted by it.
    """

    ns: int
    now: dt.datetime

    @property
    def day(self) -> dt.date:
        """The day in UTC."""
        return self.now.date()

    @property
    def left_of_day_s(self) -> float:
        """Seconds until the day ends."""
        midnight = dt.datetime.combine(
            self.day + dt.timedelta(days=1), dt.time(), tzinfo=dt.UTC
        )
        return (midnight - self.now).total_seconds()
