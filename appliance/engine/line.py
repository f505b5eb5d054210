"""A few short prompts, or one long one, are on their way to an engine; others wait.

An engine counts prompts between two steps, and a long one costs everybody's time.
So frames are sent, in the order of arrival, while those under way are short
together (:data:`AT_ONCE_BYTES`): orders to start or cancel wait behind them, never
behind a queue, and the clock of an answer starts when its question was sent.
Bounded by the caller, which refuses requests beyond the engine's places.
"""

import asyncio
from collections.abc import Callable

AT_ONCE_BYTES = 65_536
"""Bytes of all frames under way, unless a single one is longer.

About what a tokenizer reads in ten milliseconds.
"""


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
        self._under_way: dict[str, int] = {}
        """Bytes of every frame that was sent and not answered."""
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
        if self._under_way.pop(request_id, None) is not None:
            self._stop_clock()
            self._advance()

    def close(self) -> None:
        """Send nothing more, and wait for nothing."""
        self._stop_clock()
        self._waiting.clear()

    def _advance(self) -> None:
        while self._waiting and self._has_room(next(iter(self._waiting.values()))):
            request_id = next(iter(self._waiting))
            frame = self._waiting.pop(request_id)
            self._under_way[request_id] = len(frame)
            self._send(frame)
        if self._under_way and self._clock is None:
            loop = asyncio.get_running_loop()
            self._clock = loop.call_later(self._reply_timeout_s, self._late)

    def _has_room(self, frame: bytes) -> bool:
        taken = sum(self._under_way.values())
        return not taken or taken + len(frame) <= AT_ONCE_BYTES

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
