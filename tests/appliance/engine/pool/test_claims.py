"""Room is promised once, and only those who want it have others unloaded."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

import pytest

from appliance.engine.pool.claims import Claim, Claims, Stage
from appliance.errors import NoRoomError
from tests.support.pools import SIZE, FixedBudget


@dataclass(eq=False)
class Someone:
    """Has an engine that exists in name only, and takes a while to go."""

    claims: Claims
    pinned: bool = False
    wanted: bool = True
    busy: bool = False
    used_s: float = 0.0
    claim: Claim | None = None
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int:
        """Its process, as far as there is one."""
        return 1

    async def load(self, needed_bytes: int = SIZE) -> None:
        self.claim = await self.claims.claim(self, needed_bytes=needed_bytes)
        self.claim.engine = self
        self.claim.stage = Stage.LOADED

    def leave(self) -> Awaitable[None]:
        assert self.claim is not None
        self.claim.stage = Stage.LEAVING
        return asyncio.ensure_future(self._gone(self.claim))

    async def _gone(self, claim: Claim) -> None:
        await asyncio.sleep(0)
        self.claims.release(claim)
        self.left.set()


def on(available: int, most: int = 10) -> Claims:
    return Claims(budget=FixedBudget(available), most=most)


def test_what_is_promised_to_one_load_is_not_promised_to_another() -> None:
    async def run() -> None:
        claims = on(2 * SIZE - 1)
        loading = await claims.claim(Someone(claims), needed_bytes=SIZE)
        with pytest.raises(NoRoomError) as caught:
            await claims.claim(Someone(claims, wanted=False), needed_bytes=SIZE)
        assert caught.value.free_bytes == SIZE - 1
        claims.release(loading)
        claims.release(loading)
        await claims.claim(Someone(claims, wanted=False), needed_bytes=SIZE)

    asyncio.run(run())


@dataclass
class Measured(FixedBudget):
    """A host that knows what its one engine has taken."""

    taken: int = 0

    def taken_bytes(self, pid: int) -> int:
        assert pid == 1
        return self.taken


def test_what_a_process_has_not_taken_yet_is_promised_to_it() -> None:
    async def run() -> None:
        budget = Measured(available=2 * SIZE)
        claims = Claims(budget=budget, most=10)
        await Someone(claims).load(SIZE)
        # What is taken is available no more; pages of files are never taken. A
        # process that took more than it was promised is owed nothing.
        for taken, free in ((0, SIZE), (30, SIZE), (100, SIZE), (150, 50)):
            budget.taken, budget.available = taken, 2 * SIZE - taken
            with pytest.raises(NoRoomError) as caught:
                await Someone(claims, wanted=False).load(SIZE + 1)
            assert caught.value.free_bytes == free

    asyncio.run(run())


def test_a_model_that_nobody_wants_drives_nobody_out() -> None:
    async def run() -> None:
        claims = on(10 * SIZE, most=1)
        await Someone(claims).load()
        with pytest.raises(NoRoomError) as caught:
            await Someone(claims, wanted=False).load()
        assert (caught.value.engines, caught.value.most_engines) == (1, 1)

    asyncio.run(run())


def test_two_that_want_room_at_once_are_not_given_the_same() -> None:
    async def run() -> None:
        claims = on(10 * SIZE, most=2)
        old = [Someone(claims, used_s=1), Someone(claims, used_s=2)]
        for each in old:
            await each.load()
        new = [Someone(claims, used_s=3), Someone(claims, used_s=4)]
        await asyncio.gather(*(each.load() for each in new))
        assert all(each.left.is_set() for each in old)
        assert [claim.holder for claim in claims] == new

    asyncio.run(run())


def test_one_that_is_wanted_no_more_stops_waiting() -> None:
    async def run() -> None:
        claims = on(10 * SIZE, most=1)
        busy = Someone(claims, busy=True)
        await busy.load()
        waiting = Someone(claims)
        task = asyncio.create_task(waiting.load())
        await asyncio.sleep(0.1)
        assert not task.done()
        waiting.wanted = False
        with pytest.raises(NoRoomError):
            await task
        assert [claim.holder for claim in claims] == [busy]
        waiting.wanted = True
        busy.busy = False
        await waiting.load()
        assert busy.left.is_set()

    asyncio.run(run())
