"""Records are found by what they say, and by nothing else."""

import pytest

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
        assert all(each.leaf == leaf_hash(each.data) for each in found)
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
