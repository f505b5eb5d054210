"""Whether a request that has just come is worth ending a batch for.

A batch of many answers takes long; one who asks beside them would wait for the rest
of it, whatever is kept free. Such a batch may be given up: nothing of it was shown
to anybody, and it is computed again after the newcomer's prompt. What is lost that
way is bounded: a small part of the time that batches took.

Written between two batches, read by the thread that hears the orders; each value is
replaced as a whole, so no lock is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass

LOST_SHARE = 0.1
"""What part of the time may be given up."""

MOST_CREDIT_S = 1.0
"""Time that may be given up at once, after a long while without. Unit: seconds."""

SHORT_CHARACTERS = 1024
"""The longest text that a batch is given up for; see ``plan.SHORT_TOKENS``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Guests:
    """Whom a batch may be given up for.

    Attributes:
        running: Tenants of whom something runs: they are not newcomers.
        placed: Short requests of others that hold a place and are not started.
    """

    running: frozenset[str]
    placed: frozenset[str]


class Haste:
    """Ends a batch early for those it may be ended for.

    Args:
        interrupt: Ends the batch that is being computed; harmless without one.
    """

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt
        self._guests: Guests | None = None
        self._credit_s = 0.0

    @property
    def affordable(self) -> bool:
        """Whether enough was computed before, so that a batch may be given up."""
        return self._credit_s > 0

    def allow(self, guests: Guests | None) -> None:
        """Let the next batch be given up for these, if that is affordable."""
        self._guests = guests if self.affordable else None

    def forbid(self) -> None:
        """Let nothing be given up."""
        self._guests = None

    def spent(self, seconds: float, *, lost: bool) -> None:
        """Learn how long a batch was computed, and whether it was given up."""
        gained_s = -seconds if lost else LOST_SHARE * seconds
        self._credit_s = min(MOST_CREDIT_S, self._credit_s + gained_s)

    def asked(self, tenant: str, *, characters: int) -> None:
        """Hear that a request asks for a place."""
        guests = self._guests
        if guests and characters <= SHORT_CHARACTERS and tenant not in guests.running:
            self._interrupt()

    def started(self, request_id: str) -> None:
        """Hear that a request with a place may run."""
        guests = self._guests
        if guests and request_id in guests.placed:
            self._interrupt()
