"""The engines of every model this host offers, as many as there is room for.

Pinned models are loaded first and stay; others are loaded as far as the room goes,
and otherwise on the first request. What nobody has asked for long is unloaded.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping

from appliance.engine.planning.planner import Planner
from appliance.engine.pool.budget import MemoryBudget
from appliance.engine.pool.claims import Claims
from appliance.engine.pool.door import PooledEngine
from appliance.engine.pool.offer import Offer
from appliance.engine.pool.seat import Seat
from appliance.engine.pool.setbacks import TakenOut
from appliance.engine.pool.shares import share_of
from appliance.engine.supervisor import Crash
from appliance.settings import EngineSettings, ModelSettings, engine_threads
from bundleformat.digest import Sha256
from bundleformat.errors import Error

KEEP_S = 1.0
"""How often pinned models are looked after and idle ones unloaded."""


class EnginePool:
    """Every seat of this host; made and used on one event loop.

    The thread that runs the event loop MUST outlive the pool: the kernel kills an
    engine when the thread that started it ends.

    Args:
        engine: The limits of each engine.
        models: Which models stay, and how many.
        budget: Knows what a model needs and what the host has.
        drain_s: How long requests of a model may go on that is offered no more.
        on_crash: Told of every crash and of every start that failed.
        planner: Plans the loads; without one each engine has its own.
    """

    def __init__(
        self,
        *,
        engine: EngineSettings,
        models: ModelSettings,
        budget: MemoryBudget,
        drain_s: float,
        on_crash: Callable[[Offer, Crash], object],
        planner: Planner | None = None,
    ) -> None:
        self._planner = planner
        self._engine = engine
        self._models = models
        self._drain_s = drain_s
        self._on_crash = on_crash
        self._budget = budget
        self._claims = Claims(budget=budget, most=models.resident)
        self._seats: dict[Sha256, Seat] = {}
        self._retiring: dict[asyncio.Task[None], Seat] = {}
        self._keeper: asyncio.Task[None] | None = None

    def offer(self, offers: Iterable[Offer]) -> None:
        """Take what the host offers now; nothing is loaded or unloaded by that."""
        for offer in offers:
            seat = self._seats.get(offer.sha256)
            if seat is None:
                self._seats[offer.sha256] = self._new_seat(offer)
            else:
                seat.renew(offer)

    def keep_only(self, wanted: Collection[Sha256]) -> None:
        """Give up every other model as soon as its requests have ended.

        One that was taken out has nothing to give up, and stays so if it returns.
        """
        for sha256 in self._seats.keys() - wanted:
            if self._seats[sha256].setbacks.taken_out is not None:
                continue
            seat = self._seats.pop(sha256)
            task = asyncio.create_task(seat.retire(limit_s=self._drain_s))
            self._retiring[task] = seat
            task.add_done_callback(self._retiring.pop)

    async def warm(self) -> tuple[Error, ...]:
        """Load pinned models, then others as far as there is room.

        Returns:
            Why models are not loaded; that there is no room counts for pinned ones.
        """
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        errors = []
        for seat in sorted(self._seats.values(), key=lambda seat: not seat.pinned):
            setbacks = seat.setbacks
            if seat.engine is None and setbacks.taken_out is None:
                await asyncio.wait({seat.load()})
                if setbacks.failure and (seat.pinned or not setbacks.lacks_room):
                    errors.append(setbacks.failure)
        return tuple(errors)

    def check(self) -> None:
        """Raise the bug by which the pool's own work has ended, if it has."""
        if self._keeper is not None and self._keeper.done():
            self._keeper.result()

    def engine(self, sha256: Sha256) -> PooledEngine:
        """Return the engine of an offered model, loaded or not."""
        return PooledEngine(self._seats[sha256])

    def loaded(self) -> tuple[Sha256, ...]:
        """Return the models that have an engine, the least recently used first."""
        seats = sorted(self._seats.items(), key=lambda each: each[1].used_s)
        return tuple(sha256 for sha256, seat in seats if seat.engine is not None)

    def seats(self) -> tuple[Seat, ...]:
        """Return the seats that have an engine, by the names of their models."""
        found = [seat for seat in self._seats.values() if seat.engine is not None]
        return tuple(sorted(found, key=lambda seat: seat.offer.name))

    def taken_out(self) -> Mapping[Sha256, TakenOut]:
        """Return the models that crashed too often."""
        return {
            sha256: seat.setbacks.taken_out
            for sha256, seat in self._seats.items()
            if seat.setbacks.taken_out is not None
        }

    def failures(self) -> Mapping[Sha256, Error]:
        """Return why the last load of a model failed; lack of room is no failure."""
        return {
            sha256: seat.setbacks.failure
            for sha256, seat in self._seats.items()
            if seat.setbacks.taken_out is None
            and seat.setbacks.failure is not None
            and not seat.setbacks.lacks_room
        }

    def waiting(self) -> bool:
        """Whether an engine is down that should be up: restarting, or pinned."""
        return any(
            seat.pinned and (seat.setbacks.failure or seat.waits_for_room)
            if seat.engine is None
            else not seat.engine.ready
            for seat in self._seats.values()
            if seat.setbacks.taken_out is None
        )

    def give_another_try(self, sha256: Sha256) -> None:
        """Let a model be loaded again that had crashed too often."""
        if sha256 in self._seats:
            self._seats[sha256].setbacks.forget()

    async def close(self) -> None:
        """End every engine; in-flight callers get a clean error."""
        seats = [*self._seats.values(), *self._retiring.values()]
        tasks = [*self._retiring, *([self._keeper] if self._keeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(seat.close() for seat in seats))

    def _new_seat(self, offer: Offer) -> Seat:
        return Seat(
            offer,
            budget=self._budget,
            claims=self._claims,
            engine=self._engine,
            models=self._models,
            on_crash=self._on_crash,
            on_work=self._share_threads,
            planner=self._planner,
        )

    def _share_threads(self) -> None:
        """Give every engine that works now its share; who is idle has none to spare."""
        seats = [*self._seats.values(), *self._retiring.values()]
        working = [seat for seat in seats if seat.working]
        threads = share_of(engine_threads(self._engine), working=len(working))
        for seat in working:
            seat.use_threads(threads)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            now_s = asyncio.get_running_loop().time()
            for seat in self._seats.values():
                self._look_after(seat, now_s=now_s)
            self._share_threads()

    def _look_after(self, seat: Seat, *, now_s: float) -> None:
        if seat.busy:
            seat.touch()
        if seat.engine is not None:
            if self._forgotten(seat, now_s=now_s):
                seat.leave()
        elif not seat.loading and _due(seat, now_s=now_s):
            seat.load()

    def _forgotten(self, seat: Seat, *, now_s: float) -> bool:
        """Whether nobody has asked for a model for as long as it is kept."""
        kept_s = self._models.keep_alive_s
        unused = not seat.pinned and now_s - seat.used_s > kept_s
        return kept_s > 0 and unused


def _due(seat: Seat, *, now_s: float) -> bool:
    """Whether a load is to be tried that nobody asks for: again, or of a pinned one."""
    setbacks = seat.setbacks
    again = setbacks.failure is not None and not setbacks.lacks_room
    return (seat.pinned or again) and not setbacks.rests(now_s)
