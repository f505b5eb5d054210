"""What the serving process puts on record of engines that crash."""

import asyncio
import logging
from collections.abc import Callable, Collection

from appliance.engine.pool.offer import Offer
from appliance.engine.pool.pool import EnginePool
from appliance.engine.supervisor import Crash
from appliance.host import OpenHost
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.taken_out_flow import record_taken_out
from bundleformat.digest import Sha256
from bundleformat.errors import Error

_log = logging.getLogger(__name__)


class CrashBook:
    """Crashes as they happen, and the models that are taken out for them."""

    def __init__(self, host: OpenHost, *, record: Callable[[Draft], object]) -> None:
        self._host = host
        self._record = record
        self._entered: set[Sha256] = set()

    def crashed(self, offer: Offer, crash: Crash) -> None:
        """Have the crash of an engine recorded; the server goes on without it.

        One that crashes again and again is recorded ever more rarely.
        """
        if crash.restarts.bit_count() > 1:
            return
        self._record(
            Draft(
                event=Event.ENGINE_CRASHED,
                outcome=Outcome.ERROR,
                fields={
                    "model": {"name": offer.name, "sha256": offer.sha256},
                    "exit_status": str(crash.exit_status),
                    "restarts": crash.restarts,
                },
            )
        )

    async def follow(self, pool: EnginePool, *, on_record: Collection[Sha256]) -> None:
        """Enter what was taken out; let be tried again what an operator put back.

        What cannot be entered now is entered the next time; the model is taken out
        meanwhile all the same.
        """
        for sha256, out in pool.taken_out().items():
            if sha256 not in self._entered:
                try:
                    await asyncio.to_thread(record_taken_out, self._host, sha256, out)
                except Error as error:
                    _log.error("a model that was taken out is not on record: %s", error)
                    return
                self._entered.add(sha256)
            elif sha256 not in on_record:
                self._entered.discard(sha256)
                pool.give_another_try(sha256)
