"""An engine process whose model writes text."""

import dataclasses
import os
from functools import partial

from appliance.clock import Clock
from appliance.engine import protocol as wire
from appliance.engine.scheduling.admission import Limits, check_prompt
from appliance.engine.scheduling.haste import Haste
from appliance.engine.scheduling.scheduler import Progress, Scheduler
from appliance.engine.worker.desk import Channel, Compute, Desk
from appliance.engine.worker.prompt import Prompter

COURTESY_SHARE = 0.05
"""What part of a batch's time the next one may wait for requests to be started."""


class Service(Desk[wire.Prepare]):
    """The loop between one channel and one scheduler."""

    def __init__(
        self,
        channel: Channel,
        *,
        scheduler: Scheduler,
        compute: Compute,
        prompter: Prompter,
        limits: Limits,
        clock: Clock,
    ) -> None:
        super().__init__(
            wire.Prepare,
            "this model writes text; it does not make embeddings",
            channel=channel,
            queue=scheduler,
            compute=compute,
            clock=clock,
        )
        self._scheduler = scheduler
        self._prompter = prompter
        self._limits = limits
        self._placed: list[str] = []
        """Requests that got a place since the last batch."""
        self._took_s = 0.0
        """What the last batch took that was computed to its end."""

    def accept(self, order: wire.Prepare) -> wire.Prepared:
        """Hold a place; see ``Desk``."""
        self._scheduler.check_place(order.request_id)
        prompt = self._prompter.tokens(
            order.messages,
            now=self._clock.now(),
            check=partial(
                check_prompt,
                context_tokens=self._limits.context_tokens,
                requested=order.sampling.max_tokens,
            ),
        )
        max_new = self._scheduler.prepare(
            order.request_id,
            prompt=prompt,
            sampling=order.sampling,
            now_s=self.now_s(),
            tenant=order.tenant,
            weight=order.weight,
            priority=order.priority,
        )
        self._placed.append(order.request_id)
        return wire.Prepared(
            request_id=order.request_id,
            prompt_tokens=len(prompt),
            max_new_tokens=max_new,
        )

    def courtesy_s(self) -> float:
        """Return how long to wait for starts, if they could run at once; see ``Desk``.

        The wait is a small part of a batch, so nobody's answer stutters for it.
        """
        awaited = any(map(self._scheduler.would_run, self._placed))
        return COURTESY_SHARE * self._took_s if awaited else 0.0

    def compute(self) -> wire.Step | None:
        """Compute one batch, if there is one, and return what it added to answers."""
        self._placed.clear()
        began_s = self.now_s()
        progress = self._scheduler.step(began_s)
        took_s = self.now_s() - began_s
        if self._scheduler.took(took_s):
            self._took_s = took_s
        return wire.Step(deltas=tuple(map(_delta, progress))) if progress else None

    def cancel(self, request_id: str) -> wire.Ended | None:
        """Free the cells of a request; see ``Desk``."""
        used = self._scheduler.cancel(request_id)
        if used is None:
            return None
        prompt_tokens, completion_tokens = used
        return wire.Ended(
            request_id=request_id,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
        )

    def stats(self) -> wire.Stats:
        """Return the counts of this moment."""
        counts = self._scheduler.counts()
        return wire.Stats(
            pid=os.getpid(),
            prepared=counts.prepared,
            waiting=counts.waiting,
            running=counts.running,
            cells=self._limits.cells,
            cells_used=counts.cells_used,
            cells_reserved=counts.cells_reserved,
            cells_cached=counts.cells_cached,
            **dataclasses.asdict(counts.done),
            threads=self._compute.threads,
        )


def hasten(haste: Haste, order: wire.Order) -> None:
    """Tell of an order that has just arrived, while a batch may be computed."""
    match order:
        case wire.Prepare():
            size = sum(len(message.content) for message in order.messages)
            haste.asked(order.tenant, characters=size)
        case wire.Start():
            haste.started(order.request_id)


def _delta(progress: Progress) -> wire.Delta:
    return wire.Delta(
        request_id=progress.request_id,
        text=progress.text,
        completion_tokens=progress.completion_tokens,
        finish_reason=progress.finish_reason,
        cached_tokens=progress.cached_tokens,
        queued_s=progress.queued_s,
    )
