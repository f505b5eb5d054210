"""Who of a team may run: so many at once, the others in the order they came."""

import asyncio
from collections import deque

from appliance.errors import QueueTimeoutError

RETRY_AFTER_S = 2
"""What a caller is told to wait that waited too long. Unit: seconds."""


class RunningGate:
    """Counts the requests of each team that run."""

    def __init__(self) -> None:
        self._running: dict[str, int] = {}
        self._lines: dict[str, deque[tuple[asyncio.Future[None], int]]] = {}

    async def enter(self, team: str, *, most: int, wait_s: float) -> None:
        """Return when the team may run one more; the caller MUST ``leave`` then.

        Raises:
            QueueTimeoutError: It could not for ``wait_s`` seconds.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(team, deque()).append((turn, most))
        self._advance(team)
        if turn.done():
            return
        try:
            async with asyncio.timeout(wait_s):
                await turn
        except BaseException as error:
            self._withdraw(team, turn)
            if isinstance(error, TimeoutError):
                raise QueueTimeoutError(
                    "the request waited too long for its team's turn",
                    retry_after_s=RETRY_AFTER_S,
                ) from error
            raise

    def leave(self, team: str) -> None:
        """Let the next one of the team run."""
        self._running[team] -= 1
        if not self._running[team]:
            del self._running[team]
        self._advance(team)

    def _advance(self, team: str) -> None:
        line = self._lines.get(team, deque())
        while line:
            turn, most = line[0]
            running = self._running.get(team, 0)
            if not turn.cancelled():
                if running >= most:
                    return
                self._running[team] = running + 1
                turn.set_result(None)
            line.popleft()
        self._lines.pop(team, None)

    def _withdraw(self, team: str, turn: "asyncio.Future[None]") -> None:
        """Take a request out of the line, or give back the turn it just got."""
        if turn.cancelled():
            self._advance(team)
        else:
            self.leave(team)
