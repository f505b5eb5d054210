"""A clock that goes, and steps, as a test says."""

import datetime as dt

from tests.support.ledgers import NOW


class SteppingClock:
    """Both clocks stand until they are moved."""

    def __init__(self, moment: dt.datetime = NOW) -> None:
        self._moment = moment
        self._ns = 0

    def now(self) -> dt.datetime:
        return self._moment

    def monotonic_ns(self) -> int:
        return self._ns

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.step(seconds)
        self._ns += round(seconds * 1e9)

    def step(self, seconds: float) -> None:
        """Set the wall clock, ahead or back."""
        self._moment += dt.timedelta(seconds=seconds)
