"""Runs a floor and its subjects in turns, so that both see the same machine.

Each round measures the floor, every subject, and the floor again; odd rounds take
the subjects in reverse. A ratio is made within one round and only then compared
with other rounds. How far the two floors of a round are apart is the noise: a
ratio that differs from 1 by less than that says nothing.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Measure = Callable[[], Mapping[str, float]]
"""Does the work once; returns what it measured under names of its own."""

QUICK_DIVISOR = 8
"""How much less work a quick run does: enough to see that it runs, not to believe."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much a benchmark does, and where.

    Attributes:
        scratch: An empty folder on the file system to be measured.
    """

    repetitions: int
    quick: bool
    scratch: Path

    def amount(self, full: int) -> int:
        """Return how many of ``full`` units of work this plan does."""
        return max(1, full // QUICK_DIVISOR) if self.quick else full


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounds:
    """What was measured, round by round; the floor's two values are averaged."""

    measured: tuple[Mapping[str, float], ...]
    floor_again: tuple[Mapping[str, float], ...]

    def of(self, name: str) -> tuple[float, ...]:
        """Return ``name`` of every round."""
        return tuple(values[name] for values in self.measured)

    def ratio(self, over: str, under: str) -> tuple[float, ...]:
        """Return ``over / under`` of every round."""
        return tuple(values[over] / values[under] for values in self.measured)

    def difference(self, of: str, less: str) -> tuple[float, ...]:
        """Return ``of - less`` of every round."""
        return tuple(values[of] - values[less] for values in self.measured)

    def noise(self, name: str) -> tuple[float, ...]:
        """Return the floor's second ``name`` over its first, of every round."""
        return tuple(values[name] for values in self.floor_again)


def measure_rounds(
    floor: Measure, subjects: Sequence[Measure], *, repetitions: int
) -> Rounds:
    """Measure ``floor`` and ``subjects`` in turns; a first turn is thrown away."""
    for measure in (floor, *subjects):
        measure()
    measured: list[Mapping[str, float]] = []
    floor_again: list[Mapping[str, float]] = []
    for number in range(repetitions):
        first = floor()
        values: dict[str, float] = {}
        for subject in subjects if number % 2 == 0 else reversed(subjects):
            values |= subject()
        second = floor()
        values |= {name: (first[name] + second[name]) / 2 for name in first}
        measured.append(values)
        floor_again.append({name: second[name] / first[name] for name in first})
    return Rounds(measured=tuple(measured), floor_again=tuple(floor_again))


def p50(values: Sequence[float]) -> float:
    """Return the median of ``values``."""
    return statistics.median(values)
