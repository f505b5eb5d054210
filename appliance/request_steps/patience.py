"""How long a request may wait and may take, and what happens when that is over."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from appliance.engine.port import Engine
from appliance.errors import DeadlineError, QueueTimeoutError, UnsupportedValueError
from appliance.quota.gate import RunningGate

HEADER = "x-request-timeout"
"""The header in which a caller says how long it wants to wait. Unit: seconds."""

_SECONDS = re.compile(r"[0-9]{1,7}(\.[0-9]{1,3})?")


def allowed_s(asked: str | None, *, most_s: float) -> float:
    """Return the seconds that a request may take.

    Args:
        asked: What the caller wrote in :data:`HEADER`; it can only lower the limit.
        most_s: The host's limit.

    Raises:
        UnsupportedValueError: It is not a number of seconds above 0.
    """
    if asked is None:
        return most_s
    if not _SECONDS.fullmatch(asked) or float(asked) == 0:
        raise UnsupportedValueError(
            f"{HEADER} must be a number of seconds above 0, with at most three "
            "decimals",
            param=HEADER,
        )
    return min(float(asked), most_s)


def too_late() -> DeadlineError:
    """Return the error of a request whose time is over."""
    return DeadlineError("the request's time is over")


@asynccontextmanager
async def in_time(left_s: float) -> AsyncIterator[None]:
    """Raise ``DeadlineError`` inside when so many seconds are over."""
    try:
        async with asyncio.timeout(left_s):
            yield
    except TimeoutError as error:
        raise too_late() from error


class Cutoff:
    """Ends one request in its engine when its time is over.

    Attributes:
        over: Whether it is.
    """

    def __init__(self, engine: Engine, request_id: str, *, after_s: float) -> None:
        self._engine = engine
        self._request_id = request_id
        self.over = False
        self._work: asyncio.Task[object] | None = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, after_s), self._cut)

    def stop(self) -> None:
        """Let the request be: it has ended."""
        self._timer.cancel()

    def _cut(self) -> None:
        self.over = True
        self._work = asyncio.ensure_future(self._engine.cancel(self._request_id))


class Turnstile:
    """Lets one request be worked on in each turn of the loop.

    The loop serves everybody else in between, however many come at one moment.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn of the loop that no other request has."""
        async with self._lock:
            await asyncio.sleep(0)
            yield


class Turns:
    """Lets requests run: so many of each team at once, each in its time.

    Args:
        wait_s: How long a request may wait for its team's turn.
    """

    def __init__(self, *, wait_s: float) -> None:
        self._wait_s = wait_s
        self._gate = RunningGate()

    @asynccontextmanager
    async def turn(
        self,
        team: str,
        *,
        most: int,
        engine: Engine,
        request_id: str,
        left_s: Callable[[], float],
    ) -> AsyncIterator[Cutoff]:
        """Wait for the team's turn; while it lasts, the time of the request runs.

        Raises:
            QueueTimeoutError: The turn did not come in time.
            DeadlineError: Nor did it before the request's time was over.
        """
        wait_s = min(left_s(), self._wait_s)
        try:
            await self._gate.enter(team, most=most, wait_s=wait_s)
        except QueueTimeoutError:
            if wait_s < self._wait_s:
                raise too_late() from None
            raise
        cutoff = Cutoff(engine, request_id, after_s=left_s())
        try:
            yield cutoff
        finally:
            cutoff.stop()
            self._gate.leave(team)
