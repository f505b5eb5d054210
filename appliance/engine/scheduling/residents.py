"""Which sequences lie in the cache, and whether one more may: cells never run out.

A sequence is running (a request owns it) or cached (its request has ended, and
its tokens may serve the next). A running one has all the cells set aside that it
will ever need; cached ones give way to it, least recently used first. What must
never exceed the cache is

    cells of all sequences, each counted once + what running ones may still add

How much sequences can have in common depends on the model and on the cache: see
``shared_residents.py``, ``whole_residents.py`` and ``parted_residents.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.engine.scheduling.paths import Path

LEAST_SHARED = 8
"""Shortest beginning worth taking over. Unit: tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A sequence that a request may use now.

    Attributes:
        sequence: Its number.
        reused: Tokens of the prompt that it holds already; less than all.
    """

    sequence: int
    reused: int


class Residents(Protocol):
    """What a scheduler asks of a cache."""

    @property
    def taken_cells(self) -> int:
        """Cells in use or set aside; never more than there are."""

    @property
    def cached_cells(self) -> int:
        """Cells that are free as soon as a request needs them."""

    @property
    def held_cells(self) -> int:
        """Cells of everything but the answers of running requests."""

    def enter(self, path: Path, *, need_cells: int, keep: int = 0) -> Place | None:
        """Set aside what a request needs beyond what is held; None: not now.

        Args:
            path: Its prompt.
            need_cells: Tokens of prompt and answer together.
            keep: Cells that must stay free all the same.
        """

    def advance(self, sequence: int, *, tokens: int) -> None:
        """Note that the first ``tokens`` tokens of the prompt are in the cache."""

    def leap(self, sequence: int, *, tokens: int) -> int:
        """Take over what others have computed of this prompt meanwhile.

        Returns:
            How many tokens of the prompt are in the cache then; at least ``tokens``.
        """

    def finish(self, sequence: int, *, answer: Sequence[int]) -> None:
        """Keep an ended sequence for the next request that begins like it.

        ``answer`` is what is in the cache behind the prompt.
        """

    def leave(self, sequence: int) -> None:
        """Free a running sequence and all that it holds alone."""
