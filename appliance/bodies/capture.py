"""How much of a request's text is captured: the lower of its team's and its model's.

The caller may lower that once more.

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
        lowered_from: The team's level, if it is less than that.
        model_allows: What the model allows at most, if that is less than the team's.
    """

    level: Capture
    lowered_from: Capture | None = None
    model_allows: Capture | None = None


def effective_capture(
    own: Capture, *, model: Capture = "full", headers: tuple[str, ...] = ()
) -> Captures:
    """Return what is captured of a request; never more than team and model both allow.

    Args:
        own: The team's level.
        model: The most that the model allows.
        headers: Each ``X-Capture`` value, as received; the least of them counts.

    Raises:
        CaptureRefusedError: One is no level, or above what both allow.
    """
    asked = [_level(value) for value in headers]
    most = min((own, model), key=LEVELS.index)
    if any(LEVELS.index(level) > LEVELS.index(most) for level in asked):
        raise CaptureRefusedError(
            f"{HEADER} can only lower what is captured; for this team and model "
            f"that is {most}"
        )
    least = min((most, *asked), key=LEVELS.index)
    return Captures(
        level=least,
        lowered_from=None if least == own else own,
        model_allows=None if most == own else most,
    )


def _level(value: str) -> Capture:
    for level in LEVELS:
        if value.strip(" \t").lower() == level:
            return level
    # What the caller wrote is not repeated: it may be anything.
    raise CaptureRefusedError(
        f"{HEADER} is none of {', '.join(LEVELS)}; correct it or leave it out"
    )
