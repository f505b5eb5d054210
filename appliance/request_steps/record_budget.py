"""Bounds how fast refusals can make the ledger grow; pure.

Whoever reaches the port can be refused as often as they like, and so can a team
that is past its limits. Each refusal is a record while they are few; beyond that
they are counted, and the next record carries the number, so that the ledger stays
complete as a count and nobody can fill the disk with it.
"""

BURST = 100
"""Refusals without a key recorded one by one before the rate applies.

Unit: records.
"""

RATE_PER_S = 5
"""Refusals without a key recorded one by one in the long run.

Unit: records per second.
"""

TEAM_BURST = 1_000
"""The same for one team that is past a limit. Unit: records."""

TEAM_RATE_PER_S = 10
"""The same for one team in the long run. Unit: records per second."""


class RecordBudget:
    """A token bucket that counts what it turned away."""

    def __init__(self, *, burst: int = BURST, rate_per_s: int = RATE_PER_S) -> None:
        self._burst = float(burst)
        self._rate_per_s = rate_per_s
        self._tokens = self._burst
        self._last_ns: int | None = None
        self._left_out = 0

    @property
    def owes(self) -> bool:
        """Whether some were turned away since ``settle`` was last asked."""
        return self._left_out > 0

    def allows(self, now_ns: int) -> bool:
        """Return whether one more may be recorded, and count nothing."""
        if self._last_ns is not None:
            earned = (now_ns - self._last_ns) * self._rate_per_s / 1e9
            self._tokens = min(self._burst, self._tokens + earned)
        self._last_ns = now_ns
        return self._tokens >= 1

    def take(self, now_ns: int) -> bool:
        """Return whether one more may be recorded; count it if not."""
        if not self.allows(now_ns):
            self._left_out += 1
            return False
        self._tokens -= 1
        return True

    def settle(self) -> int:
        """Return how many were left out since this was last asked."""
        left_out, self._left_out = self._left_out, 0
        return left_out
