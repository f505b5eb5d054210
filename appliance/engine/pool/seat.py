"""The seat of one model: its engine, or what keeps it from having one.

An engine is loaded once, however many ask for it; who asks meanwhile waits, and
not for ever. It is unloaded only while nobody uses it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator

from appliance.engine.endings import Endings
from appliance.engine.planning.planner import Planner
from appliance.engine.pool.budget import MemoryBudget
from appliance.engine.pool.claims import Claim, Claims, Stage
from appliance.engine.pool.offer import Offer
from appliance.engine.pool.setbacks import Setbacks
from appliance.engine.scheduling.admission import RETRY_AFTER_S
from appliance.engine.supervisor import Crash, EngineSupervisor
from appliance.errors import (
    EngineUnavailableError,
    ModelLoadingError,
    NoRoomError,
    OverloadedError,
    ProbeDiedError,
)
from appliance.settings import EngineSettings, ModelSettings, engine_threads
from bundleformat.errors import Error

LOADING_RETRY_S = 5
"""When to come back to a model that is still loading. Unit: seconds."""

DRAIN_POLL_S = 0.1
"""How often a model that is to go is asked whether it is still used."""

_log = logging.getLogger(__name__)


class Seat:
    """One offered model; made and used on one event loop.

    Args:
        offer: The model.
        budget: Knows what the model needs; asked once.
        claims: Where room is claimed.
        engine: The limits of its engine.
        models: The limits of the pool.
        on_crash: Told of every crash and of every start that failed.
        on_work: Told whenever an engine may have begun to work.
        planner: Plans its loads.
    """

    def __init__(
        self,
        offer: Offer,
        *,
        budget: MemoryBudget,
        claims: Claims,
        engine: EngineSettings,
        models: ModelSettings,
        on_crash: Callable[[Offer, Crash], object],
        on_work: Callable[[], object],
        planner: Planner | None = None,
    ) -> None:
        self._planner = planner
        self.offer = offer
        self.endings = Endings()
        self.setbacks = Setbacks(models)
        self._budget = budget
        self._claims = claims
        self._settings = engine
        self._models = models
        self._on_crash = on_crash
        self._on_work = on_work
        self._threads = engine_threads(engine)
        self._places = engine.sequences + engine.queued_requests
        self._engine: EngineSupervisor | None = None
        self._claim: Claim | None = None
        self._needed_bytes: int | None = None
        self._claiming = self._checked = False
        self._loading: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._visitors = 0
        self._used_s = 0.0
        self._retired = self._closed = False

    @property
    def engine(self) -> EngineSupervisor | None:
        """The engine that has the model loaded; it may be restarting."""
        return self._engine

    @property
    def planned_bytes(self) -> int:
        """Memory that was set aside for the engine; 0 while there is none."""
        return 0 if self._claim is None else self._claim.needed_bytes

    @property
    def loading(self) -> bool:
        """Whether an engine is on its way."""
        return self._loading is not None

    @property
    def waits_for_room(self) -> bool:
        """Whether an engine is to be loaded and others have its room."""
        return self._claiming

    @property
    def pinned(self) -> bool:
        """Whether it is never unloaded for another."""
        return self.offer.pinned and not self._retired

    @property
    def wanted(self) -> bool:
        """Whether others are unloaded for it: somebody waits, or it is pinned."""
        return self.pinned or self._visitors > 0

    @property
    def busy(self) -> bool:
        """Whether anybody uses it or waits for it."""
        engine = self._engine
        return self._visitors > 0 or (engine is not None and engine.open_requests > 0)

    @property
    def working(self) -> bool:
        """Whether an engine computes here, or will in a moment."""
        starts = self.loading and not self._claiming
        return starts or (self._engine is not None and self.busy)

    def use_threads(self, threads: int) -> None:
        """Have the engine compute with so many threads, now and whenever it starts."""
        self._threads = threads
        if self._engine is not None:
            self._engine.use_threads(threads)

    @property
    def used_s(self) -> float:
        """When it was last used, by the clock of the event loop."""
        return self._used_s

    def renew(self, offer: Offer) -> None:
        """Take what is offered of the model now; the next load goes by it."""
        if offer.choice != self.offer.choice:
            self._needed_bytes = None
        self.offer = offer

    def touch(self) -> None:
        """Note that it is used now."""
        self._used_s = _now_s()

    @contextlib.contextmanager
    def visit(self) -> Iterator[None]:
        """Keep the engine from being unloaded as long as this is entered."""
        self._visitors += 1
        self.touch()
        try:
            yield
        finally:
            self._visitors -= 1
            self.touch()

    async def ready(self) -> EngineSupervisor:
        """Return the engine, loading the model first; the caller MUST be a visitor.

        Raises:
            ModelLoadingError: It is not loaded in time; the load goes on.
            NoRoomError: Nobody could be unloaded for it.
            ModelUnavailableError: It was taken out, or its last load failed.
            OverloadedError: Too many wait already.
            EngineUnavailableError: The host does not offer it any more.
        """
        if self._closed:
            raise EngineUnavailableError("the engine was closed")
        if self._engine is None:
            self.setbacks.check(_now_s())
            if self._visitors > self._places:
                raise OverloadedError("the queue is full", retry_after_s=RETRY_AFTER_S)
            task = self.load()
            await asyncio.wait({task}, timeout=self._models.load_wait_s)
            self._check_loaded(task)
        if self._engine is None:
            raise EngineUnavailableError("the engine was closed")
        self._on_work()
        return self._engine

    def load(self) -> "asyncio.Task[None]":
        """Begin to load the model unless that is going on; return what ends with it.

        How it ended is seen at ``engine`` and ``failure``.
        """
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
            self._loading.add_done_callback(self._loaded)
        return self._loading

    def leave(self) -> Awaitable[None]:
        """Give up the engine at once; awaiting the answer sees its process gone."""
        engine, self._engine = self._engine, None
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.stage = Stage.LEAVING
        task = asyncio.create_task(self._end(engine, claim))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        # Whoever stops waiting does not stop it: a process would be left behind.
        return asyncio.shield(task)

    async def retire(self, *, limit_s: float) -> None:
        """Close when nobody uses it any more, or after ``limit_s``."""
        self._retired = True
        try:
            async with asyncio.timeout(limit_s):
                while self.busy:  # noqa: ASYNC110 - many things end it
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            _log.warning("closing an engine whose requests did not end in time")
        finally:
            await self.close()

    async def close(self) -> None:
        """End the engine or its load; in-flight callers get a clean error."""
        self._closed = True
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait({self._loading})
        if self._engine is not None:
            self.leave()
        if self._leaving:
            await asyncio.wait(self._leaving)

    def _check_loaded(self, task: "asyncio.Task[None]") -> None:
        """Raise why the load has not brought an engine."""
        if not task.done():
            if self._claiming and self._needed_bytes is not None:
                raise self._claims.no_room(self._needed_bytes)
            raise ModelLoadingError(
                "the model is being loaded", retry_after_s=LOADING_RETRY_S
            )
        if not task.cancelled():
            task.result()
        if self._engine is None:
            self.setbacks.check_loaded(_now_s())

    async def _load(self) -> None:
        if self._closed:
            return
        try:
            claim = await self._claim_room()
            self._on_work()
            engine = claim.engine = self._new_engine()
            try:
                await engine.start()
            except BaseException:
                self._claims.release(claim)
                raise
        except Error as error:
            self._failed(error)
        else:
            self._engine, self._claim = engine, claim
            claim.stage = Stage.LOADED
            self.setbacks.loaded()
            self.touch()
            _log.info("%s is loaded", self.offer.name)

    async def _claim_room(self) -> Claim:
        if self._needed_bytes is None:
            # No process reads bytes that were not checked, not even to measure them.
            await self.offer.check()
            self._checked = True
        needed_bytes = self._needed_bytes = await self._ask_need()
        self._claiming = True
        try:
            return await self._claims.claim(self, needed_bytes=needed_bytes)
        finally:
            self._claiming = False

    async def _ask_need(self) -> int:
        try:
            return await self._budget.need_bytes(
                *self.offer.paths, choice=self.offer.choice
            )
        except ProbeDiedError as error:
            self._crashed(
                Crash(exit_status=error.process_status, restarts=0, died=True)
            )
            raise

    def _loaded(self, task: "asyncio.Task[None]") -> None:
        self._loading = None
        bug = None if task.cancelled() else task.exception()
        if bug is not None:
            _log.error("a load ended by a bug", exc_info=bug)

    def _failed(self, error: Error) -> None:
        # That there is no room is worth a line once, and only where it is promised.
        waits = isinstance(error, NoRoomError)
        if not waits or (self.pinned and not self.setbacks.lacks_room):
            _log.error("%s cannot be loaded: %s", self.offer.name, error)
        self.setbacks.failed(error, now_s=_now_s())

    def _new_engine(self) -> EngineSupervisor:
        engine = EngineSupervisor(
            *self.offer.paths,
            settings=self._settings,
            on_crash=self._crashed,
            check=self._check,
            endings=self.endings,
            planner=self._planner,
            choice=self.offer.choice,
        )
        engine.use_threads(self._threads)
        return engine

    async def _check(self) -> None:
        """Check the stored bytes, unless this load has begun with that."""
        checked, self._checked = self._checked, False
        if not checked:
            await self.offer.check()

    def _crashed(self, crash: Crash) -> None:
        self._on_crash(self.offer, crash)
        out = self.setbacks.crashed(crash, name=self.offer.name, now_s=_now_s())
        if out and self._engine is not None:
            self.leave()

    async def _end(self, engine: EngineSupervisor | None, claim: Claim | None) -> None:
        if engine is not None:
            await engine.close()
            _log.info("%s is unloaded", self.offer.name)
        if claim is not None:
            self._claims.release(claim)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
