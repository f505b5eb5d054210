"""Counts the crashes of one model, and says when there were too many; pure."""

from collections import deque


class CrashWindow:
    """The crashes of the last ``window_s`` seconds, and how many are too many."""

    def __init__(self, *, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._moments: deque[float] = deque(maxlen=limit)

    def note(self, now_s: float) -> bool:
        """Count a crash; return whether the limit is reached with it."""
        self._moments.append(now_s)
        full = len(self._moments) == self._limit
        return full and now_s - self._moments[0] <= self._window_s

    def forget(self) -> None:
        """Begin to count anew."""
        self._moments.clear()
