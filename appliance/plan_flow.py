"""The concurrency math: what a model takes here, and how many it can serve."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from appliance.engine.planning.capacity import Capacity, find_capacity, for_users
from appliance.engine.planning.choices import Choice
from appliance.engine.planning.orders import load_order, margins
from appliance.engine.planning.planner import Planner
from appliance.settings import MAX_SEQUENCES, EngineSettings


def plan_model(
    paths: Sequence[Path],
    settings: EngineSettings,
    *,
    users: int | None = None,
    context_tokens: int | None = None,
    choice: Choice | None = None,
) -> Capacity:
    """Return what an engine of the model in ``paths`` takes, and what would fit.

    Without ``users`` and ``context_tokens`` it is planned as the settings say;
    with one of them, the other is the settings' own, and there are cells for all.

    Raises:
        EngineUnavailableError: No engine can load it.
        InternalFaultError: The memory of this machine cannot be told.
    """
    order = load_order(paths, settings, choice=choice)
    if users is not None or context_tokens is not None:
        order = for_users(
            order,
            users=users or settings.sequences,
            context_tokens=context_tokens or settings.context_tokens,
        )
    planner = Planner(margins(settings))
    return asyncio.run(find_capacity(planner, order, most_users=MAX_SEQUENCES))
