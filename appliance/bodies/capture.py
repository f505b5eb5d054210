"""How much of a request's text is captured: the team's level, lowered by its caller.

A header may only lower. One that would raise, or that is no level, is refused: who
asked for evidence and silently got none, or more of it than allowed, would learn of
it too late.
"""

from dataclasses import dataclass
from typing import get_args

from appliance.errors import CaptureRefusedError
from appliance.settings import Capture

LEVELS: tuple[Capture, ...] = get_args(Capture)
"""Every level, the least first."""

HEADER = "X-Capture"
"""The header by which a caller lowers its team's level."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Captures:
    """What is captured of one request.

    Attributes:
        level: One of :data:`LEVELS`.
        lowered_from: The team's level, if the caller asked for less.
    """

    level: Capture
    lowered_from: Capture | None = None


def effective_capture(own: Capture, *, headers: tuple[str, ...] = ()) -> Captures:
    """Return what is captured of a request; never more than its team's own level.

    Args:
        own: The team's level.
        headers: Each ``X-Capture`` value, as received; the least of them counts.

    Raises:
        CaptureRefusedError: One is no level, or above the team's.
    """
    asked = [_level(value) for value in headers]
    if any(LEVELS.index(level) > LEVELS.index(own) for level in asked):
        raise CaptureRefusedError(
            f"{HEADER} can only lower what is captured; this team's level is {own}"
        )
    least = min((own, *asked), key=LEVELS.index)
    return Captures(level=least, lowered_from=None if least == own else own)


def _level(value: str) -> Capture:
    for level in LEVELS:
        if value.strip(" \t").lower() == level:
            return level
    # What the caller wrote is not repeated: it may be anything.
    raise CaptureRefusedError(
        f"{HEADER} is none of {', '.join(LEVELS)}; correct it or leave it out"
    )
