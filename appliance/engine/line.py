"""One prompt at a time is on its way to an engine; the others stand in line.

An engine counts a prompt between two steps, and a long one costs everybody's
time. So a frame is sent when the one before it is answered, in the order of
arrival: orders to start or cancel wait behind one prompt, never behind a queue,
and the clock of an answer starts when its question was sent. Bounded by the
caller, which refuses requests beyond the engine's places.
"""

import asyncio
from collections.abc import Callable


class Line:
    """The prompts of one connection.

    Args:
        send: Sends one frame, at once.
        reply_timeout_s: Longest wait for the answer to a frame that was sent.
        late: Called when that time is over.
    """

    def __init__(
        self,
        *,
        send: Callable[[bytes], object],
        reply_timeout_s: float,
        late: Callable[[], object],
    ) -> None:
        self._send = send
        self._reply_timeout_s = reply_timeout_s
        self._late = late
        self._waiting: dict[str, bytes] = {}
        self._under_way: str | None = None
        self._clock: asyncio.TimerHandle | None = None

    def join(self, request_id: str, frame: bytes) -> None:
        """Have ``frame`` sent when it is its turn."""
        self._waiting[request_id] = frame
        self._advance()

    def leave(self, request_id: str) -> bool:
        """Take a request out of the line; False if its frame was sent already.

        A frame that was sent keeps its turn until it is answered.
        """
        return self._waiting.pop(request_id, None) is not None

    def answered(self, request_id: str) -> None:
        """Let the next one go; harmless for a request that is not under way."""
        if request_id == self._under_way:
            self._stop_clock()
            self._under_way = None
            self._advance()

    def close(self) -> None:
        """Send nothing more, and wait for nothing."""
        self._stop_clock()
        self._waiting.clear()

    def _advance(self) -> None:
        if self._under_way is not None or not self._waiting:
            return
        request_id = self._under_way = next(iter(self._waiting))
        self._send(self._waiting.pop(request_id))
        self._clock = asyncio.get_running_loop().call_later(
            self._reply_timeout_s, self._late
        )

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
