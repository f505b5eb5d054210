"""Decides how a model is loaded, and refuses a load that memory is too short for.

1. Read what the machine leaves.
2. Ask a probe what the load would take.
3. Where there is a GPU, put as many layers on it as fit.
4. Weights that are laid out anew for the processor are read into memory, not
   mapped: they would be in memory twice.
5. Compare; what does not fit is refused, with what would.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from appliance.engine.planning.budget import (
    Allowance,
    Margins,
    Shortfall,
    allowances,
    host_allowance,
    shortfalls,
)
from appliance.engine.planning.ceilings import read_ceilings
from appliance.engine.planning.memory import Ceiling, Footprint, Loaded, Memory
from appliance.engine.planning.probe import Probe, open_probe
from appliance.engine.planning.search import choose_layers, find_fitting
from appliance.engine.protocol import Load
from appliance.errors import EngineUnavailableError, InsufficientMemoryError

REMEMBERED = 32
"""Footprints that are kept, so that an engine that is started again costs no probe."""


PROBE_BYTES = 2**28
"""What a probe may take of the address space where a load may take less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A load that fits.

    Attributes:
        order: What the engine process is to be told.
        footprint: What it would take.
        allowed: What it may take, of the machine's memory first.
    """

    order: Load
    footprint: Footprint
    allowed: tuple[Allowance, ...]


class Planner:
    """Plans loads on this machine; keeps nothing but what it has measured.

    Args:
        margins: What is left alone.
        read: Reads what the machine leaves.
    """

    def __init__(
        self,
        margins: Margins,
        *,
        read: Callable[[], Sequence[Ceiling]] = read_ceilings,
    ) -> None:
        self._margins = margins
        self._read = read
        self._known: dict[object, tuple[Load, Footprint]] = {}

    def allowed_bytes(self) -> int:
        """Return what a load may take of the machine's memory now.

        Raises:
            InternalFaultError: It cannot be told.
        """
        return host_allowance(self._read(), margins=self._margins).bytes

    async def plan(self, order: Load) -> Plan:
        """Return how to load what ``order`` asks for.

        Raises:
            InsufficientMemoryError: It does not fit.
            EngineUnavailableError: The probe cannot load the model, or died on it.
            InternalFaultError: The memory of this machine cannot be told.
        """
        known = self._recall(order)
        if known is not None and not self.check(known[1]):
            return self._plan(*known)
        async with self.probe() as probe:
            chosen, footprint = await self._measure(order, probe)
            short = self.check(footprint)
            if short:
                raise await self._refusal(chosen, probe, short[0])
        return self._plan(chosen, footprint)

    async def measure(self, order: Load) -> tuple[Load, Footprint]:
        """Return how ``order`` would be loaded and what that takes, fit or not.

        Raises:
            EngineUnavailableError: As for ``plan``.
        """
        known = self._recall(order)
        if known is not None:
            return known
        async with self.probe() as probe:
            return await self._measure(order, probe)

    def probe(self) -> AbstractAsyncContextManager[Probe]:
        """A probe that takes no more than a load might, or :data:`PROBE_BYTES`."""
        return open_probe(max(PROBE_BYTES, self.allowed_bytes()))

    async def choose(self, order: Load, probe: Probe) -> tuple[Load, Footprint]:
        """Return ``order`` as it is best loaded here, and what that takes.

        Raises:
            EngineUnavailableError: As for ``plan``.
        """
        chosen, footprint = await choose_layers(order, probe.measure, self.check)
        return replace(chosen, mapped=not footprint.repacked), footprint

    def check(self, footprint: Footprint) -> tuple[Shortfall, ...]:
        """Return what ``footprint`` takes too much of."""
        return shortfalls(footprint.memory, self.allowed(footprint))

    def allowed(self, footprint: Footprint) -> tuple[Allowance, ...]:
        """Return what a load may take now, of the machine's memory first."""
        return allowances(footprint, self._read(), margins=self._margins)

    def check_loaded(self, plan: Plan, loaded: Loaded) -> None:
        """Return if what was loaded is within what it was allowed.

        Raises:
            InsufficientMemoryError: It is not; it MUST NOT serve.
        """
        for short in shortfalls(accounted(plan, loaded), plan.allowed):
            raise _insufficient(short, plan.order)

    def _plan(self, order: Load, footprint: Footprint) -> Plan:
        return Plan(order=order, footprint=footprint, allowed=self.allowed(footprint))

    def _recall(self, order: Load) -> tuple[Load, Footprint] | None:
        """Return what was measured for such an order; its threads do not matter."""
        known = self._known.get(_identity(order))
        if known is None:
            return None
        return replace(known[0], threads=order.threads), known[1]

    async def _measure(self, order: Load, probe: Probe) -> tuple[Load, Footprint]:
        """Measure, and remember it where nothing but the files tells the answer."""
        key = _identity(order)
        chosen, footprint = await self.choose(order, probe)
        if key is not None and not footprint.gpus:
            self._known[key] = (chosen, footprint)
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        return chosen, footprint

    async def _refusal(
        self, order: Load, probe: Probe, short: Shortfall
    ) -> InsufficientMemoryError:
        try:
            fitting = await find_fitting(order, probe.measure, self.check)
        except EngineUnavailableError:
            # That it does not fit is known; what would is not, then.
            fitting = None
        return _insufficient(short, order, fitting=fitting)


def accounted(plan: Plan, loaded: Loaded) -> Memory:
    """Return what an engine takes: its own count, its process as it was planned."""
    planned = plan.footprint.memory
    return Memory(
        host=loaded.memory.host,
        gpus=loaded.memory.gpus,
        sampling_bytes=loaded.memory.sampling_bytes,
        spill_bytes=loaded.memory.spill_bytes,
        requests_bytes=loaded.memory.requests_bytes,
        process_bytes=planned.process_bytes,
    )


def difference(plan: Plan, loaded: Loaded) -> str:
    """Return what an engine takes against what was planned, in words."""
    planned, taken = plan.footprint.memory.total_bytes, accounted(plan, loaded)
    apart = taken.total_bytes / planned - 1
    return (
        f"{taken.total_bytes:,} bytes taken, {planned:,} planned ({apart:+.2%}), "
        f"{loaded.resident_bytes:,} resident"
    )


def _insufficient(
    short: Shortfall, order: Load, *, fitting: Load | None = None
) -> InsufficientMemoryError:
    return InsufficientMemoryError(
        device=short.allowance.device,
        needed_bytes=short.needed_bytes,
        allowed_bytes=short.allowance.bytes,
        limit=short.allowance.limit,
        fitting=None
        if fitting is None
        else (
            fitting.limits.context_tokens,
            fitting.limits.sequences,
            fitting.limits.cells,
        ),
        where=order.model_paths[0],
    )


def _identity(order: Load) -> object:
    """Return what tells ``order`` and the files it names from any other, or None."""
    try:
        looks = [Path(path).stat() for path in order.model_paths]
    except OSError:
        return None
    files = tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for s in looks)
    return (replace(order, threads=1), files)
