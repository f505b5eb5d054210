"""How many crashes are too many."""

from appliance.engine.pool.crashes import CrashWindow


def test_the_limit_is_reached_within_the_window() -> None:
    crashes = CrashWindow(limit=3, window_s=600)
    assert [crashes.note(now_s) for now_s in (0, 300, 600)] == [False, False, True]


def test_crashes_further_apart_are_not_too_many() -> None:
    crashes = CrashWindow(limit=3, window_s=600)
    assert not any(crashes.note(now_s) for now_s in (0, 301, 602, 903))


def test_a_limit_of_one_is_reached_by_the_first() -> None:
    assert CrashWindow(limit=1, window_s=1).note(5.0)


def test_what_was_forgotten_does_not_count() -> None:
    crashes = CrashWindow(limit=2, window_s=600)
    assert not crashes.note(1)
    crashes.forget()
    assert not crashes.note(2)
    assert crashes.note(3)
