"""Who has room on this host, and how a model gets room that others have.

Room is claimed before an engine starts and released when its process is gone, so
that two loads at once cannot both count on the same bytes. Whoever claims more
than is free has others unloaded if somebody wants its model now, and otherwise
gets nothing: a model that nobody asks for drives nobody out.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from appliance.engine.pool.budget import MemoryBudget
from appliance.engine.pool.room import (
    Decision,
    Resident,
    Room,
    Standing,
    Verdict,
    decide_room,
)
from appliance.errors import NoRoomError

ROOM_POLL_S = 0.05
"""How often one that waits for room looks whether somebody has become idle."""

ROOM_RETRY_S = 5
"""When to come back if there was no room. Unit: seconds."""


class Holder(Protocol):
    """Whoever claims room: the place of one model."""

    @property
    def pinned(self) -> bool:
        """Whether it is never unloaded for another."""

    @property
    def wanted(self) -> bool:
        """Whether others are to be unloaded for it."""

    @property
    def busy(self) -> bool:
        """Whether its engine is in use, so that it cannot be unloaded now."""

    @property
    def used_s(self) -> float:
        """When it was last used, by the clock of the event loop."""

    def leave(self) -> Awaitable[None]:
        """Give up the engine at once; awaiting the answer sees its process gone."""


class Running(Protocol):
    """An engine, as far as its process goes."""

    @property
    def pid(self) -> int | None:
        """Process id; None while there is no process."""


class Stage(Enum):
    """How far the engine is whose room it is."""

    LOADING = "loading"
    LOADED = "loaded"
    LEAVING = "leaving"


@dataclass(kw_only=True, slots=True, eq=False)
class Claim:
    """Room of one engine; ``stage`` and ``engine`` are kept by its holder."""

    holder: Holder
    needed_bytes: int
    stage: Stage = Stage.LOADING
    engine: Running | None = None

    @property
    def pid(self) -> int | None:
        """The process that has the room, or None while there is none."""
        return None if self.engine is None else self.engine.pid


class Claims:
    """Every claim of this host.

    Args:
        budget: Knows what a model needs and what the host has.
        most: Engines there may be at once.
    """

    def __init__(self, *, budget: MemoryBudget, most: int) -> None:
        self._budget = budget
        self._most = most
        self._claims: list[Claim] = []

    def __iter__(self) -> Iterator[Claim]:
        """Every claim, in the order in which they were made."""
        return iter(tuple(self._claims))

    async def claim(self, holder: Holder, *, needed_bytes: int) -> Claim:
        """Return room for an engine, having others unloaded for it.

        Waits for those that are in use as long as ``holder`` is wanted. The caller
        MUST release the claim, whatever becomes of the engine.

        Raises:
            NoRoomError: There is none, or only others could make it and the model
                is not wanted.
            Error: It cannot be told how much memory there is.
        """
        while (decision := self._decide(needed_bytes)).verdict is not Verdict.FITS:
            if not self._claims:
                # Nobody could make room. Whoever plans the load refuses it better:
                # with the numbers, and with what would fit.
                break
            if decision.verdict is Verdict.NEVER or not holder.wanted:
                raise self.no_room(needed_bytes)
            if decision.unload:
                await self._unload(decision)
            else:
                await asyncio.sleep(ROOM_POLL_S)
        made = Claim(holder=holder, needed_bytes=needed_bytes)
        self._claims.append(made)
        return made

    def release(self, claim: Claim) -> None:
        """Give room back; harmless if it was."""
        if claim in self._claims:
            self._claims.remove(claim)

    def no_room(self, needed_bytes: int) -> NoRoomError:
        """Return the refusal of a model that needs more than is free now."""
        return NoRoomError(
            needed_bytes=needed_bytes,
            free_bytes=self._free_bytes(),
            engines=len(self._claims),
            most_engines=self._most,
            retry_after_s=ROOM_RETRY_S,
        )

    async def _unload(self, decision: Decision) -> None:
        chosen = [each for each in self._claims if id(each) in decision.unload]
        # All of them give up their engines before any other task can run.
        await asyncio.gather(*[each.holder.leave() for each in chosen])

    def _decide(self, needed_bytes: int) -> Decision:
        return decide_room(
            [_resident(claim) for claim in self._claims],
            needed_bytes=needed_bytes,
            room=Room(free_bytes=self._free_bytes(), most=self._most),
        )

    def _free_bytes(self) -> int:
        """Return what is available less what others were promised and will yet take."""
        promised = sum(map(self._outstanding_bytes, self._claims))
        return max(0, self._budget.available_bytes() - promised)

    def _outstanding_bytes(self, claim: Claim) -> int:
        pid = claim.pid
        taken = 0 if pid is None else self._budget.taken_bytes(pid)
        return max(0, claim.needed_bytes - taken)


def _resident(claim: Claim) -> Resident:
    return Resident(
        key=id(claim),
        needed_bytes=claim.needed_bytes,
        used_s=claim.holder.used_s,
        standing=_standing(claim),
    )


def _standing(claim: Claim) -> Standing:
    if claim.stage is Stage.LEAVING:
        return Standing.LEAVING
    if claim.holder.pinned:
        return Standing.PINNED
    if claim.stage is Stage.LOADING or claim.holder.busy:
        return Standing.BUSY
    return Standing.IDLE
