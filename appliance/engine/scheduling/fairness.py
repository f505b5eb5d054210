"""Who gets how much of a step: weighted deficit round robin over tenants.

Each round a tenant is owed ``QUANTUM`` tokens times its weight; what it cannot
use is lost, what it could not be given is kept for the next step. Within a tenant
the oldest prompt goes first, but no prompt takes more than ``TURN`` tokens while
another of the tenant waits: short ones are not held up by a long one.

Source: Shreedhar and Varghese, "Efficient Fair Queueing Using Deficit Round
Robin", SIGCOMM 1995.
"""

from collections.abc import Sequence
from dataclasses import dataclass

QUANTUM = 64
"""Tokens that a tenant of weight 1 is owed each round."""

TURN = 256
"""Tokens that one prompt may take before the next of its tenant has its turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """A prompt that waits to be computed.

    Attributes:
        name: Whose it is among all requests.
        tenant: Who is owed the tokens.
        weight: The tenant's share beside others'.
        tokens: How many are left.
    """

    name: str
    tenant: str
    weight: int
    tokens: int


class RoundRobin:
    """Divides the room of each step; remembers who is owed what."""

    def __init__(self) -> None:
        self._owed: dict[str, int] = {}
        self._order: list[str] = []
        self._turns: dict[str, int] = {}

    def divide(self, demands: Sequence[Demand], *, room: int) -> dict[str, int]:
        """Return how many tokens of each prompt go into a step of ``room`` tokens.

        Every token of room is given while any prompt wants one. ``demands`` are in
        the order of their age.
        """
        by_tenant: dict[str, list[Demand]] = {}
        for demand in demands:
            by_tenant.setdefault(demand.tenant, []).append(demand)
        self._forget_others(by_tenant)
        given: dict[str, int] = {}
        while room > 0 and by_tenant:
            tenant = self._order[0]
            waiting = by_tenant[tenant]
            if self._owed[tenant] <= 0:
                self._owed[tenant] += QUANTUM * waiting[0].weight
            count = self._serve(waiting, given, room=min(room, self._owed[tenant]))
            room -= count
            self._owed[tenant] -= count
            done = all(given.get(each.name, 0) == each.tokens for each in waiting)
            if done:
                del by_tenant[tenant]
                self._leave(tenant)
            elif self._owed[tenant] <= 0:
                self._order.append(self._order.pop(0))
        return given

    def _serve(
        self, waiting: Sequence[Demand], given: dict[str, int], *, room: int
    ) -> int:
        """Give ``room`` tokens to one tenant's prompts; return how many were taken."""
        taken = 0
        while taken < room:
            left = [each for each in waiting if given.get(each.name, 0) < each.tokens]
            if not left:
                break
            # The oldest of those that had the fewest turns.
            chosen = min(left, key=lambda each: self._turns[each.name] // TURN)
            turn = TURN - self._turns[chosen.name] % TURN
            already = given.get(chosen.name, 0)
            count = min(room - taken, chosen.tokens - already, turn)
            given[chosen.name] = already + count
            self._turns[chosen.name] += count
            taken += count
        return taken

    def _forget_others(self, by_tenant: dict[str, list[Demand]]) -> None:
        """Keep what is known of those who still wait; welcome those who are new."""
        names = {each.name for demands in by_tenant.values() for each in demands}
        self._turns = {name: self._turns.get(name, 0) for name in names}
        for tenant in tuple(self._order):
            if tenant not in by_tenant:
                self._leave(tenant)
        for tenant in by_tenant:
            if tenant not in self._owed:
                self._owed[tenant] = 0
                self._order.append(tenant)

    def _leave(self, tenant: str) -> None:
        self._order.remove(tenant)
        del self._owed[tenant]
