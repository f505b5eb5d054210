"""A limit by the minute: what was taken comes back at a steady rate; pure.

A bucket begins full. It may be left in debt, by what turned out to be more than
was expected; the debt is paid before anything can be taken again.
"""

MINUTE_NS = 60_000_000_000
"""In how long a whole limit comes back. Unit: nanoseconds."""


class Bucket:
    """What is left of one limit; the limit may change from call to call."""

    __slots__ = ("_at_ns", "_level")

    def __init__(self, limit: int, *, now_ns: int) -> None:
        self._level = float(limit)
        self._at_ns = now_ns

    def left(self, limit: int, *, now_ns: int) -> float:
        """Return what can be taken now; negative while a debt is paid."""
        earned = (now_ns - self._at_ns) * limit / MINUTE_NS
        self._level = min(float(limit), self._level + earned)
        self._at_ns = now_ns
        return self._level

    def move(self, amount: float) -> None:
        """Take ``amount`` out, or put it back if it is negative."""
        self._level -= amount

    def wait_s(self, amount: float, limit: int, *, now_ns: int) -> float:
        """Return in how many seconds ``amount`` can be taken."""
        missing = amount - self.left(limit, now_ns=now_ns)
        return max(0.0, missing * MINUTE_NS / limit / 1e9)
