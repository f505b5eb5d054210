"""Which limit holds for a team, and how urgent its requests may be."""

import pytest

from appliance.quota.allowance import LOWEST, allowance, urgency
from appliance.settings import LimitSettings, Priority


def test_a_team_has_the_hosts_limits_where_it_has_none_of_its_own() -> None:
    limits = LimitSettings(running=3, queued=4)
    found = allowance(limits, {"running": 7, "queued": None, "weight": 2})
    assert (found.running, found.queued, found.weight) == (7, 4, 2)
    assert found.tokens_per_day == limits.tokens_per_day
    assert found.priority == "interactive"


@pytest.mark.parametrize(
    ("ceiling", "tier", "priority", "number", "used"),
    [
        ("interactive", None, None, 0, "default"),
        ("interactive", "auto", None, 0, "default"),
        ("interactive", "flex", None, 10, "flex"),
        ("interactive", "priority", None, 0, "default"),
        ("interactive", None, -5, 0, "default"),
        ("interactive", None, 5, 5, "default"),
        ("interactive", "flex", 5, 15, "flex"),
        ("priority", None, None, 0, "default"),
        ("priority", "priority", None, -10, "priority"),
        ("priority", "priority", -5, -10, "priority"),
        ("priority", None, -3, -3, "priority"),
        ("batch", None, None, 10, "flex"),
        ("batch", "priority", -1_000, 10, "flex"),
        ("batch", "flex", 2**31 - 1, LOWEST, "flex"),
    ],
)
def test_a_request_is_at_most_as_urgent_as_its_team_may_be(
    ceiling: Priority, tier: str | None, priority: int | None, number: int, used: str
) -> None:
    assert urgency(ceiling, service_tier=tier, priority=priority) == (number, used)
