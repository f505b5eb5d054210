"""What recent requests used, however they ended and whatever became of the process.

A caller may ask for the usage of a request whose process has died since. That it
ended is known all the same, but not that it ended in the process of today.
"""

from appliance.engine.port import Usage

ENDED_REMEMBERED = 1_024
"""Requests whose final usage is kept, so that a late ``cancel`` can tell it."""

NOTHING = Usage(prompt_tokens=0, completion_tokens=0)
"""The usage of a request that nobody remembers."""


class Endings:
    """Final usage of recent requests of one engine, over all its processes."""

    def __init__(self) -> None:
        self._process = 0
        self._used: dict[str, tuple[int, Usage]] = {}

    def next_process(self) -> None:
        """Count what is noted from now on to another process."""
        self._process += 1

    def note(self, request_id: str, usage: Usage) -> None:
        """Remember what a request used, and forget the oldest."""
        self._used.pop(request_id, None)
        self._used[request_id] = (self._process, usage)
        if len(self._used) > ENDED_REMEMBERED:
            del self._used[next(iter(self._used))]

    def usage(self, request_id: str) -> Usage:
        """Return what a request used; nothing if it is not remembered."""
        return self._used.get(request_id, (0, NOTHING))[1]

    def in_this_process(self, request_id: str) -> bool:
        """Whether a request is known to have ended in the process of today."""
        return self._used.get(request_id, (-1, NOTHING))[0] == self._process
