"""Every refusal reaches the ledger, and a flood of them holds up nobody.

A refusal is durable before it is answered, unless the caller is past a limit: of
the rate at which calls without a key are recorded, of its team, or of the host.
Those are answered at once, if the ledger takes records at that moment, and become
durable together within :data:`TOLD_S` seconds. Beyond a rate they are recorded by
number. A power cut in between can lose the record of a refusal, never of a call
that was served.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from appliance.clock import Clock
from appliance.ledger.records.events import Draft
from appliance.request_steps.meter import Meter
from appliance.request_steps.parts import Ledger
from appliance.request_steps.record_budget import (
    TEAM_BURST,
    TEAM_RATE_PER_S,
    RecordBudget,
)
from appliance.request_steps.records import Progress, refusal_draft
from bundleformat.errors import Error

TOLD_S = 0.25
"""How long a refusal in a flood may wait for others. Unit: seconds."""

TOLD_AT_ONCE = 32
"""Refusals handed to the ledger in one turn of the loop, which streams share."""

TOLD_PAUSE_S = 0.005
"""How long the loop is left to others between two such turns. Unit: seconds."""

SETTLED_S = 1.0
"""How long those left out may wait for the record of their number. Unit: seconds."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    error: Error
    progress: Progress


class Refusals:
    """Writes the refusals of one server."""

    def __init__(self, *, ledger: Ledger, clock: Clock, meter: Meter) -> None:
        self._ledger = ledger
        self._meter = meter
        self._clock = clock
        self._noted: deque[_Refusal] = deque()
        self._budgets: dict[str | None, RecordBudget] = {None: RecordBudget()}
        self._left_out: dict[str | None, _Refusal] = {}
        self._telling: asyncio.TimerHandle | None = None
        self._settling: asyncio.TimerHandle | None = None

    async def record(self, error: Error, progress: Progress) -> None:
        """Return when the refusal is durable, or counted in a flood without a key.

        Raises:
            AuditUnavailableError: The ledger cannot write.
        """
        self._meter.refused(error.code)
        left_out = 0
        if progress.team is None:
            if not self._budgets[None].take(self._clock.monotonic_ns()):
                self._leave_out(_Refusal(error, progress))
                return
            left_out = self._budgets[None].settle()
            self._left_out.pop(None, None)
        draft = refusal_draft(error, progress, left_out=left_out)
        progress.receipt = await self._ledger.append(draft)

    def note(self, error: Error, progress: Progress) -> None:
        """Have the refusal of a caller past a limit recorded, and wait for nothing.

        Raises:
            AuditUnavailableError: The ledger does not take records now.
        """
        self._meter.refused(error.code)
        self._ledger.check()
        budget = self._budgets.get(progress.team)
        if budget is None:
            budget = RecordBudget(burst=TEAM_BURST, rate_per_s=TEAM_RATE_PER_S)
            self._budgets[progress.team] = budget
        refusal = _Refusal(error, progress)
        if not budget.take(self._clock.monotonic_ns()):
            self._leave_out(refusal)
            return
        self._noted.append(refusal)
        if self._telling is None:
            self._tell_in(TOLD_S)

    async def close(self) -> None:
        """Return when everything noted or left out is durable, or cannot be."""
        for timer in (self._telling, self._settling):
            if timer is not None:
                timer.cancel()
        self._telling = self._settling = None
        drafts = [refusal_draft(each.error, each.progress) for each in self._noted]
        drafts += [self._summary(team) for team in tuple(self._left_out)]
        self._noted.clear()
        written = (self._ledger.append(draft) for draft in drafts)
        # What the ledger refused it has counted; it says so when it resumes.
        await asyncio.gather(*written, return_exceptions=True)

    def _tell_in(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._telling = loop.call_later(delay_s, self._tell)

    def _tell(self) -> None:
        self._telling = None
        for _ in range(min(TOLD_AT_ONCE, len(self._noted))):
            told = self._noted.popleft()
            self._ledger.submit(refusal_draft(told.error, told.progress))
        if self._noted:
            self._tell_in(TOLD_PAUSE_S)

    def _leave_out(self, refusal: _Refusal) -> None:
        self._left_out[refusal.progress.team] = refusal
        if self._settling is None:
            self._settle_later()

    def _settle_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._settling = loop.call_later(SETTLED_S, self._settle)

    def _settle(self) -> None:
        """Record how many were left out, for whoever may be recorded again."""
        self._settling = None
        now_ns = self._clock.monotonic_ns()
        for team in tuple(self._left_out):
            if self._budgets[team].allows(now_ns):
                self._budgets[team].take(now_ns)
                self._ledger.submit(self._summary(team))
        if self._left_out:
            self._settle_later()

    def _summary(self, team: str | None) -> Draft:
        """Return the record of the last one left out, with how many were before it."""
        last = self._left_out.pop(team)
        before = self._budgets[team].settle() - 1
        return refusal_draft(last.error, last.progress, left_out=before)
