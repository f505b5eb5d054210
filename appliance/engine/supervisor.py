"""Keeps one engine process alive and speaks for it: ``port.Engine`` for one model.

When the process dies, in-flight callers get ``EngineUnavailableError``, and a new
one is started after a back-off that doubles up to :data:`BACKOFF_MAX_S`, as often
as it takes. A process that does not answer within
``reply_timeout_s`` (a chat template that never ends, say) is killed: a hung
engine and a dead one are the same to a caller, and only the second recovers.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.engine import protocol as wire
from appliance.engine.client import EngineClient
from appliance.engine.embedding import Inputs, Vectors
from appliance.engine.endings import Endings
from appliance.engine.launch import Process
from appliance.engine.planning.choices import Choice
from appliance.engine.planning.orders import load_order, margins
from appliance.engine.planning.planner import Plan, Planner, difference
from appliance.engine.port import Message, Piece, Sampling, Ticket, Usage
from appliance.errors import EngineUnavailableError, ProbeDiedError
from appliance.settings import EngineSettings, engine_threads
from bundleformat.errors import Error

BACKOFF_MIN_S = 0.25
"""Wait before the first restart; a healthy run resets it."""

BACKOFF_MAX_S = 30.0
"""Longest wait between two restarts."""

HEALTHY_S = 60.0
"""A process that served this long starts the back-off over when it dies."""

_log = logging.getLogger(__name__)


async def _nothing_to_check() -> None:
    """Let every launch go on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """A process that died, or a try to start one that came to nothing.

    Attributes:
        exit_status: Of the process; negative: the signal, also if it was killed
            because it did not answer or did not get ready; 0 if it gave up by
            itself or there was none.
        restarts: How often it had been tried to start a new one, this try counted.
        died: Whether the process died, or hung while it served. One that gives a
            reason and ends has not died.
    """

    exit_status: int
    restarts: int
    died: bool


