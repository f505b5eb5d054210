"""Decides what every batch holds: the queue, the reservations, one step at a time.

A request goes prepared → waiting → running → gone. Prepared ones hold a place in
the bounded queue and block nobody; waiting ones are admitted in the order in
which they were started, each with all its cells set aside. A step decodes one
batch for all running requests: first the newest token of every answer, then
prompt tokens, oldest request first, up to the batch's size. The core knows
neither llama.cpp nor the clock; it sees a ``Decoder`` and ``now_s``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.engine.port import FinishReason, Sampling
from appliance.engine.scheduling.admission import (
    RETRY_AFTER_S,
    Limits,
    Reservations,
    new_tokens,
)
from appliance.engine.scheduling.decoder import Decoder, Slice
from appliance.engine.scheduling.textstream import TextStream
from appliance.errors import EngineUnavailableError, OverloadedError
from bundleformat.errors import ConflictError


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What one step added to one request; the last one has a finish reason."""

    request_id: str
    text: str
    completion_tokens: int
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How full the engine is, and what it has done so far."""

    prepared: int
    waiting: int
    running: int
    cells_used: int
    cells_reserved: int
    tokens_decoded: int
    tokens_prefilled: int
    steps: int
    preemptions: int


@dataclass(kw_only=True, slots=True)
class _Request:
    request_id: str
    prompt: tuple[int, ...]
    sampling: Sampling
    max_new: int
    expires_s: float
    text: TextStream
    generated: list[int] = field(default_factory=list)
    sequence: int = -1
    position: int = 0
    """Tokens of prompt and answer that are in the cache."""

    @property
    def need_cells(self) -> int:
        return len(self.prompt) + self.max_new

    @property
    def pending(self) -> int:
        """Tokens not yet in the cache; 1 while an answer grows."""
        return len(self.prompt) + len(self.generated) - self.position

    @property
    def answering(self) -> bool:
        return self.pending == 1 and bool(self.generated)

    def tokens(self, count: int) -> Sequence[int]:
        if self.answering:
            return (self.generated[-1],)
        whole = (*self.prompt, *self.generated)
        return whole[self.position : self.position + count]


class Scheduler:
    """All requests of one engine."""

    def __init__(self, decoder: Decoder, *, limits: Limits) -> None:
        self._decoder = decoder
        self._limits = limits
        self._cells = Reservations(cells=limits.cells, sequences=limits.sequences)
        self._prepared: dict[str, _Request] = {}
        self._waiting: dict[str, _Request] = {}
        self._running: dict[str, _Request] = {}
        self._blocked = False
        self._decoded = 0
        self._prefilled = 0
        self._steps = 0
        self._preemptions = 0

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
        self._prepared[request_id] = _Request(
            request_id=request_id,
            prompt=prompt,
            sampling=sampling,
            max_new=max_new,
            expires_s=now_s + self._limits.queue_timeout_s,
            text=TextStream(sampling.stop),
        )
        return max_new

    def start(self, request_id: str) -> None:
        """Make a prepared request eligible; harmless if it is not held."""
        request = self._prepared.pop(request_id, None)
        if request is not None:
            self._waiting[request_id] = request

    def cancel(self, request_id: str) -> tuple[int, int] | None:
        """Free everything a request holds, at once.

        Returns:
            Its prompt and completion tokens, or None if it was not held.
        """
        for group in (self._prepared, self._waiting, self._running):
            request = group.pop(request_id, None)
            if request is not None:
                self._release(request)
                return len(request.prompt), len(request.generated)
        return None

    def expire(self, now_s: float) -> tuple[str, ...]:
        """Drop places that were held too long without running; return their ids."""
        late = [
            request.request_id
            for group in (self._prepared, self._waiting)
            for request in group.values()
            if request.expires_s <= now_s
        ]
        for request_id in late:
            self.cancel(request_id)
        return tuple(late)

    def step(self) -> tuple[Progress, ...]:
        """Decode one batch and return what it added.

        Raises:
            EngineUnavailableError: A single request does not fit an empty cache.
        """
        self._admit()
        slices = self._plan()
        if not slices:
            return ()
        tokens = self._decoder.decode(slices)
        if tokens is None:
            self._preempt()
            return ()
        self._steps += 1
        by_sequence = {request.sequence: request for request in self._running.values()}
        progress = []
        for part, token in zip(slices, tokens, strict=True):
            request = by_sequence[part.sequence]
            self._count(request, part)
            if token is not None:
                progress.append(self._accept(request, token))
        return tuple(progress)

    def counts(self) -> Counts:
        """Return how full the engine is now."""
        return Counts(
            prepared=len(self._prepared),
            waiting=len(self._waiting),
            running=len(self._running),
            cells_used=sum(request.position for request in self._running.values()),
            cells_reserved=self._cells.reserved_cells,
            tokens_decoded=self._decoded,
            tokens_prefilled=self._prefilled,
            steps=self._steps,
            preemptions=self._preemptions,
        )

    def _admit(self) -> None:
        """Move the head of the queue to running while it fits: first in, first out."""
        while self._waiting and not self._blocked:
            request = next(iter(self._waiting.values()))
            sequence = self._cells.take(request.need_cells)
            if sequence is None:
                return
            del self._waiting[request.request_id]
            request.sequence = sequence
            self._running[request.request_id] = request
            self._decoder.open(
                sequence,
                sampling=request.sampling,
                max_new_tokens=request.max_new,
                generated=tuple(request.generated),
            )

    def _plan(self) -> list[Slice]:
        """Return the batch: every answer's newest token, then prompts, oldest first."""
        room = self._limits.batch_tokens
        answers = [r for r in self._running.values() if r.answering]
        prompts = [r for r in self._running.values() if not r.answering]
        slices = []
        for request in (*answers, *prompts):
            count = min(request.pending, room)
            if count == 0:
                break
            room -= count
            slices.append(
                Slice(
                    sequence=request.sequence,
                    position=request.position,
                    tokens=request.tokens(count),
                    wants_token=count == request.pending,
                )
            )
        return slices

    def _count(self, request: _Request, part: Slice) -> None:
        if request.answering:
            self._decoded += 1
        else:
            self._prefilled += len(part.tokens)
        request.position += len(part.tokens)

    def _accept(self, request: _Request, token: int) -> Progress:
        """Add a sampled token to its answer, and end the answer where it ends."""
        request.generated.append(token)
        reason: FinishReason | None = None
        text = ""
        if self._decoder.is_end(token):
            reason = "stop"
        else:
            text = request.text.feed(self._decoder.piece(token))
            if request.text.stopped:
                reason = "stop"
            elif len(request.generated) == request.max_new:
                reason = "length"
        if reason is not None:
            text += request.text.flush()
            reason = "stop" if request.text.stopped else reason
            del self._running[request.request_id]
            self._release(request)
        return Progress(
            request_id=request.request_id,
            text=text,
            completion_tokens=len(request.generated),
            finish_reason=reason,
        )

    def _release(self, request: _Request) -> None:
        if request.sequence >= 0:
            self._decoder.close(request.sequence)
            self._cells.give_back(request.sequence)
            request.sequence = -1
            self._blocked = False

    def _preempt(self) -> None:
        """Send the youngest request back to the head of the queue.

        Reservations make this impossible; if it happens all the same, one request
        is delayed until another has ended, and no request is lost.
        """
        if len(self._running) == 1:
            raise EngineUnavailableError("one request does not fit an empty cache")
        _, request = self._running.popitem()
        self._release(request)
        request.position = 0
        request.expires_s = math.inf
        self._waiting = {request.request_id: request, **self._waiting}
        self._blocked = True
        self._preemptions += 1
