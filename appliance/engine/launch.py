"""Starts and ends the process of an engine; knows nothing of what it says.

The process is given a socket and nothing else: no inherited environment, no
standard input, its own session.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from appliance.errors import EngineUnavailableError

REAP_POLL_S = 0.01
"""How often a killed process is looked at until it is gone."""

WORKER = "appliance.engine.worker"
"""The program that serves a model."""

PROBE = "appliance.engine.worker.probe"
"""The program that says what a load would take."""

STOPWATCH = "appliance.engine.worker.stopwatch"
"""The program that says how fast a model is."""

_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "GGML_NO_BACKTRACE": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""All that a worker is given: nothing of the gateway's own environment."""


class Process:
    """A started child and our end of its socket.

    ``module`` is the program. It is given the number of its end, our process id,
    and ``arguments``. The caller MUST ``end`` it, whatever becomes of the
    connection.

    Raises:
        EngineUnavailableError: The host cannot start a process.
    """

    def __init__(self, module: str = WORKER, *arguments: str) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise _cannot_start(error) from error
        with theirs:
            try:
                self._process = _spawn(theirs, module, arguments)
            except OSError as error:
                ours.close()
                raise _cannot_start(error) from error
        self._ours: socket.socket | None = ours

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the two directions of the connection; asked for once.

        The caller MUST close it. It is not closed when the process is ended: the
        event loop knows it by the number of its descriptor, and would take the
        next connection that gets this number for it.
        """
        ours, self._ours = self._ours, None
        return await asyncio.open_unix_connection(sock=ours)

    async def end(self) -> int:
        """Kill the process if it lives; when it is gone, return its exit status.

        It has nothing to save, so it is given no time.
        """
        self._process.kill()
        if self._ours is not None:
            self._ours.close()
        while (status := self._process.poll()) is None:  # noqa: ASYNC110  # its death sets no Event
            await asyncio.sleep(REAP_POLL_S)
        return status


def _spawn(
    theirs: socket.socket, module: str, arguments: Sequence[str]
) -> subprocess.Popen[bytes]:
    """Start a child, in a session of its own, with its end of the socket."""
    return subprocess.Popen(  # noqa: S603  # our own interpreter and module
        [
            sys.executable,
            "-I",
            "-m",
            module,
            str(theirs.fileno()),
            str(os.getpid()),
            *arguments,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(theirs.fileno(),),
        start_new_session=True,
        env=_ENVIRONMENT,
    )


def _cannot_start(error: OSError) -> EngineUnavailableError:
    return EngineUnavailableError(
        "the host cannot start an engine process", actual=str(error)
    )
