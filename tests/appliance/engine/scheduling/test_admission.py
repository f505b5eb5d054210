"""The arithmetic of contexts and cells."""

import dataclasses

import pytest

from appliance.engine.scheduling.admission import (
    Limits,
    fit,
    new_tokens,
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
    assert fit(LIMITS, trained_tokens=64, shares=True).context_tokens == 64
    assert fit(LIMITS, trained_tokens=9_999, shares=True).context_tokens == 100
    small = dataclasses.replace(LIMITS, cells=50)
    assert fit(small, trained_tokens=9_999, shares=True).context_tokens == 50


def test_sequences_leave_half_of_each_batch_to_prompts() -> None:
    many = dataclasses.replace(LIMITS, sequences=200)
    assert fit(many, trained_tokens=99, shares=True).sequences == 16


def test_a_model_that_shares_no_cells_keeps_no_sequences_beside_the_running() -> None:
    asked = dataclasses.replace(
        LIMITS, spare_sequences=1, cached_sequences=9, draft_tokens=5
    )
    sharing = fit(asked, trained_tokens=99, shares=True)
    assert (sharing.running, sharing.resident_sequences, sharing.outputs) == (5, 14, 10)
    alone = fit(asked, trained_tokens=99, shares=False)
    assert (alone.running, alone.resident_sequences, alone.outputs) == (5, 5, 5)


def test_cells_are_spared_only_with_sequences() -> None:
    assert LIMITS.spare_cells == 0
    spared = dataclasses.replace(LIMITS, spare_sequences=1)
    assert spared.spare_cells == 37
    assert dataclasses.replace(spared, cells=10_000).spare_cells == 100
