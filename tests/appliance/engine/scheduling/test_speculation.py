"""Guesses come from what was written before, and stop where they are wrong."""

from appliance.engine.scheduling.speculation import (
    MOST_DRAFTS,
    TRIAL_DRAFTS,
    Lookup,
    worthwhile,
)


def test_what_followed_the_same_tokens_is_guessed() -> None:
    lookup = Lookup((1, 2, 3, 4, 5, 6, 1, 2))
    assert lookup.guess(5) == ()
    lookup.add(3)
    assert lookup.guess(5) == (4, 5)[:TRIAL_DRAFTS]


def test_nothing_is_guessed_from_nothing() -> None:
    assert Lookup(()).guess(5) == ()
    assert Lookup((1, 2)).guess(5) == ()
    assert Lookup((1, 2, 3)).guess(5) == ()


def test_good_guesses_are_made_longer_and_never_longer_than_allowed() -> None:
    lookup = Lookup((1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3))
    for _ in range(5):
        lookup.judge(guessed=2, right=2)
    assert lookup.guess(99) == (4, 5, 6, 7, 8, 9)[:MOST_DRAFTS]
    assert lookup.guess(1) == (4,)


def test_bad_guesses_are_given_up_for_a_while() -> None:
    lookup = Lookup((1, 2, 3, 4, 1, 2, 3))
    for _ in range(20):
        if lookup.guess(2):
            lookup.judge(guessed=2, right=0)
    assert lookup.guess(2) == ()
    guesses = [lookup.guess(2) for _ in range(100)]
    assert any(guesses)


def test_guesses_pay_where_a_longer_step_costs_little() -> None:
    assert worthwhile(rate=0.8, drafts=4, step_s=0.02, longer_s=0.024, rows=1)
    assert not worthwhile(rate=0.8, drafts=4, step_s=0.02, longer_s=0.08, rows=1)
    assert not worthwhile(rate=0.1, drafts=4, step_s=0.02, longer_s=0.03, rows=1)
    assert not worthwhile(rate=0.9, drafts=1, step_s=0.02, longer_s=0.04, rows=8)
