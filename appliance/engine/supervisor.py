"""Keeps one engine process alive and speaks for it: ``port.Engine`` for one model.

The process is started with a socket pair and nothing else: no inherited
environment, no standard input, its own session. When it dies, in-flight callers
get ``EngineUnavailableError``, and a new one is started after a back-off that
doubles up to :data:`BACKOFF_MAX_S`. A process that does not answer within
``reply_timeout_s`` (a chat template that never ends, say) is killed: a hung
engine and a dead one are the same to a caller, and only the second recovers.
"""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from appliance.engine import protocol as wire
from appliance.engine.client import EngineClient
from appliance.engine.port import Message, Piece, Sampling, Ticket, Usage
from appliance.errors import EngineUnavailableError
from appliance.settings import EngineSettings, engine_threads

BACKOFF_MIN_S = 0.25
"""Wait before the first restart; a healthy run resets it."""

BACKOFF_MAX_S = 30.0
"""Longest wait between two restarts."""

HEALTHY_S = 60.0
"""A process that served this long starts the back-off over when it dies."""

REAP_POLL_S = 0.01
"""How often a killed process is looked at until it is gone."""

_WORKER = "appliance.engine.worker"

_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "GGML_NO_BACKTRACE": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""All that a worker is given: nothing of the gateway's own environment."""

_log = logging.getLogger(__name__)


