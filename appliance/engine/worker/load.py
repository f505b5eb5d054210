"""From a ``Load`` order to a scheduler over a loaded, warm model."""

from appliance.clock import Clock
from appliance.engine import protocol as wire
from appliance.engine.llama.context import Context
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import parameters_for
from appliance.engine.scheduling.admission import (
    REHEARSED_TOKENS,
    STEP_TARGET_S,
    Limits,
    fit,
)
from appliance.engine.scheduling.pacing import Pace
from appliance.engine.scheduling.scheduler import Scheduler
from appliance.engine.worker.prompt import Prompter
from appliance.engine.worker.shared_prompts import shared_beginnings
from appliance.engine.worker.template import ChatTemplate


def load(order: wire.Load, *, clock: Clock) -> tuple[Scheduler, Prompter, Limits]:
    """Return the parts of a service whose model is loaded and warm.

    Raises:
        EngineUnavailableError: The model cannot be served.
        RequestRefusedError: Its chat template does not compile.
    """
    model = Model(*order.model_paths, parameters=parameters_for(order, order.limits))
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
    source = model.chat_template
    template = None
    if source is not None:
        template = ChatTemplate(
            source, bos_token=model.bos_token, eos_token=model.eos_token
        )
    prompter = Prompter(model, template=template)
    public = shared_beginnings(prompter, order.shared_prompts, now=clock.now())
    scheduler = Scheduler(context, limits=limits, pace=pace, public=public)
    return scheduler, prompter, limits
