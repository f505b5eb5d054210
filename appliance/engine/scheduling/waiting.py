"""Who of those that wait may enter next.

Order: priority (which ages, so that nobody waits for ever), then the tenant that
has least in the cache for its weight, then age. Whoever does not fit may be passed
by others that do, ``MOST_PASSES`` times; then nobody enters before it, but for those
who take what is kept for tenants of whom nothing runs.
"""

from collections.abc import Iterator, Mapping

from appliance.engine.scheduling.request import Request

MOST_PASSES = 16
"""How often a request that does not fit yet may be passed by others."""

AGE_S = 10.0
"""Waiting this long is worth one step of priority. Unit: seconds."""

MOST_TRIED = 8
"""Requests that are tried before a round gives up."""


class Waiting:
    """The started requests that have no cells yet."""

    def __init__(self) -> None:
        self._requests: dict[str, Request] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._requests

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests.values())

    def add(self, request: Request) -> None:
        """Let ``request`` wait."""
        self._requests[request.request_id] = request

    def pop(self, request_id: str) -> Request | None:
        """Return a request that waits no longer, or None if it did not wait."""
        return self._requests.pop(request_id, None)

    def candidates(self, held: Mapping[str, float], *, now_s: float) -> list[Request]:
        """Return who may be tried now, in order.

        ``held`` says how many cells each running tenant has for its weight. The
        list ends with the first request that may not be passed any more.
        """
        ordered = self._ordered(held, now_s=now_s)
        overdue = next(
            (each for each in self._requests.values() if each.passed >= MOST_PASSES),
            None,
        )
        return [overdue] if overdue is not None else ordered[:MOST_TRIED]

    def newcomers(self, held: Mapping[str, float], *, now_s: float) -> list[Request]:
        """Return the first of each tenant of whom nothing runs, in order.

        They may take what is kept for them though others have waited longer: those
        could not have taken it.
        """
        first: dict[str, Request] = {}
        for each in self._ordered(held, now_s=now_s):
            if each.tenant not in held:
                first.setdefault(each.tenant, each)
        return list(first.values())

    def _ordered(self, held: Mapping[str, float], *, now_s: float) -> list[Request]:
        return sorted(
            self._requests.values(),
            key=lambda each: (
                each.priority - int((now_s - each.since_s) / AGE_S),
                held.get(each.tenant, 0.0),
                each.since_s,
            ),
        )
