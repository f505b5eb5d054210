"""Lets waiting requests in, each with all the cells that it will ever need.

Whoever is alone of a tenant may take a place and cells that are kept for such. So
the many of another neither fill an engine, nor keep it from one by having waited
longer.
"""

from collections.abc import Iterator, Mapping, Sequence

from appliance.engine.scheduling.admission import Limits
from appliance.engine.scheduling.decoder import Decoder
from appliance.engine.scheduling.paths import Paths
from appliance.engine.scheduling.request import Request
from appliance.engine.scheduling.residents import Residents
from appliance.engine.scheduling.waiting import Waiting


class Entrance:
    """Those who wait, and the way from there to those who run.

    Args:
        decoder: The model.
        residents: Where computed prompts lie.
        limits: Hard limits of the engine.
        running: Who runs, by name; whoever is let in is put there.
        public: Beginnings of prompts that all tenants may share.
    """

    def __init__(
        self,
        decoder: Decoder,
        residents: Residents,
        *,
        limits: Limits,
        running: dict[str, Request],
        public: Sequence[Sequence[int]],
    ) -> None:
        self._decoder = decoder
        self._residents = residents
        self._limits = limits
        self._running = running
        self._paths = Paths(public)
        self._waiting = Waiting()
        self._changed = True
        """Whether somebody may fit who did not before."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._waiting)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._waiting

    def add(self, request: Request) -> None:
        """Let a request wait, and be tried."""
        self._waiting.add(request)
        self._changed = True

    def add_back(self, request: Request) -> None:
        """Let a request wait that had to leave; nobody is tried until one ends."""
        self._waiting.add(request)
        self._changed = False

    def pop(self, request_id: str) -> Request | None:
        """Return a request that waits no longer, or None if it did not wait."""
        return self._waiting.pop(request_id)

    def retry(self) -> None:
        """Try those who wait once more: cells or places have become free."""
        self._changed = True

    def has_place(self, request: Request) -> bool:
        """Return whether one more may run, if it is this one."""
        return len(self._running) < self._places(first=self._is_first(request))

    def admit(self, now_s: float) -> int:
        """Let in whoever fits; return how many tokens need not be computed."""
        reused = 0
        while self._changed and self._waiting:
            held = self._held()
            request = self._next(held, now_s=now_s) or self._spared(held, now_s=now_s)
            self._changed = request is not None
            reused += request.position if request is not None else 0
        return reused

    def _next(self, held: Mapping[str, float], *, now_s: float) -> Request | None:
        """Let in the first who fits of those whose turn it is, if there is one."""
        blocked: list[Request] = []
        for request in self._waiting.candidates(held, now_s=now_s):
            if self._enter(request, now_s=now_s):
                for each in blocked:
                    each.passed += each.since_s <= request.since_s
                return request
            blocked.append(request)
        return None

    def _spared(self, held: Mapping[str, float], *, now_s: float) -> Request | None:
        """Let in one who may take what is kept for tenants of whom nothing runs.

        The many of another neither wait longer for that, nor keep it from them by
        having waited long.
        """
        spared = sum(request.spared for request in self._running.values())
        if spared >= self._limits.spare_sequences:
            return None
        for request in self._waiting.newcomers(held, now_s=now_s):
            fits = self._limits.parted or (
                request.need_cells <= self._limits.spare_cells
            )
            if fits and self._enter(request, now_s=now_s):
                request.spared = True
                return request
        return None

    def _held(self) -> dict[str, float]:
        """Return the cells that each running tenant has, for its weight."""
        held: dict[str, float] = {}
        for request in self._running.values():
            share = request.need_cells / request.weight
            held[request.tenant] = held.get(request.tenant, 0.0) + share
        return held

    def _enter(self, request: Request, *, now_s: float) -> bool:
        """Give a request its cells and a sequence, if it may have them now."""
        first = self._is_first(request)
        if len(self._running) >= self._places(first=first):
            return False
        request.path = self._paths.path(
            request.tenant, (*request.prompt, *request.generated)
        )
        place = self._residents.enter(
            request.path,
            need_cells=request.need_cells,
            keep=0 if first else self._limits.spare_cells,
        )
        if place is None:
            return False
        self._waiting.pop(request.request_id)
        request.sequence, request.position = place.sequence, place.reused
        request.reused += place.reused
        request.queued_s = now_s - request.since_s
        self._running[request.request_id] = request
        self._decoder.open(
            request.sequence,
            sampling=request.sampling,
            max_new_tokens=request.max_new,
            generated=tuple(request.generated),
        )
        return True

    def _places(self, *, first: bool) -> int:
        """Return how many may run, one of them the first of its tenant or not."""
        return self._limits.sequences + (self._limits.spare_sequences if first else 0)

    def _is_first(self, request: Request) -> bool:
        """Return whether nothing of its tenant runs."""
        return all(each.tenant != request.tenant for each in self._running.values())
