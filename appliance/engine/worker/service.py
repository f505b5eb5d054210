"""The loop of an engine process: orders in, one batch, one frame out, again.

Single-threaded on purpose: an order is obeyed between two steps, so a cancelled
request's cells are free before the next batch, and no lock can be forgotten.
"""

import os
from functools import partial
from typing import Protocol

from appliance.clock import Clock
from appliance.engine import protocol as wire
from appliance.engine.scheduling.admission import RETRY_AFTER_S, Limits, check_prompt
from appliance.engine.scheduling.scheduler import Progress, Scheduler
from appliance.engine.worker.prompt import Prompter
from appliance.errors import (
    ContextLengthError,
    OverloadedError,
    RequestRefusedError,
)
from bundleformat.errors import ConflictError, InternalFaultError

EXPIRY_CHECK_S = 0.5
"""How often an engine without work looks for places that were held too long."""


class Channel(Protocol):
    """The worker's end of the socket; see ``channel.py``."""

    def receive(self, *, wait_s: float | None) -> list[wire.Order]:
        """Return the orders that have arrived, waiting at most ``wait_s`` for one."""

    def send(self, report: wire.Report) -> None:
        """Send one frame."""


class Compute(Protocol):
    """What computes the batches, as far as its threads go."""

    @property
    def threads(self) -> int:
        """Threads that compute a batch."""

    def use_threads(self, threads: int) -> None:
        """Compute with so many threads from the next batch on."""


class Service:
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
        self._channel = channel
        self._scheduler = scheduler
        self._compute = compute
        self._prompter = prompter
        self._limits = limits
        self._clock = clock

    def run(self) -> None:
        """Serve until the gateway is gone.

        Raises:
            EOFError: It is gone; the only way out.
        """
        while True:
            for order in self._channel.receive(wait_s=self._patience_s()):
                self._obey(order)
            for request_id in self._scheduler.expire(self._now_s()):
                self._channel.send(_overloaded(request_id, "waited too long"))
            began_s = self._now_s()
            progress = self._scheduler.step(began_s)
            self._scheduler.took(self._now_s() - began_s)
            if progress:
                self._channel.send(wire.Step(deltas=tuple(map(_delta, progress))))

    def _patience_s(self) -> float | None:
        if self._scheduler.busy:
            return 0
        return None if self._scheduler.idle else EXPIRY_CHECK_S

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    def _obey(self, order: wire.Order) -> None:
        match order:
            case wire.Prepare():
                self._channel.send(self._prepare(order))
            case wire.Start():
                self._scheduler.start(order.request_id)
            case wire.Cancel():
                self._cancel(order.request_id)
            case wire.UseThreads():
                self._compute.use_threads(order.threads)
            case wire.AskStats():
                self._channel.send(self._stats())
            case wire.PrepareInputs():
                problem = "this model writes text; it does not make embeddings"
                self._channel.send(
                    wire.Refused(
                        request_id=order.request_id, problem=problem, param="model"
                    )
                )
            case wire.Load():
                raise InternalFaultError("a second model in one process")

    def _prepare(self, order: wire.Prepare) -> wire.Report:
        try:
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
                now_s=self._now_s(),
                tenant=order.tenant,
                weight=order.weight,
                priority=order.priority,
            )
        except OverloadedError as error:
            return _overloaded(order.request_id, error.problem)
        except ContextLengthError as error:
            return wire.TooLong(
                request_id=order.request_id,
                limit_tokens=error.limit_tokens,
                prompt_tokens=error.prompt_tokens,
                new_tokens=error.new_tokens,
            )
        except (RequestRefusedError, ConflictError) as error:
            return wire.Refused(
                request_id=order.request_id,
                problem=error.problem,
                param=getattr(error, "param", None),
            )
        return wire.Prepared(
            request_id=order.request_id,
            prompt_tokens=len(prompt),
            max_new_tokens=max_new,
        )

    def _cancel(self, request_id: str) -> None:
        used = self._scheduler.cancel(request_id)
        if used is not None:
            self._channel.send(
                wire.Ended(
                    request_id=request_id,
                    prompt_tokens=used[0],
                    completion_tokens=used[1],
                )
            )

    def _stats(self) -> wire.Stats:
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
            tokens_decoded=counts.tokens_decoded,
            tokens_prefilled=counts.tokens_prefilled,
            tokens_reused=counts.tokens_reused,
            tokens_drafted=counts.tokens_drafted,
            drafts_kept=counts.drafts_kept,
            steps=counts.steps,
            preemptions=counts.preemptions,
            threads=self._compute.threads,
        )


def _delta(progress: Progress) -> wire.Delta:
    return wire.Delta(
        request_id=progress.request_id,
        text=progress.text,
        completion_tokens=progress.completion_tokens,
        finish_reason=progress.finish_reason,
        cached_tokens=progress.cached_tokens,
        queued_s=progress.queued_s,
    )


def _overloaded(request_id: str, problem: str) -> wire.Overloaded:
    return wire.Overloaded(
        request_id=request_id, problem=problem, retry_after_s=RETRY_AFTER_S
    )
