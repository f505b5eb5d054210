"""Tells the pool what an engine needs, as a probe measured it, and what there is."""

from pathlib import Path

from appliance.engine.planning.choices import Choice
from appliance.engine.planning.orders import load_order
from appliance.engine.planning.planner import Planner
from appliance.engine.planning.processes import taken_bytes
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

    async def need_bytes(self, *paths: Path, choice: Choice | None = None) -> int:
        """Return what an engine of the model in ``paths`` takes of the host's memory.

        Raises:
            ProbeDiedError: The probe died on it.
            EngineUnavailableError: llama.cpp cannot load it.
        """
        _, footprint = await self._planner.measure(
            load_order(paths, self._settings, choice=choice)
        )
        return footprint.memory.host_bytes

    def taken_bytes(self, pid: int) -> int:
        """Return what a process has taken already, pages of files left out."""
        return taken_bytes(pid)

    def available_bytes(self) -> int:
        """Return what a load may take now.

        Raises:
            InternalFaultError: It cannot be told.
        """
        return self._planner.allowed_bytes()
