"""How a team stands with its limits, as OpenAI's headers say it; pure.

Source: OpenAI API guide, "Rate limits", "Rate limits in headers".
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """One limit: how much it is, what is left, and when all of it is back."""

    limit: int
    remaining: int
    reset_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A team's two limits that a client is told of.

    ``tokens`` is the limit by the minute, or that by the day where less is left
    of it.
    """

    requests: Left
    tokens: Left

    def headers(self) -> Mapping[str, str]:
        """Return the six headers."""
        return {
            f"x-ratelimit-{part}-{what}": text
            for what, left in (("requests", self.requests), ("tokens", self.tokens))
            for part, text in (
                ("limit", str(left.limit)),
                ("remaining", str(left.remaining)),
                ("reset", duration(left.reset_s)),
            )
        }


def duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: ``6m0s``, ``8.64s`` or ``20ms``."""
    thousandths = round(seconds * 1000)
    if thousandths < 1000:
        return f"{thousandths}ms"
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
