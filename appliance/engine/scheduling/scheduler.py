"""Decides what every batch holds: who enters, who is computed, one step at a time.

A request goes prepared → waiting → running → gone. Prepared ones hold a place in
the bounded queue and block nobody; waiting ones enter with all their cells set
aside (``entrance.py``, ``residents.py``). A step decodes one batch: first the
newest token of every answer, then prompt tokens, shared by tenant
(``fairness.py``), as many as keep the answers' pace (``pacing.py``). The core
knows neither llama.cpp nor the clock; it sees a ``Decoder`` and ``now_s``.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.engine.port import FinishReason, Sampling
from appliance.engine.scheduling.admission import (
    RETRY_AFTER_S,
    Limits,
    new_tokens,
)
from appliance.engine.scheduling.caches import residents_for
from appliance.engine.scheduling.counts import Counts, Tally
from appliance.engine.scheduling.decoder import Decoder, Slice, Undone
from appliance.engine.scheduling.entrance import Entrance
from appliance.engine.scheduling.haste import Guests, Haste
from appliance.engine.scheduling.pacing import Pace
from appliance.engine.scheduling.plan import SHORT_TOKENS, Batch, Planner
from appliance.engine.scheduling.request import Request
from appliance.engine.scheduling.residents import Residents
from appliance.engine.scheduling.textstream import TextStream
from appliance.errors import EngineUnavailableError, OverloadedError
from bundleformat.errors import ConflictError

BEFORE_ALL = -1_000_000
"""Priority of a request that was sent back: above all that a caller may have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What one step added to one request; the last one has a finish reason.

    Attributes:
        request_id: Whose it is.
        text: What may be shown now.
        completion_tokens: Tokens of the answer so far.
        finish_reason: Why it ended, or None.
        cached_tokens: Tokens of the prompt that need not be computed.
        queued_s: How long it waited for its cells.
    """

    request_id: str
    text: str
    completion_tokens: int
    finish_reason: FinishReason | None = None
    cached_tokens: int = 0
    queued_s: float = 0.0


class Scheduler:
    """All requests of one engine.

    Args:
        decoder: The model.
        limits: Hard limits of the engine.
        pace: What it learned of the host's speed so far.
        public: Beginnings of prompts that all tenants may share.

    Attributes:
        haste: What ends a batch for a newcomer, if it is told of one.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        limits: Limits,
        pace: Pace | None = None,
        public: Sequence[Sequence[int]] = (),
    ) -> None:
        self._decoder = decoder
        self._limits = limits
        self.haste = Haste(decoder.interrupt)
        self._residents: Residents = residents_for(decoder, limits=limits)
        self._planner = Planner(
            decoder, self._residents, limits=limits, pace=pace or _unpaced(limits)
        )
        self._prepared: dict[str, Request] = {}
        self._running: dict[str, Request] = {}
        self._waiting = Entrance(
            decoder,
            self._residents,
            limits=limits,
            running=self._running,
            public=public,
        )
        self._batch: Batch | None = None
        self._tally = Tally()

    @property
    def busy(self) -> bool:
        """Whether a step would have something to do."""
        return bool(self._running or self._waiting)

    @property
    def idle(self) -> bool:
        """Whether no request is held at all."""
        return not (self.busy or self._prepared)

    def check_place(self, request_id: str) -> None:
        """Return if one more request may be held; cheap, so asked before any work.

        Raises:
            OverloadedError: Every place is taken.
            ConflictError: A request of that id is held already.
        """
        held = (self._prepared, self._waiting, self._running)
        if any(request_id in group for group in held):
            raise ConflictError("a request of that id is held", where=request_id)
        if sum(len(group) for group in held) >= self._limits.places:
            raise OverloadedError("the queue is full", retry_after_s=RETRY_AFTER_S)

    def prepare(
        self,
        request_id: str,
        *,
        prompt: tuple[int, ...],
        sampling: Sampling,
        now_s: float,
        tenant: str = "",
        weight: int = 1,
        priority: int = 0,
    ) -> int:
        """Hold a place and return how many tokens the answer may have.

        Raises:
            OverloadedError: Every place is taken.
            ConflictError: A request of that id is held already.
            ContextLengthError: Prompt and answer exceed the context.
        """
        self.check_place(request_id)
        max_new = new_tokens(
            self._limits, prompt_tokens=len(prompt), requested=sampling.max_tokens
        )
        self._prepared[request_id] = Request(
            request_id=request_id,
            tenant=tenant,
            weight=weight,
            priority=priority,
            prompt=prompt,
            sampling=sampling,
            max_new=max_new,
            since_s=now_s,
            expires_s=now_s + self._limits.queue_timeout_s,
            text=TextStream(sampling.stop),
        )
        return max_new

    def would_run(self, request_id: str) -> bool:
        """Whether a prepared request would have a sequence if it were started now."""
        request = self._prepared.get(request_id)
        return request is not None and self._waiting.has_place(request)

    def start(self, request_id: str) -> None:
        """Make a prepared request eligible; harmless if it is not held."""
        request = self._prepared.pop(request_id, None)
        if request is not None:
            self._waiting.add(request)

    def cancel(self, request_id: str) -> tuple[int, int] | None:
        """Free everything a request holds, at once.

        Returns:
            Its prompt and completion tokens, or None if it was not held.
        """
        request = (
            self._prepared.pop(request_id, None)
            or self._waiting.pop(request_id)
            or self._running.pop(request_id, None)
        )
        if request is None:
            return None
        self._leave(request)
        return len(request.prompt), len(request.generated)

    def expire(self, now_s: float) -> tuple[str, ...]:
        """Drop places that were held too long without running; return their ids."""
        late = [
            request.request_id
            for group in (self._prepared.values(), self._waiting)
            for request in group
            if request.expires_s <= now_s
        ]
        for request_id in late:
            self.cancel(request_id)
        return tuple(late)

    def step(self, now_s: float = 0.0) -> tuple[Progress, ...]:
        """Decode one batch and return what it added.

        Raises:
            EngineUnavailableError: A single request does not fit an empty cache.
        """
        self._tally.tokens_reused += self._waiting.admit(now_s)
        self._batch = batch = self._planner.plan(tuple(self._running.values()))
        self._tally.tokens_reused += batch.leapt
        if batch.leapt:
            self._waiting.retry()
        if not batch.slices:
            return ()
        answers = self._decode(batch)
        if isinstance(answers, Undone):
            self._batch = None
            return ()
        self._tally.steps += 1
        by_sequence = {request.sequence: request for request in self._running.values()}
        progress = []
        for part, tokens in zip(batch.slices, answers, strict=True):
            request = by_sequence[part.sequence]
            self._count(request, part, kept=len(tokens))
            if tokens:
                progress.append(self._accept(request, tokens))
        return tuple(progress)

    def took(self, seconds: float) -> bool:
        """Learn how long the last step took; return whether it computed a batch."""
        computed = self._batch is not None and bool(self._batch.slices)
        if self._batch is not None and computed:
            self._planner.learn(self._batch, took_s=seconds)
        self.haste.spent(seconds, lost=self._batch is None)
        return computed

    def counts(self) -> Counts:
        """Return how full the engine is now."""
        behind = sum(request.behind_path for request in self._running.values())
        cached = self._residents.cached_cells
        return Counts(
            prepared=len(self._prepared),
            waiting=len(self._waiting),
            running=len(self._running),
            cells_used=self._residents.held_cells + behind,
            cells_reserved=self._residents.taken_cells - cached,
            cells_cached=cached,
            done=dataclasses.replace(self._tally),
        )

    def _decode(self, batch: Batch) -> Sequence[Sequence[int]] | Undone:
        """Decode a batch, which may be given up for a newcomer unless it is for one."""
        if batch.answers and self.haste.affordable:
            self.haste.allow(self._guests())
        answers = self._decoder.decode(batch.slices)
        self.haste.forbid()
        if answers is Undone.NO_CELLS:
            self._preempt()
        elif answers is Undone.INTERRUPTED:
            self._tally.interruptions += 1
        return answers

    def _guests(self) -> Guests | None:
        """Return whom a batch may be given up for; nobody where no place is left."""
        if len(self._running) >= self._limits.running:
            return None
        running = frozenset(each.tenant for each in self._running.values())
        placed = frozenset(
            each.request_id
            for each in self._prepared.values()
            if each.tenant not in running and each.pending <= SHORT_TOKENS
        )
        return Guests(running=running, placed=placed)

    def _count(self, request: Request, part: Slice, *, kept: int) -> None:
        """Note what a slice put into the cache, and free the guesses that failed."""
        right = max(0, kept - 1)
        computed = len(part.tokens) - part.drafts + right
        if request.answering:
            self._tally.tokens_decoded += kept
            self._tally.tokens_drafted += part.drafts
            self._tally.drafts_kept += right
        else:
            self._tally.tokens_prefilled += computed
        request.position += computed
        if right < part.drafts:
            self._decoder.cut(request.sequence, tokens=request.position)
        if part.drafts and request.lookup is not None:
            request.lookup.judge(guessed=part.drafts, right=right)
        assert request.path is not None  # noqa: S101  # it is running
        if part.position < request.path.size:
            self._residents.advance(
                request.sequence, tokens=min(request.position, request.path.size)
            )

    def _accept(self, request: Request, tokens: Sequence[int]) -> Progress:
        """Add sampled tokens to their answer, and end the answer where it ends."""
        reason: FinishReason | None = None
        text = ""
        for token in tokens:
            request.add(token)
            if self._decoder.is_end(token):
                reason = "stop"
            else:
                text += request.text.feed(self._decoder.piece(token))
                if request.text.stopped:
                    reason = "stop"
                elif not request.left:
                    reason = "length"
            if reason is not None:
                break
        if reason is not None:
            text += request.text.flush()
            reason = "stop" if request.text.stopped else reason
            del self._running[request.request_id]
            self._finish(request)
        return Progress(
            request_id=request.request_id,
            text=text,
            completion_tokens=len(request.generated),
            finish_reason=reason,
            cached_tokens=request.reused,
            queued_s=request.queued_s,
        )

    def _finish(self, request: Request) -> None:
        """End a request and leave what it computed to the next that begins so."""
        tokens = (*request.prompt, *request.generated)
        self._decoder.retire(request.sequence)
        if request.position > len(tokens):
            self._decoder.cut(request.sequence, tokens=len(tokens))
        assert request.path is not None  # noqa: S101  # it was running
        answer = tokens[request.path.size : request.position]
        self._residents.finish(request.sequence, answer=answer)
        request.sequence = -1
        self._waiting.retry()

    def _leave(self, request: Request) -> None:
        """Free all that a request holds; nothing of it is kept."""
        if request.sequence >= 0:
            self._decoder.retire(request.sequence)
            self._residents.leave(request.sequence)
            request.sequence = -1
            self._waiting.retry()

    def _preempt(self) -> None:
        """Send the youngest request back to the queue.

        Reservations make this impossible; if it happens all the same, one request
        is delayed until another has ended, and no request is lost.
        """
        if len(self._running) == 1:
            raise EngineUnavailableError("one request does not fit an empty cache")
        _, request = self._running.popitem()
        self._leave(request)
        request.position, request.spared = 0, False
        request.priority = BEFORE_ALL
        request.expires_s = math.inf
        self._waiting.add_back(request)
        self._tally.preemptions += 1


def _unpaced(limits: Limits) -> Pace:
    """Return a pace that knows nothing yet and fills every batch."""
    return Pace(
        target_s=math.inf,
        alone_s=math.inf,
        batch_tokens=limits.batch_tokens,
        token_s=0.0,
    )
