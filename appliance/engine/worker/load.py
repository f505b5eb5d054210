"""From a ``Load`` order to a service of a loaded, warm model."""

from functools import partial
from typing import Protocol

from appliance.clock import Clock
from appliance.engine import protocol as wire
from appliance.engine.llama.context import Context
from appliance.engine.llama.kind import makes_vectors
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import parameters_for
from appliance.engine.scheduling.admission import REHEARSED_TOKENS, STEP_TARGET_S, fit
from appliance.engine.scheduling.pacing import Pace
from appliance.engine.scheduling.scheduler import Scheduler
from appliance.engine.worker.channel import Channel
from appliance.engine.worker.ear import Ear
from appliance.engine.worker.load_vectors import load_vectors
from appliance.engine.worker.prompt import Prompter
from appliance.engine.worker.service import Service, hasten
from appliance.engine.worker.shared_prompts import shared_beginnings
from appliance.engine.worker.template import ChatTemplate
from appliance.engine.worker.vitals import read_loaded


class Loop(Protocol):
    """What serves a loaded model."""

    def run(self) -> None:
        """Serve until the gateway is gone; ends by ``EOFError``."""


def load(
    order: wire.Load, *, channel: Channel, clock: Clock
) -> tuple[Loop, wire.Ready]:
    """Return a service whose model is loaded and warm, and what it says of itself.

    Raises:
        EngineUnavailableError: The model cannot be served.
        RequestRefusedError: Its chat template does not compile.
    """
    model = Model(*order.model_paths, parameters=parameters_for(order, order.limits))
    if makes_vectors(model):
        return load_vectors(order, model=model, channel=channel, clock=clock)
    limits = fit(
        order.limits, trained_tokens=model.trained_tokens, shares=model.shares_cells
    )
    context = Context(model, parameters_for(order, limits))
    rehearsal_s = context.rehearse(
        REHEARSED_TOKENS, now_s=lambda: clock.monotonic_ns() / 1e9
    )
    pace = Pace(
        target_s=order.step_s,
        alone_s=max(order.step_s, STEP_TARGET_S),
        batch_tokens=limits.batch_tokens,
        token_s=rehearsal_s / REHEARSED_TOKENS,
    )
    prompter = Prompter(model, template=_template(model))
    public = shared_beginnings(prompter, order.shared_prompts, now=clock.now())
    scheduler = Scheduler(context, limits=limits, pace=pace, public=public)
    service = Service(
        Ear(channel, partial(hasten, scheduler.haste)),
        scheduler=scheduler,
        compute=context,
        prompter=prompter,
        limits=limits,
        clock=clock,
    )
    ready = wire.Ready(
        context_tokens=limits.context_tokens,
        cells=limits.cells,
        sequences=limits.sequences,
        batch_tokens=limits.batch_tokens,
        longest_token_bytes=prompter.longest_token_bytes,
        loaded=read_loaded(context.memory(limits)),
    )
    return service, ready


def _template(model: Model) -> ChatTemplate | None:
    source = model.chat_template
    if source is None:
        return None
    return ChatTemplate(source, bos_token=model.bos_token, eos_token=model.eos_token)