class EngineSupervisor:
    """One model's engine process, restarted when it dies.

    The thread that runs the event loop MUST outlive the engine: the kernel kills
    the process when the thread that started it ends.

    Args:
        model_path: The model file, in the store; opened by the process only.
        settings: The limits of this engine.
        on_crash: Told of each process that died by itself, with its exit status
            (negative: the signal) and how often one was started again so far.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        settings: EngineSettings,
        on_crash: Callable[[int, int], object] = lambda _status, _restarts: None,
    ) -> None:
        self._model_path = model_path
        self._settings = settings
        self._on_crash = on_crash
        self._client: EngineClient | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._limits: wire.Ready | None = None
        self._ended: dict[str, Usage] = {}
        self._restarts = 0

    @property
    def ready(self) -> bool:
        """Whether a process is up and has its model loaded."""
        return self._client is not None

    @property
    def restarts(self) -> int:
        """How often a process was started again after the first."""
        return self._restarts

    @property
    def pid(self) -> int | None:
        """Process id of the running engine, or None."""
        return self._process.pid if self._process is not None else None

    @property
    def context_tokens(self) -> int:
        """Tokens that one request may hold, as the loaded model allows.

        Raises:
            EngineUnavailableError: No process has loaded the model yet.
        """
        if self._limits is None:
            raise EngineUnavailableError("the engine has not been started")
        return self._limits.context_tokens

    async def start(self) -> None:
        """Return once the model is loaded and requests are served.

        Raises:
            EngineUnavailableError: The model cannot be served; no process is left.
        """
        client = await self._launch()
        self._keeper = asyncio.create_task(self._keep(client))

    async def close(self) -> None:
        """End the process; in-flight callers get ``EngineUnavailableError``."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        # A keeper that was cancelled before its first step has cleaned up nothing.
        client, self._client = self._client, None
        if client is not None:
            client.fail("the engine was closed")
            await client.closed()
        await self._reap()

    async def prepare(
        self,
        request_id: str,
        *,
        tenant: str,
        messages: tuple[Message, ...],
        sampling: Sampling,
    ) -> Ticket:
        """Hold a place; see :class:`appliance.engine.port.Engine`."""
        client = self._running()
        try:
            async with asyncio.timeout(self._settings.reply_timeout_s):
                return await client.prepare(
                    request_id, tenant=tenant, messages=messages, sampling=sampling
                )
        except TimeoutError as error:
            self._kill("no answer to a request")
            raise EngineUnavailableError("the engine did not answer in time") from error

    async def generate(self, ticket: Ticket) -> AsyncIterator[Piece]:
        """Start the request and yield its pieces."""
        pieces = self._running().generate(ticket)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def cancel(self, request_id: str) -> Usage:
        """Free the place and the cells within one step; harmless if finished."""
        if self._client is None:
            return self._ended.get(
                request_id, Usage(prompt_tokens=0, completion_tokens=0)
            )
        return await self._client.cancel(request_id)

    async def stats(self) -> wire.Stats:
        """Return the engine's counts between two steps.

        Raises:
            EngineUnavailableError: The process is down, or did not answer in time.
        """
        client = self._running()
        try:
            async with asyncio.timeout(self._settings.reply_timeout_s):
                return await client.stats()
        except TimeoutError as error:
            self._kill("no answer to the watchdog")
            raise EngineUnavailableError("the engine did not answer in time") from error

    def _running(self) -> EngineClient:
        if self._client is None:
            raise EngineUnavailableError("the engine is down or restarting")
        return self._client

    async def _keep(self, client: EngineClient) -> None:
        """Serve, and start again whenever the process dies; ends by cancellation."""
        loop = asyncio.get_running_loop()
        backoff_s = BACKOFF_MIN_S
        while True:
            began = loop.time()
            status = await self._serve(client)
            _log.error("engine process ended with %d; starting it again", status)
            self._on_crash(status, self._restarts)
            if loop.time() - began > HEALTHY_S:
                backoff_s = BACKOFF_MIN_S
            while True:
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
                self._restarts += 1
                with contextlib.suppress(EngineUnavailableError):
                    client = await self._launch()
                    break

    async def _serve(self, client: EngineClient) -> int:
        """Hand out reports until the process dies; return its exit status."""
        watchdog = asyncio.create_task(self._watch())
        try:
            await client.run()
        finally:
            self._client = None
            watchdog.cancel()
            await asyncio.gather(watchdog, client.closed(), return_exceptions=True)
            status = await self._reap()
        return status

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._settings.reply_timeout_s / 2)
            with contextlib.suppress(EngineUnavailableError):
                await self.stats()

    async def _launch(self) -> EngineClient:
        """Start a process and have it load the model, or leave nothing behind."""
        self._process, ours = _spawn()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        client = EngineClient(reader, writer, ended=self._ended)
        try:
            async with asyncio.timeout(self._settings.load_timeout_s):
                self._limits = await client.load(self._order())
        except BaseException as error:
            client.fail("the engine could not be started")
            await client.closed()
            await self._reap()
            if isinstance(error, TimeoutError):
                raise EngineUnavailableError(
                    "the model did not load in time", where=str(self._model_path)
                ) from error
            raise
        self._client = client
        return client

    def _order(self) -> wire.Load:
        settings = self._settings
        return wire.Load(
            model_path=str(self._model_path),
            context_tokens=settings.context_tokens,
            cells=settings.cells,
            sequences=settings.sequences,
            batch_tokens=settings.batch_tokens,
            queued_requests=settings.queued_requests,
            queue_timeout_s=settings.queue_timeout_s,
            default_max_tokens=settings.default_max_tokens,
            threads=engine_threads(settings),
        )

    def _kill(self, why: str) -> None:
        if self._process is not None:
            _log.error("engine process %d killed: %s", self._process.pid, why)
            self._process.kill()

    async def _reap(self) -> int:
        """Kill the process if it lives; when it is gone, return its exit status.

        It has nothing to save, so it is given no time.
        """
        process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()
        while (status := process.poll()) is None:  # noqa: ASYNC110  # its death sets no Event
            await asyncio.sleep(REAP_POLL_S)
        return status


def _spawn() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a worker, in a session of its own; return it and our end of its socket.

    Raises:
        EngineUnavailableError: The host cannot start a process.
    """
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise _cannot_start(error) from error
    with theirs:
        try:
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [
                    sys.executable,
                    "-I",
                    "-m",
                    _WORKER,
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=_ENVIRONMENT,
            )
        except OSError as error:
            ours.close()
            raise _cannot_start(error) from error
    return process, ours


def _cannot_start(error: OSError) -> EngineUnavailableError:
    return EngineUnavailableError(
        "the host cannot start an engine process", actual=str(error)
    )
