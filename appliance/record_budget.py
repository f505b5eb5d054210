"""Bounds how fast callers without a key can make the ledger grow; pure.

Whoever reaches the port can be refused as often as they like. Each refusal is a
record while they are few; beyond that they are counted, and the next record
carries the number, so that the ledger stays complete as a count and an attacker
cannot fill the disk with it.
"""

BURST = 100
"""Refusals recorded one by one before the rate applies. Unit: records."""

RATE_PER_S = 5
"""Refusals recorded one by one in the long run. Unit: records per second."""


class RecordBudget:
    """A token bucket that counts what it turned away."""

    def __init__(self) -> None:
        self._tokens = float(BURST)
        self._last_ns: int | None = None
        self._left_out = 0

    def take(self, now_ns: int) -> bool:
        """Return whether one more may be recorded; count it if not."""
        if self._last_ns is not None:
            earned = (now_ns - self._last_ns) * RATE_PER_S / 1e9
            self._tokens = min(float(BURST), self._tokens + earned)
        self._last_ns = now_ns
        if self._tokens < 1:
            self._left_out += 1
            return False
        self._tokens -= 1
        return True

    def settle(self) -> int:
        """Return how many were left out since this was last asked."""
        left_out, self._left_out = self._left_out, 0
        return left_out
