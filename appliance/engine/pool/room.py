"""Decides who makes room for a model; pure.

Room is memory and a number of engines. Whoever is pinned, in use or still
loading keeps its room; of the others the least recently used give theirs, and no
more of them than it takes. It never unloads in vain: if all of them together are
not enough, nobody goes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """What a resident does with its room."""

    PINNED = "pinned"
    BUSY = "busy"
    """In use or still loading: to be waited for."""
    LEAVING = "leaving"
    """Being unloaded: its room comes by itself."""
    IDLE = "idle"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resident:
    """An engine that has room, or has been promised it.

    Attributes:
        key: Whose room it is.
        needed_bytes: Memory that it takes.
        used_s: When it was last used, on any clock that never goes back.
        standing: What it does with its room.
    """

    key: int
    needed_bytes: int
    used_s: float
    standing: Standing


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What is left: bytes that nobody has, and engines that there may be in all."""

    free_bytes: int
    most: int


class Verdict(StrEnum):
    """What a model that wants room is told."""

    FITS = "fits"
    UNLOAD = "unload"
    """It fits when those that the decision names are unloaded."""
    WAIT = "wait"
    """It fits when those that are busy or leaving have gone."""
    NEVER = "never"
    """It does not fit beside what is pinned, whoever else goes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """A verdict, and whom to unload, the least recently used first."""

    verdict: Verdict
    unload: tuple[int, ...] = ()


def decide_room(
    residents: Sequence[Resident], *, needed_bytes: int, room: Room
) -> Decision:
    """Return whether an engine of ``needed_bytes`` fits, and what it would take."""

    def fits(gone: Sequence[Resident]) -> bool:
        freed = sum(resident.needed_bytes for resident in gone)
        return (
            len(residents) - len(gone) < room.most
            and needed_bytes <= room.free_bytes + freed
        )

    if fits(()):
        return Decision(verdict=Verdict.FITS)
    idle = _standing(residents, Standing.IDLE)
    for count in range(1, len(idle) + 1):
        if fits(idle[:count]):
            chosen = _fewest(idle[:count], fits=fits)
            keys = tuple(resident.key for resident in chosen)
            return Decision(verdict=Verdict.UNLOAD, unload=keys)
    movable = _standing(residents, Standing.IDLE, Standing.BUSY, Standing.LEAVING)
    return Decision(verdict=Verdict.WAIT if fits(movable) else Verdict.NEVER)


def _standing(residents: Sequence[Resident], *wanted: Standing) -> list[Resident]:
    """Return the residents that stand so, the least recently used first."""
    chosen = [resident for resident in residents if resident.standing in wanted]
    return sorted(chosen, key=lambda resident: resident.used_s)


def _fewest(
    enough: Sequence[Resident], *, fits: Callable[[Sequence[Resident]], bool]
) -> list[Resident]:
    """Return ``enough`` without those that need not go; the newest stay first."""
    chosen = list(enough)
    for resident in reversed(enough):
        rest = [each for each in chosen if each is not resident]
        if fits(rest):
            chosen = rest
    return chosen
