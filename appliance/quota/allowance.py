"""What one team may take: the host's limits, or its own where it has any; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.settings import LimitSettings, Priority

DEFAULT_WEIGHT = 1
"""The weight of a team that has none of its own."""

DEFAULT_PRIORITY: Priority = "interactive"
"""The priority of a team that has none of its own."""

PRIORITIES: Mapping[Priority, int] = {"priority": -10, "interactive": 0, "batch": 10}
"""The number by which an engine goes, for each priority of a team.

Unit: none; the lower number goes first. Source: vLLM, "priority" of a request.
"""

LOWEST = 100
"""The least urgent number there is."""

TIERS: Mapping[str, int] = {
    "priority": PRIORITIES["priority"],
    "auto": PRIORITIES["interactive"],
    "default": PRIORITIES["interactive"],
    "flex": PRIORITIES["batch"],
}
"""OpenAI's service tiers as numbers of urgency."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """Every limit of one team; all finite.

    Attributes:
        running: Requests that run at once.
        queued: Requests that wait beside them.
        requests_per_minute: Requests that may be begun in a minute.
        tokens_per_minute: Tokens of prompts and answers in a minute.
        tokens_per_day: The same in a day, from midnight UTC on.
        weight: Its share of an engine beside other teams'.
        priority: One of :data:`PRIORITIES`.
    """

    running: int
    queued: int
    requests_per_minute: int
    tokens_per_minute: int
    tokens_per_day: int
    weight: int = DEFAULT_WEIGHT
    priority: Priority = DEFAULT_PRIORITY


def allowance(limits: LimitSettings, own: Mapping[str, Any]) -> Allowance:
    """Return what a team may take.

    ``own`` holds values of the team by the name of the limit; None is the host's.
    """
    of_the_host = {
        "running": limits.running,
        "queued": limits.queued,
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "tokens_per_day": limits.tokens_per_day,
    }
    chosen = {name: value for name, value in own.items() if value is not None}
    return Allowance(**of_the_host | chosen)


def urgency(
    ceiling: Priority, *, service_tier: str | None, priority: int | None
) -> tuple[int, str]:
    """Return the number an engine goes by, and the service tier that it amounts to.

    A caller may make its own request less urgent, and more urgent only up to
    ``ceiling``, the team's priority.
    """
    asked = TIERS[service_tier or "auto"] + (priority or 0)
    number = min(LOWEST, max(PRIORITIES[ceiling], asked))
    if number < PRIORITIES["interactive"]:
        return number, "priority"
    return number, "default" if number < PRIORITIES["batch"] else "flex"
