"""What a hold keeps, by everything an export can be asked for."""

from typing import Any

import pytest

from tests.support.ledgers import Ledger, request, response
from tests.support.retention import fill, gone, hold, prune


@pytest.mark.parametrize(
    ("held", "went"),
    [
        ({}, []),
        ({"team": "others"}, [1, 2, 4]),
        ({"event": "llm.request"}, [2, 4, 5]),
        ({"request_id": "r1"}, [3, 4, 5]),
        ({"first": 3}, [1, 2]),
        ({"last": 3}, [4, 5]),
        ({"first": 2, "last": 3}, [1, 4, 5]),
        ({"first": 2, "team": "claims"}, [1, 3, 4, 5]),
        ({"model": "demo"}, [4]),
        ({"model": "other"}, [1, 2, 3, 4, 5]),
        ({"team": "nobody"}, [1, 2, 3, 4, 5]),
    ],
)
def test_a_hold_keeps_what_it_names(
    ledger: Ledger, held: dict[str, Any], went: list[int]
) -> None:
    fill(ledger)
    hold(ledger, **held)
    while prune(ledger):
        pass
    assert gone(ledger) == went


def test_every_hold_keeps_its_own(ledger: Ledger) -> None:
    fill(ledger)
    hold(ledger, request_id="r1")
    hold(ledger, first=4, last=4)
    prune(ledger)
    assert gone(ledger) == [3, 5]


def test_a_hold_keeps_what_comes_after_it(ledger: Ledger) -> None:
    hold(ledger, team="claims")
    ledger.append([request("r1"), response("r1", parent=1)])
    assert prune(ledger) == 0


def test_where_the_model_of_a_call_is_gone_it_may_have_been_the_held_one(
    ledger: Ledger,
) -> None:
    ledger.append([request("r1"), response("r1", parent=1)])
    assert prune(ledger, most=1) == 1
    hold(ledger, model="another")
    assert prune(ledger) == 0
