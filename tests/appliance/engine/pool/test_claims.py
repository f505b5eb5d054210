"""Room is promised once, and only those who want it have others unloaded."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

import pytest

from appliance.engine.pool.budget import Need
from appliance.engine.pool.claims import Claim, Claims, Stage
from appliance.errors import NoRoomError
from tests.support.pools import SIZE, FixedBudget

NEED = Need(total_bytes=SIZE, mapped_bytes=0)


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

    async def load(self, need: Need = NEED) -> None:
        self.claim = await self.claims.claim(self, need)
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
        loading = await claims.claim(Someone(claims), NEED)
        with pytest.raises(NoRoomError) as caught:
            await claims.claim(Someone(claims, wanted=False), NEED)
        assert caught.value.free_bytes == SIZE - 1
        claims.release(loading)
        claims.release(loading)
        await claims.claim(Someone(claims, wanted=False), NEED)

    asyncio.run(run())


def test_mapped_bytes_count_although_the_kernel_calls_them_available() -> None:
    async def run() -> None:
        claims = on(2 * SIZE)
        await Someone(claims).load(Need(total_bytes=SIZE, mapped_bytes=SIZE))
        with pytest.raises(NoRoomError) as caught:
            await Someone(claims, wanted=False).load(
                Need(total_bytes=SIZE + 1, mapped_bytes=0)
            )
        assert caught.value.free_bytes == SIZE

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
