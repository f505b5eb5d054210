"""From a ``Load`` order to a scheduler over a loaded, warm model."""

from appliance.clock import Clock
from appliance.engine import protocol as wire
from appliance.engine.llama.context import Context
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import parameters_for
from appliance.engine.scheduling.admission import REHEARSED_TOKENS, Limits, fit, paced
from appliance.engine.scheduling.scheduler import Scheduler
from appliance.engine.worker.prompt import Prompter
from appliance.engine.worker.template import ChatTemplate


def load(order: wire.Load, *, clock: Clock) -> tuple[Scheduler, Prompter, Limits]:
    """Return the parts of a service whose model is loaded and warm.

    Raises:
        EngineUnavailableError: The model cannot be served.
        RequestRefusedError: Its chat template does not compile.
    """
    asked = Limits(
        context_tokens=order.context_tokens,
        cells=order.cells,
        sequences=order.sequences,
        batch_tokens=order.batch_tokens,
        queued_requests=order.queued_requests,
        queue_timeout_s=order.queue_timeout_s,
        default_max_tokens=order.default_max_tokens,
    )
    model = Model(*order.model_paths, parameters=parameters_for(order, asked))
    limits = fit(asked, trained_tokens=model.trained_tokens)
    context = Context(model, parameters_for(order, limits))
    rehearsal_s = context.rehearse(
        REHEARSED_TOKENS, now_s=lambda: clock.monotonic_ns() / 1e9
    )
    limits = paced(limits, rehearsal_s=rehearsal_s)
    source = model.chat_template
    template = None
    if source is not None:
        template = ChatTemplate(
            source, bos_token=model.bos_token, eos_token=model.eos_token
        )
    prompter = Prompter(model, template=template)
    return Scheduler(context, limits=limits), prompter, limits
