"""An engine process whose model makes vectors."""

import os
from collections import defaultdict

from appliance.clock import Clock
from appliance.engine import protocol as wire
from appliance.engine.embedding import Inputs
from appliance.engine.llama.encoder import Encoder
from appliance.engine.scheduling.vector_queue import Text, VectorQueue
from appliance.engine.worker.desk import Channel, Desk
from appliance.engine.worker.inputs import InputReader
from appliance.errors import RequestRefusedError


class VectorService(Desk[wire.PrepareInputs]):
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
        super().__init__(
            wire.PrepareInputs,
            "this model makes vectors; it does not write text",
            channel=channel,
            queue=queue,
            compute=encoder,
            clock=clock,
        )
        self._queue = queue
        self._reader = reader
        self._encoder = encoder
        self._steps = 0
        self._tokens = 0

    def accept(self, order: wire.PrepareInputs) -> wire.Prepared:
        """Hold a place for every text; see ``Desk``."""
        self._queue.check_place(order.request_id)
        self._check_dimensions(order.dimensions)
        inputs = Inputs(texts=order.texts, tokens=order.tokens)
        total = self._queue.prepare(
            order.request_id,
            tenant=order.tenant,
            weight=order.weight,
            texts=self._reader.read(inputs),
            now_s=self.now_s(),
        )
        return wire.Prepared(
            request_id=order.request_id, prompt_tokens=total, max_new_tokens=0
        )

    def compute(self) -> wire.Embedded | None:
        """Make the vectors of one batch, if there is one."""
        batch = self._queue.next_batch()
        if not batch:
            return None
        vectors = self._encoder.encode([text.tokens for text in batch])
        self._steps += 1
        self._tokens += sum(len(text.tokens) for text in batch)
        return wire.Embedded(parts=_parts(batch, vectors))

    def cancel(self, request_id: str) -> wire.Ended | None:
        """Take the texts of a request out of the queue; see ``Desk``."""
        done_tokens = self._queue.cancel(request_id)
        if done_tokens is None:
            return None
        return wire.Ended(
            request_id=request_id, prompt_tokens=done_tokens, completion_tokens=0
        )

    def stats(self) -> wire.Stats:
        """Return the counts of this moment."""
        return wire.Stats(
            pid=os.getpid(),
            prepared=self._queue.held - self._queue.waiting,
            waiting=self._queue.waiting,
            running=0,
            tokens_prefilled=self._tokens,
            steps=self._steps,
            threads=self._encoder.threads,
        )

    def _check_dimensions(self, dimensions: int | None) -> None:
        size = self._encoder.vector_size
        if dimensions not in (None, size):
            raise RequestRefusedError(
                f"this model makes vectors of {size} numbers, not {dimensions}",
                param="dimensions",
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
