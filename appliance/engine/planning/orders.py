"""What settings and a measured choice make of a load."""

from collections.abc import Sequence
from pathlib import Path

from appliance.engine.planning.budget import Margins
from appliance.engine.planning.choices import Allowed, Choice, choose
from appliance.engine.protocol import Load
from appliance.engine.scheduling.admission import Limits
from appliance.settings import EngineSettings, engine_threads


def load_order(
    paths: Sequence[Path],
    settings: EngineSettings,
    *,
    threads: int | None = None,
    choice: Choice | None = None,
) -> Load:
    """Return the order to load the model in ``paths``, all its parts in order."""
    chosen = choice or choose((), allowed(settings))
    return Load(
        model_paths=tuple(str(path) for path in paths),
        limits=_limits(settings),
        threads=threads or engine_threads(settings),
        step_s=settings.step_ms / 1_000,
        shared_prompts=settings.shared_prompts,
        cache_type=chosen.cache_type,
        flash_attention=chosen.flash_attention,
        gpu_layers=settings.gpu_layers,
    )


def allowed(settings: EngineSettings) -> Allowed:
    """Return what the operator allows of the cache and of attention."""
    return Allowed(
        cache_type=settings.cache_type, flash_attention=settings.flash_attention
    )


def margins(settings: EngineSettings) -> Margins:
    """Return what every load leaves alone."""
    return Margins(
        host_bytes=settings.memory_margin_bytes, gpu_bytes=settings.gpu_margin_bytes
    )


def _limits(settings: EngineSettings) -> Limits:
    """Return the limits that the settings name, before the model narrows them."""
    return Limits(
        context_tokens=settings.context_tokens,
        cells=settings.cells,
        sequences=settings.sequences,
        batch_tokens=settings.batch_tokens,
        queued_requests=settings.queued_requests,
        queue_timeout_s=settings.queue_timeout_s,
        default_max_tokens=settings.default_max_tokens,
        spare_sequences=settings.spare_sequences,
        cached_sequences=settings.cached_sequences,
        parted=settings.cache_layout == "auto",
        draft_tokens=settings.draft_tokens,
        spill_bytes=settings.spill_bytes,
        input_tokens=settings.input_tokens,
        request_tokens=settings.request_tokens,
    )
