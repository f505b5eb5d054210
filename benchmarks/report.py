"""What a benchmark found, as a table for people and as JSON for programs."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

RATIO = "x"
"""The unit of a ratio. Any other unit marks a figure of this machine alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One line of a result: a value of every round."""

    name: str
    values: tuple[float, ...]
    unit: str = RATIO

    @property
    def median(self) -> float:
        """The value in the middle."""
        return statistics.median(self.values)

    def to_json(self) -> dict[str, Any]:
        """Return the figure with every value it was made from."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One benchmark: its ratios, what they are made of, and the machine's noise.

    Attributes:
        ratios: What the benchmark is for.
        context: Absolute figures of this machine; they compare with nothing.
        noise: The floor against itself, as every ratio should be read.
        notes: How it was measured, in sentences.
    """

    name: str
    title: str
    ratios: tuple[Figure, ...]
    context: tuple[Figure, ...]
    noise: Figure
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return {
            "name": self.name,
            "title": self.title,
            "ratios": [figure.to_json() for figure in self.ratios],
            "context": [figure.to_json() for figure in self.context],
            "noise": self.noise.to_json(),
            "notes": list(self.notes),
        }


def table(result: Result) -> str:
    """Return ``result`` as text: ratios, then noise, then this machine's figures."""
    figures = (*result.ratios, result.noise, *result.context)
    width = max(len(figure.name) for figure in figures)
    lines = [
        f"{result.name}: {result.title}",
        f"  {'':{width}}  {'median':>9}  {'min':>9}  {'max':>9}",
        *_rows(result.ratios, width=width),
        *_rows((result.noise,), width=width),
    ]
    if result.context:
        lines += ["  on this machine:", *_rows(result.context, width=width)]
    return "\n".join([*lines, *(f"  - {note}" for note in result.notes)])


def _rows(figures: Sequence[Figure], *, width: int) -> list[str]:
    return [
        f"  {figure.name:{width}}  {_number(figure.median)}  "
        f"{_number(min(figure.values))}  {_number(max(figure.values))} {figure.unit}"
        for figure in figures
    ]


def _number(value: float) -> str:
    return f"{value:9.3f}" if abs(value) < 100 else f"{value:9.0f}"
