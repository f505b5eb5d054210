"""Records are found by what they say, and by nothing else."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event

from appliance.ledger.log.search import (
    Filter,
    count_by_event,
    count_records,
    find_records,
)
from appliance.ledger.records.events import Outcome
from appliance.ledger.tree.merkle import leaf_hash
from tests.support.audit_samples import DENIED, IMPORTED
from tests.support.ledgers import Ledger, refusal, request, response


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """The ledger's own first record, and six of calls and imports."""
    ledger.append([request("r1"), request("r2", team="legal")])
    ledger.append(
        [
            response("r1", parent=1),
            response("r2", parent=2, outcome=Outcome.ERROR, team="legal"),
            refusal("unknown-key"),
            DENIED,
            IMPORTED,
        ]
    )
    return ledger


def _found(
    ledger: Ledger, wanted: Filter, *, size: int = 8, limit: int = 9
) -> list[int]:
    with ledger.engine.connect() as connection:
        found = list(find_records(connection, wanted, size=size, limit=limit))
        assert all(each.leaf == leaf_hash(each.data or b"") for each in found)
        if limit > size:
            assert count_records(connection, wanted, size=size) == len(found)
        return [each.seq for each in found]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), [0, 1, 2, 3, 4, 5, 6, 7]),
        (Filter(seq=3), [3]),
        (Filter(seq=99), []),
        (Filter(event="llm.request"), [1, 2]),
        (Filter(event="llm.*"), [1, 2, 3, 4, 5, 6]),
        (Filter(event="l%.*"), []),
        (Filter(event="ll_.*"), []),
        (Filter(outcome="refused"), [5, 6]),
        (Filter(team="legal"), [2, 4]),
        (Filter(team="' OR 1=1 --"), []),
        (Filter(request="r1"), [1, 3]),
        (Filter(key="W1sF0wRy"), [1, 2, 6]),
        (Filter(model="demo"), [1, 2]),
        (Filter(code="policy-denied"), [6]),
        (Filter(event="llm.*", team="claims", outcome="allowed"), [1]),
        (Filter(since="2026-11-22T08:04:29.123456Z"), [0, 1, 2, 3, 4, 5, 6, 7]),
        (Filter(since="2026-11-22T08:04:29.123457Z"), []),
        (Filter(until="2026-11-22T08:04:29.123456Z"), []),
    ],
    ids=lambda each: str(each.terms()) if isinstance(each, Filter) else "",
)
def test_what_matters_is_found_and_nothing_else(
    filled: Ledger, wanted: Filter, expected: list[int]
) -> None:
    assert _found(filled, wanted) == expected


def test_a_reading_sees_no_record_that_came_after_it(filled: Ledger) -> None:
    assert _found(filled, Filter(), size=5) == [0, 1, 2, 3, 4]


def test_the_newest_are_found_where_there_are_too_many(filled: Ledger) -> None:
    assert _found(filled, Filter(), limit=3) == [5, 6, 7]


def test_records_are_counted_by_event_outcome_and_team(filled: Ledger) -> None:
    with filled.engine.connect() as connection:
        counted = count_by_event(connection, Filter(event="llm.*"), size=8)
    assert counted == (
        ("llm.refused", "refused", "", 1),
        ("llm.refused", "refused", "claims", 1),
        ("llm.request", "allowed", "claims", 1),
        ("llm.request", "allowed", "legal", 1),
        ("llm.response", "error", "legal", 1),
        ("llm.response", "ok", "claims", 1),
    )


def test_a_filters_digest_tells_filters_apart() -> None:
    filters = [
        Filter(),
        Filter(seq=1),
        Filter(team="a"),
        Filter(model="a"),
        Filter(team="a", model="a"),
    ]
    assert len({each.sha256() for each in filters}) == len(filters)
    assert Filter(team="a").sha256() == Filter(team="a").sha256()


BOUNDED = re.compile(
    r"SEARCH record( USING (INTEGER PRIMARY KEY \(rowid(=\?|>\? AND rowid<\?)\)"
    r"|(COVERING )?INDEX \w+ \(.*\)))?"
)
"""How SQLite says that it looks at one record, a range of them, or those of an index.

Without anything it is the newest one. Source: SQLite, "EXPLAIN QUERY PLAN".
"""

DAY: Any = {
    "since": "2026-11-22T00:00:00.000000Z",
    "until": "2026-11-23T00:00:00.000000Z",
}


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(**DAY),
        Filter(event="llm.request", **DAY),
        Filter(event="llm.*", **DAY),
        Filter(team="legal", model="demo", **DAY),
        Filter(outcome="refused", code="policy-denied", **DAY),
        Filter(request="r1"),
        Filter(seq=3),
    ],
    ids=lambda each: str(sorted(each.terms())),
)
def test_a_days_search_never_goes_through_the_whole_ledger(
    filled: Ledger, wanted: Filter
) -> None:
    with filled.engine.connect() as connection, statements(connection) as said:
        assert count_records(connection, wanted, size=8)
        assert list(find_records(connection, wanted, size=8, limit=9))
        assert count_by_event(connection, wanted, size=8)
    with filled.engine.connect() as connection:
        plans = [
            str(row[3])
            for statement, parameters in said
            for row in connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", parameters
            )
        ]
    looked = [plan for plan in plans if " record" in plan]
    assert len(looked) >= 3
    assert not [plan for plan in looked if not BOUNDED.fullmatch(plan)]


@contextmanager
def statements(connection: Connection) -> Iterator[list[tuple[str, Any]]]:
    """Yield what is asked of the database meanwhile."""
    said: list[tuple[str, Any]] = []

    def keep(*given: Any) -> None:
        said.append((given[2], given[3]))

    event.listen(connection, "before_cursor_execute", keep)
    try:
        yield said
    finally:
        event.remove(connection, "before_cursor_execute", keep)
