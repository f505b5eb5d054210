"""What follows when a model does not load, or crashes."""

import pytest

from appliance.engine.pool.setbacks import RETRY_MAX_S, Setbacks, TakenOut
from appliance.engine.supervisor import Crash
from appliance.errors import (
    EngineUnavailableError,
    ModelUnavailableError,
    NoRoomError,
)
from appliance.settings import ModelSettings
from bundleformat.errors import DigestMismatchError

BROKEN = DigestMismatchError("a stored model has changed", where="/a/secret/path")
DIED = Crash(exit_status=-6, restarts=0, died=True)
NO_ROOM = NoRoomError(
    needed_bytes=2, free_bytes=1, engines=1, most_engines=1, retry_after_s=5
)


def refusal(setbacks: Setbacks, now_s: float) -> ModelUnavailableError:
    with pytest.raises(ModelUnavailableError) as caught:
        setbacks.check(now_s)
    return caught.value


def test_a_load_that_failed_is_tried_again_ever_more_rarely() -> None:
    setbacks = Setbacks(ModelSettings())
    now_s, waits = 0.0, []
    for _ in range(9):
        setbacks.failed(BROKEN, now_s=now_s)
        wait_s = refusal(setbacks, now_s).retry_after_s
        assert wait_s is not None
        waits.append(wait_s)
        assert setbacks.rests(now_s + wait_s - 0.1)
        now_s += wait_s
        setbacks.check(now_s)
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == RETRY_MAX_S
    setbacks.loaded()
    setbacks.failed(BROKEN, now_s=now_s)
    assert refusal(setbacks, now_s).retry_after_s == 1


def test_a_caller_is_told_what_failed_and_not_where() -> None:
    setbacks = Setbacks(ModelSettings())
    setbacks.failed(BROKEN, now_s=0)
    message = refusal(setbacks, 0).text()
    assert "a stored model has changed" in message
    assert "secret" not in message


def test_want_of_room_keeps_nobody_from_trying_again() -> None:
    setbacks = Setbacks(ModelSettings())
    setbacks.failed(NO_ROOM, now_s=0)
    assert setbacks.lacks_room
    assert not setbacks.rests(0)
    setbacks.check(0)
    with pytest.raises(NoRoomError) as caught:
        setbacks.check_loaded(0)
    assert caught.value is NO_ROOM


def test_a_load_that_has_just_failed_is_refused_although_its_rest_is_over() -> None:
    setbacks = Setbacks(ModelSettings())
    setbacks.failed(EngineUnavailableError("no"), now_s=0)
    with pytest.raises(ModelUnavailableError):
        setbacks.check_loaded(100)


def test_only_processes_that_died_count() -> None:
    setbacks = Setbacks(ModelSettings(crash_limit=2))
    for _ in range(5):
        gave_up = Crash(exit_status=0, restarts=1, died=False)
        assert not setbacks.crashed(gave_up, name="a", now_s=0)
    assert not setbacks.crashed(DIED, name="a", now_s=0)
    assert setbacks.crashed(DIED, name="a", now_s=1)
    assert setbacks.taken_out == TakenOut(
        name="a", crashes=2, window_s=600, exit_status=-6
    )


def test_one_that_was_taken_out_stays_so_until_it_has_another_try() -> None:
    setbacks = Setbacks(ModelSettings(crash_limit=1))
    setbacks.failed(BROKEN, now_s=0)
    assert setbacks.crashed(DIED, name="a", now_s=0)
    later_s = 1e6
    assert setbacks.rests(later_s)
    error = refusal(setbacks, later_s)
    assert error.retry_after_s is None
    assert "sallyport model restore" in error.text()
    setbacks.forget()
    assert setbacks.failure is None
    assert not setbacks.rests(0)
    setbacks.check(0)
