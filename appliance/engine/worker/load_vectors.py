"""From a ``Load`` order and a model that makes vectors to a warm service of it."""

import dataclasses

from appliance.clock import Clock
from appliance.engine import protocol as wire
from appliance.engine.llama.encoder import Encoder
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import vector_parameters
from appliance.engine.scheduling.admission import (
    REHEARSED_TOKENS,
    STEP_TARGET_S,
    Limits,
)
from appliance.engine.scheduling.vector_queue import VectorLimits, VectorQueue
from appliance.engine.worker.desk import Channel
from appliance.engine.worker.inputs import InputReader
from appliance.engine.worker.vector_service import VectorService
from appliance.engine.worker.vitals import read_loaded
from appliance.errors import EngineUnavailableError

INPUTS_OF_A_BATCH = 64
"""Most texts of one batch; short ones alone would fill it with hundreds."""

LONGEST_STEP_S = 15.0
"""What the longest text may take: nothing else is answered meanwhile."""


def load_vectors(
    order: wire.Load, *, model: Model, channel: Channel, clock: Clock
) -> tuple[VectorService, wire.Ready]:
    """Return a service whose model is warm, and what it says of itself.

    Raises:
        EngineUnavailableError: The model cannot be served.
    """
    limits = vector_limits(order.limits, trained_tokens=model.trained_tokens)
    encoder = Encoder(model, vector_parameters(order, limits))
    rehearsal_s = encoder.rehearse(
        limits.input_tokens, now_s=lambda: clock.monotonic_ns() / 1e9
    )
    limits = paced(limits, rehearsal_s=rehearsal_s)
    service = VectorService(
        channel,
        queue=VectorQueue(limits),
        reader=InputReader(model, most_tokens=limits.input_tokens),
        encoder=encoder,
        clock=clock,
    )
    ready = wire.Ready(
        context_tokens=limits.input_tokens,
        cells=0,
        sequences=order.limits.sequences,
        batch_tokens=limits.paced_tokens,
        longest_token_bytes=model.longest_token_bytes(),
        loaded=read_loaded(encoder.memory()),
        vector_size=encoder.vector_size,
    )
    return service, ready


def vector_limits(limits: Limits, *, trained_tokens: int) -> VectorLimits:
    """Return what ``limits`` allow, for a model of that context length."""
    longest = min(limits.input_tokens, limits.context_tokens, trained_tokens)
    return VectorLimits(
        input_tokens=longest,
        paced_tokens=longest,
        inputs=INPUTS_OF_A_BATCH,
        request_tokens=limits.request_tokens,
        places=limits.places,
        queue_timeout_s=limits.queue_timeout_s,
    )


def paced(limits: VectorLimits, *, rehearsal_s: float) -> VectorLimits:
    """Return limits whose batches of several texts stay near the target.

    ``rehearsal_s`` is what one text of the greatest length took.

    Raises:
        EngineUnavailableError: That alone would take too long.
    """
    if rehearsal_s > LONGEST_STEP_S:
        raise EngineUnavailableError(
            "a text of the greatest length takes this host too long",
            expected=f"at most {LONGEST_STEP_S:g} seconds",
            actual=f"{rehearsal_s:.0f} seconds for {limits.input_tokens} tokens",
            hint="Set input_tokens of [engine] lower.",
        )
    paced_tokens = limits.input_tokens
    while (
        paced_tokens // 2 >= REHEARSED_TOKENS
        and paced_tokens * rehearsal_s > STEP_TARGET_S * limits.input_tokens
    ):
        paced_tokens //= 2
    return dataclasses.replace(limits, paced_tokens=paced_tokens)
