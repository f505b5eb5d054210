"""The arithmetic of contexts and cells."""

import dataclasses

import pytest

from appliance.engine.scheduling.admission import (
    Limits,
    Reservations,
    fit,
    new_tokens,
    paced,
)
from appliance.errors import ContextLengthError

LIMITS = Limits(
    context_tokens=100,
    cells=300,
    sequences=4,
    batch_tokens=32,
    queued_requests=2,
    queue_timeout_s=10,
    default_max_tokens=20,
)


def test_absent_max_tokens_means_the_default_while_there_is_room() -> None:
    assert new_tokens(LIMITS, prompt_tokens=50, requested=None) == 20


def test_absent_max_tokens_means_the_room_that_is_left() -> None:
    assert new_tokens(LIMITS, prompt_tokens=99, requested=None) == 1


@pytest.mark.parametrize(
    ("prompt", "requested", "told"), [(100, None, 1), (500, None, 1), (90, 11, 11)]
)
def test_prompt_and_answer_beyond_the_context_are_refused(
    prompt: int, requested: int | None, told: int
) -> None:
    with pytest.raises(ContextLengthError) as caught:
        new_tokens(LIMITS, prompt_tokens=prompt, requested=requested)
    assert caught.value.code == "context-length-exceeded"
    assert caught.value.limit_tokens == 100
    assert caught.value.prompt_tokens == prompt
    assert caught.value.new_tokens == told


def test_prompt_and_answer_may_fill_the_context_exactly() -> None:
    assert new_tokens(LIMITS, prompt_tokens=90, requested=10) == 10


def test_context_is_the_smallest_of_setting_cache_and_training() -> None:
    assert fit(LIMITS, trained_tokens=64).context_tokens == 64
    assert fit(LIMITS, trained_tokens=9_999).context_tokens == 100
    small = dataclasses.replace(LIMITS, cells=50)
    assert fit(small, trained_tokens=9_999).context_tokens == 50


def test_sequences_leave_half_of_each_batch_to_prompts() -> None:
    many = dataclasses.replace(LIMITS, sequences=200)
    assert fit(many, trained_tokens=99).sequences == 16


@pytest.mark.parametrize(
    ("rehearsal_s", "batch_tokens"), [(0.001, 512), (0.05, 256), (0.5, 32), (60, 32)]
)
def test_slower_hosts_take_smaller_batches(
    rehearsal_s: float, batch_tokens: int
) -> None:
    wide = dataclasses.replace(LIMITS, batch_tokens=512)
    assert paced(wide, rehearsal_s=rehearsal_s).batch_tokens == batch_tokens


def test_no_host_is_so_slow_that_sequences_lose_their_place_in_the_batch() -> None:
    wide = dataclasses.replace(LIMITS, batch_tokens=512, sequences=100)
    assert paced(wide, rehearsal_s=60).batch_tokens == 256


def test_reservations_never_exceed_the_cells() -> None:
    cells = Reservations(cells=10, sequences=8)
    first = cells.take(6)
    assert first is not None
    assert cells.take(5) is None
    assert cells.reserved_cells == 6
    assert cells.take(4) is not None
    assert cells.take(1) is None
    cells.give_back(first)
    assert cells.reserved_cells == 4


def test_reservations_never_exceed_the_sequences() -> None:
    cells = Reservations(cells=10, sequences=2)
    taken = [cells.take(1), cells.take(1), cells.take(1)]
    assert taken[2] is None
    assert {taken[0], taken[1]} == {0, 1}
