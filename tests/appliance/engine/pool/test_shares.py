"""How many threads each engine gets."""

import pytest

from appliance.engine.pool.shares import share_of


@pytest.mark.parametrize(
    ("threads", "working", "share"),
    [(7, 0, 7), (7, 1, 7), (7, 2, 3), (7, 3, 2), (7, 7, 1), (7, 8, 1), (1, 3, 1)],
)
def test_all_together_have_no_more_than_there_are_but_nobody_none(
    threads: int, working: int, share: int
) -> None:
    assert share_of(threads, working=working) == share