class EngineSupervisor:
    """One model's engine process, restarted when it dies.

    The thread that runs the event loop MUST outlive the engine: the kernel kills
    the process when the thread that started it ends.

    Args:
        model_paths: The model's file in the store, or all parts of a split one, in
            order; opened by the process only.
        settings: The limits of this engine.
        on_crash: Told of each process that died, serving or loading, and of each
            other try to start one again that failed.
        check: Awaited before every start of a process, the first and all others.
            An ``Error`` it raises fails that start, and no process is made.
        endings: Where it is remembered what requests used; may be another
            supervisor's, of the same model and gone.
        planner: Says whether there is memory enough for a start, and how to load.
        choice: What was measured to be best for this model on this host.
    """

    def __init__(
        self,
        *model_paths: Path,
        settings: EngineSettings,
        on_crash: Callable[[Crash], object] = lambda _crash: None,
        check: Callable[[], Awaitable[None]] = _nothing_to_check,
        endings: Endings | None = None,
        planner: Planner | None = None,
        choice: Choice | None = None,
    ) -> None:
        self._model_paths = model_paths
        self._settings = settings
        self._on_crash = on_crash
        self._check = check
        self._planner = planner or Planner(margins(settings))
        self._choice = choice
        self._client: EngineClient | None = None
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._limits: wire.Ready | None = None
        self._threads = engine_threads(settings)
        self._endings = endings or Endings()
        self._exit_status = 0
        self._died = False
        self._restarts = 0

    @property
    def ready(self) -> bool:
        """Whether a process is up and has its model loaded."""
        return self._client is not None and not self._client.problem

    @property
    def restarts(self) -> int:
        """How often it was tried to start a process after the first."""
        return self._restarts

    @property
    def open_requests(self) -> int:
        """Requests that have a place or wait for one."""
        return 0 if self._client is None else self._client.open_requests

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

    def use_threads(self, threads: int) -> None:
        """Have this engine, and every one after it, compute with so many threads."""
        if threads == self._threads:
            return
        self._threads = threads
        if self._client is not None:
            self._client.use_threads(threads)

    async def start(self) -> None:
        """Return once the model is loaded and requests are served.

        Raises:
            EngineUnavailableError: The model cannot be served; no process is left.
            Error: What ``check`` raised; no process was started.
        """
        try:
            client = await self._launch()
        except Error:
            if self._died:
                self._tell()
            raise
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
        weight: int = 1,
        priority: int = 0,
        deadline_s: float | None = None,
    ) -> Ticket:
        """Hold a place; see :class:`appliance.engine.port.Engine`."""
        return await self._running().prepare(
            wire.Prepare(
                request_id=request_id,
                tenant=tenant,
                messages=messages,
                sampling=sampling,
                weight=weight,
                priority=priority,
                deadline_s=deadline_s,
            )
        )

    async def generate(self, ticket: Ticket) -> AsyncGenerator[Piece, None]:
        """Start the request and yield its pieces."""
        pieces = self._running().generate(ticket)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def prepare_inputs(
        self,
        request_id: str,
        *,
        tenant: str,
        inputs: Inputs,
        dimensions: int | None,
        weight: int = 1,
    ) -> Ticket:
        """Hold a place; see :class:`appliance.engine.embedding.Embedder`."""
        return await self._running().prepare(
            wire.PrepareInputs(
                request_id=request_id,
                tenant=tenant,
                texts=inputs.texts,
                tokens=inputs.tokens,
                dimensions=dimensions,
                weight=weight,
            )
        )

    async def embed(self, ticket: Ticket) -> AsyncGenerator[Vectors, None]:
        """Start the request and yield its vectors."""
        parts = self._running().embed(ticket)
        async with contextlib.aclosing(parts):
            async for part in parts:
                yield part

    async def cancel(self, request_id: str) -> Usage:
        """Free the place and the cells within one step; harmless if finished."""
        if self._client is None:
            return self._endings.usage(request_id)
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
            client.fail("the engine did not answer the watchdog")
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
            _log.error(
                "engine process ended with %d (%s); starting it again",
                status,
                client.problem,
            )
            self._died = True
            self._tell()
            if loop.time() - began > HEALTHY_S:
                backoff_s = BACKOFF_MIN_S
            client, backoff_s = await self._relaunch(backoff_s)

    async def _relaunch(self, backoff_s: float) -> tuple[EngineClient, float]:
        """Try until a process is ready; return its client and the next back-off."""
        told = ""
        while True:
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
            self._restarts += 1
            try:
                return await self._launch(), backoff_s
            except Error as error:
                # A reason that stays the same is told once, not for ever.
                if error.text() != told:
                    told = error.text()
                    _log.error("the engine cannot be started again: %s", told)
                self._tell()

    def _tell(self) -> None:
        self._on_crash(
            Crash(
                exit_status=self._exit_status,
                restarts=self._restarts,
                died=self._died,
            )
        )

    async def _serve(self, client: EngineClient) -> int:
        """Hand out reports until the process dies; return its exit status."""
        watchdog = asyncio.create_task(self._watch())
        try:
            await client.run()
        finally:
            self._client = None
            watchdog.cancel()
            await self._reap()
            await asyncio.gather(watchdog, client.closed(), return_exceptions=True)
        return self._exit_status

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._settings.reply_timeout_s / 2)
            with contextlib.suppress(EngineUnavailableError):
                await self.stats()

    async def _launch(self) -> EngineClient:
        """Check, start a process and have it load the model, or leave nothing."""
        self._exit_status, self._died = 0, False
        await self._check()
        plan = await self._plan()
        process = self._process = Process()
        client: EngineClient | None = None
        try:
            async with asyncio.timeout(self._settings.load_timeout_s):
                client = await self._connect(process)
                self._limits = await client.load(plan.order)
            self._planner.check_loaded(plan, self._limits.loaded)
        except BaseException as error:
            self._died = client is not None and client.process_ended
            if client is not None:
                client.fail("the engine could not be started")
            await self._reap()
            if client is not None:
                await client.closed()
            if isinstance(error, TimeoutError):
                raise EngineUnavailableError(
                    "the model did not load in time", where=str(self._model_paths[0])
                ) from error
            raise
        _log.info("model loaded: %s", difference(plan, self._limits.loaded))
        self._client = client
        return client

    async def _plan(self) -> Plan:
        """Return how to load; a process that dies on the model dies even here."""
        order = load_order(
            self._model_paths,
            self._settings,
            threads=self._threads,
            choice=self._choice,
        )
        try:
            return await self._planner.plan(order)
        except ProbeDiedError as error:
            self._exit_status, self._died = error.process_status, True
            raise

    async def _connect(self, process: Process) -> EngineClient:
        reader, writer = await process.connect()
        return EngineClient(
            reader,
            writer,
            endings=self._endings,
            reply_timeout_s=self._settings.reply_timeout_s,
        )

    async def _reap(self) -> None:
        """End the process, and note how it ended."""
        # Forgotten only when it is gone: who cancels this calls it again.
        if self._process is not None:
            self._exit_status = await self._process.end()
            self._process = None
