"""The only reader of time on the isolated host.

Core modules take ``now`` as an argument; this is where it comes from.
"""

import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """Where a flow gets its time from."""

    def now(self) -> dt.datetime:
        """Return the current time in UTC, with microseconds."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go back while the host is up."""


class SystemClock:
    """The host's own clock."""

    def now(self) -> dt.datetime:
        """Return the current time in UTC, with microseconds."""
        return dt.datetime.now(dt.UTC)

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go back while the host is up."""
        return time.monotonic_ns()


def rfc3339(moment: dt.datetime) -> str:
    """Return ``moment`` in UTC as ``2026-11-22T08:04:29.123456Z``, always 6 digits."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
