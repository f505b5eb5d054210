"""What a pass over the records tells of them: the columns, and figures for a report.

Memory is bounded whatever the ledger holds: days are days, latencies fall into a
fixed number of classes, and of teams, models and refusals the first
``MAX_NAMES`` are counted by name and all others together. ``calls`` has what is told
of calls one by one.
"""

import bisect
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from appliance.audit_formats.calls import OTHERS, Calls, stands_for
from appliance.audit_formats.cells import field_names
from appliance.audit_formats.record import AuditRecord

MAX_NAMES: Final = 1_000
"""Names of one kind that are counted one by one."""

EDGES_MS: Final = tuple(
    round(10 ** (power / 10)) for power in range(61) if power >= 10 or power % 5 == 0
)
"""Upper edges of the classes of latencies: ten for each power of ten from 10 ms on."""


@dataclass(kw_only=True, slots=True)
class Latencies:
    """How many calls took how long."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(EDGES_MS) + 1))

    def add(self, milliseconds: int) -> None:
        """Count one call."""
        self.counts[bisect.bisect_left(EDGES_MS, milliseconds)] += 1

    @property
    def total(self) -> int:
        """How many calls were counted."""
        return sum(self.counts)

    def within_ms(self, share: float) -> int | None:
        """Return a time within which this share of the calls ended.

        It is the upper edge of a class, and None for no calls or the last class.
        """
        wanted, reached = share * self.total, 0
        for edge, count in zip(EDGES_MS, self.counts, strict=False):
            reached += count
            if self.total and reached >= wanted:
                return edge
        return None

    def between(self, above_ms: int, up_to_ms: int | None) -> int:
        """Return how many took longer than one edge and no longer than another."""
        first = bisect.bisect(EDGES_MS, above_ms)
        last = None if up_to_ms is None else bisect.bisect(EDGES_MS, up_to_ms)
        return sum(self.counts[first:last])


@dataclass(kw_only=True, slots=True)
class Survey:
    """What was found in the records of an export."""

    names: set[str] = field(default_factory=set)
    records: int = 0
    first: AuditRecord | None = None
    last: AuditRecord | None = None
    events: Counter[str] = field(default_factory=Counter)
    requests_by_day: Counter[str] = field(default_factory=Counter)
    prompt_tokens_by_day: Counter[str] = field(default_factory=Counter)
    completion_tokens_by_day: Counter[str] = field(default_factory=Counter)
    requests_by_team: Counter[str] = field(default_factory=Counter)
    requests_by_model: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    answer: Latencies = field(default_factory=Latencies)
    first_token: Latencies = field(default_factory=Latencies)
    calls: Calls = field(default_factory=Calls)


def survey(records: Iterable[AuditRecord]) -> Survey:
    """Return what ``records`` hold, having read each of them once."""
    found = Survey()
    for record in records:
        found.names.update(field_names(record))
        found.records += 1
        found.first = found.first or record
        found.last = record
        event = record.text("event")
        _count(found.events, event)
        found.calls.take(record)
        if event == "llm.request":
            _take_request(found, record)
        elif event == "llm.response":
            _take_response(found, record)
        elif event == "llm.refused":
            for name in _refused_by(record):
                _count(found.refusals, name, stands_for(record))
    return found


def _take_request(found: Survey, record: AuditRecord) -> None:
    found.requests_by_day[record.text("ts")[:10]] += 1
    _count(found.requests_by_team, record.text("team"))
    _count(found.requests_by_model, record.text("model", "name"))


def _take_response(found: Survey, record: AuditRecord) -> None:
    day = record.text("ts")[:10]
    found.prompt_tokens_by_day[day] += record.count("prompt_tokens")
    found.completion_tokens_by_day[day] += record.count("completion_tokens")
    if record.text("outcome") == "ok":
        found.answer.add(record.count("total_ms"))
        if record.at("ttft_ms") is not None:
            found.first_token.add(record.count("ttft_ms"))


def _refused_by(record: AuditRecord) -> tuple[str, ...]:
    """Return the policies that refused a request, or else the reason's code."""
    policy = record.at("policy")
    if isinstance(policy, dict) and policy.get("decision") == "deny" and policy["ids"]:
        return tuple(f"policy {name}" for name in policy["ids"])
    return (record.text("code"),)


def _count(counter: Counter[str], name: str, times: int = 1) -> None:
    counter[name if name in counter or len(counter) < MAX_NAMES else OTHERS] += times
