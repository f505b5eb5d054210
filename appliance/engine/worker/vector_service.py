"""The loop of an engine process whose model makes vectors.

As the loop of one that writes text: single-threaded, so an order is obeyed between
two batches, and a cancelled request is gone before the next one.
"""

import os
from collections import defaultdict

from appliance.clock import Clock
from appliance.engine import protocol as wire
from appliance.engine.embedding import Inputs
from appliance.engine.llama.encoder import Encoder
from appliance.engine.scheduling.admission import RETRY_AFTER_S
from appliance.engine.scheduling.vector_queue import Text, VectorQueue
from appliance.engine.worker.inputs import InputReader
from appliance.engine.worker.service import EXPIRY_CHECK_S, Channel
from appliance.errors import (
    ContextLengthError,
    OverloadedError,
    RequestRefusedError,
)
from bundleformat.errors import ConflictError, InternalFaultError


class VectorService:
    """The loop between one channel and one queue of texts."""

    def __init__(
        self,
        channel: Channel,
        *,
        queue: VectorQueue,
        reader: InputReader,
        encoder: Encoder,
        clock: Clock,
    ) -> None:
        self._channel = channel
        self._queue = queue
        self._reader = reader
        self._encoder = encoder
        self._clock = clock
        self._steps = 0
        self._tokens = 0

    def run(self) -> None:
        """Serve until the gateway is gone.

        Raises:
            EOFError: It is gone; the only way out.
        """
        while True:
            for order in self._channel.receive(wait_s=self._patience_s()):
                self._obey(order)
            for request_id in self._queue.expire(self._now_s()):
                self._channel.send(_overloaded(request_id, "waited too long"))
            batch = self._queue.next_batch()
            if batch:
                self._channel.send(self._embed(batch))

    def _patience_s(self) -> float | None:
        if self._queue.busy:
            return 0
        return None if self._queue.idle else EXPIRY_CHECK_S

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    def _obey(self, order: wire.Order) -> None:
        match order:
            case wire.PrepareInputs():
                self._channel.send(self._prepare(order))
            case wire.Start():
                self._queue.start(order.request_id)
            case wire.Cancel():
                self._cancel(order.request_id)
            case wire.UseThreads():
                self._encoder.use_threads(order.threads)
            case wire.AskStats():
                self._channel.send(self._stats())
            case wire.Prepare():
                problem = "this model makes vectors; it does not write text"
                self._channel.send(_refused(order.request_id, problem, param="model"))
            case wire.Load():
                raise InternalFaultError("a second model in one process")

    def _prepare(self, order: wire.PrepareInputs) -> wire.Report:
        try:
            self._queue.check_place(order.request_id)
            self._check_dimensions(order.dimensions)
            inputs = Inputs(texts=order.texts, tokens=order.tokens)
            total = self._queue.prepare(
                order.request_id,
                tenant=order.tenant,
                weight=order.weight,
                texts=self._reader.read(inputs),
                now_s=self._now_s(),
            )
        except OverloadedError as error:
            return _overloaded(order.request_id, error.problem)
        except ContextLengthError as error:
            return wire.TooLong(
                request_id=order.request_id,
                limit_tokens=error.limit_tokens,
                prompt_tokens=error.prompt_tokens,
                new_tokens=error.new_tokens,
                index=error.index,
            )
        except (RequestRefusedError, ConflictError) as error:
            param = getattr(error, "param", None)
            return _refused(order.request_id, error.problem, param=param)
        return wire.Prepared(
            request_id=order.request_id, prompt_tokens=total, max_new_tokens=0
        )

    def _check_dimensions(self, dimensions: int | None) -> None:
        size = self._encoder.vector_size
        if dimensions not in (None, size):
            raise RequestRefusedError(
                f"this model makes vectors of {size} numbers, not {dimensions}",
                param="dimensions",
            )

    def _embed(self, batch: list[Text]) -> wire.Embedded:
        vectors = self._encoder.encode([text.tokens for text in batch])
        self._steps += 1
        self._tokens += sum(len(text.tokens) for text in batch)
        return wire.Embedded(parts=_parts(batch, vectors))

    def _cancel(self, request_id: str) -> None:
        done_tokens = self._queue.cancel(request_id)
        if done_tokens is not None:
            self._channel.send(
                wire.Ended(
                    request_id=request_id,
                    prompt_tokens=done_tokens,
                    completion_tokens=0,
                )
            )

    def _stats(self) -> wire.Stats:
        return wire.Stats(
            pid=os.getpid(),
            prepared=self._queue.held - self._queue.waiting,
            waiting=self._queue.waiting,
            running=0,
            cells=0,
            cells_used=0,
            cells_reserved=0,
            cells_cached=0,
            tokens_decoded=0,
            tokens_prefilled=self._tokens,
            tokens_reused=0,
            tokens_drafted=0,
            drafts_kept=0,
            steps=self._steps,
            preemptions=0,
            threads=self._encoder.threads,
        )


def _parts(batch: list[Text], vectors: list[bytes]) -> tuple[wire.Part, ...]:
    """Return what one batch made, request by request; a request's texts follow on."""
    texts: dict[str, list[Text]] = defaultdict(list)
    made: dict[str, list[bytes]] = defaultdict(list)
    for text, vector in zip(batch, vectors, strict=True):
        texts[text.request_id].append(text)
        made[text.request_id].append(vector)
    return tuple(
        wire.Part(
            request_id=request_id,
            first=held[0].index,
            vectors=tuple(made[request_id]),
            last=held[-1].last,
        )
        for request_id, held in texts.items()
    )


def _refused(request_id: str, problem: str, *, param: str | None) -> wire.Refused:
    return wire.Refused(request_id=request_id, problem=problem, param=param)


def _overloaded(request_id: str, problem: str) -> wire.Overloaded:
    return wire.Overloaded(
        request_id=request_id, problem=problem, retry_after_s=RETRY_AFTER_S
    )
