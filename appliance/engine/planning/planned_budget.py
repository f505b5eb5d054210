"""Tells the pool what an engine needs, as a probe measured it, and what there is."""

from pathlib import Path

from appliance.engine.planning.choices import Choice
from appliance.engine.planning.orders import load_order
from appliance.engine.planning.planner import Planner
from appliance.engine.pool.budget import Need
from appliance.settings import EngineSettings


class PlannedBudget:
    """Implements ``pool.budget.MemoryBudget``.

    Args:
        planner: The one that plans the loads; it measures a model once.
        settings: The limits of each engine.
    """

    def __init__(self, planner: Planner, *, settings: EngineSettings) -> None:
        self._planner = planner
        self._settings = settings

    async def need(self, *paths: Path, choice: Choice | None = None) -> Need:
        """Return what an engine of the model in ``paths`` takes of the host's memory.

        Raises:
            ProbeDiedError: The probe died on it.
            EngineUnavailableError: llama.cpp cannot load it.
        """
        order, footprint = await self._planner.measure(
            load_order(paths, self._settings, choice=choice)
        )
        memory = footprint.memory
        return Need(
            total_bytes=memory.host_bytes,
            mapped_bytes=memory.host.weights_bytes if order.mapped else 0,
        )

    def available_bytes(self) -> int:
        """Return what a load may take now.

        Raises:
            InternalFaultError: It cannot be told.
        """
        return self._planner.allowed_bytes()
