"""How long texts and batches may be, for a model and a host."""

import dataclasses

import pytest

from appliance.engine.worker.load_vectors import (
    LONGEST_STEP_S,
    paced,
    vector_limits,
)
from appliance.errors import EngineUnavailableError
from tests.appliance.engine.peer import LOAD


@pytest.mark.parametrize(
    ("input_tokens", "context_tokens", "trained", "longest"),
    [(512, 4_096, 8_192, 512), (512, 256, 8_192, 256), (2_048, 4_096, 512, 512)],
)
def test_a_text_is_bounded_by_the_setting_the_context_and_the_model(
    input_tokens: int, context_tokens: int, trained: int, longest: int
) -> None:
    asked = dataclasses.replace(
        LOAD.limits, input_tokens=input_tokens, context_tokens=context_tokens
    )
    limits = vector_limits(asked, trained_tokens=trained)
    assert (limits.input_tokens, limits.paced_tokens) == (longest, longest)
    assert limits.places == LOAD.limits.places


@pytest.mark.parametrize(
    ("rehearsal_s", "paced_tokens"), [(0.5, 512), (0.6, 256), (4, 64), (14, 32)]
)
def test_batches_of_several_texts_are_shorter_on_a_slower_host(
    rehearsal_s: float, paced_tokens: int
) -> None:
    limits = vector_limits(LOAD.limits, trained_tokens=512)
    slower = paced(limits, rehearsal_s=rehearsal_s)
    assert slower == dataclasses.replace(limits, paced_tokens=paced_tokens)


def test_a_host_that_cannot_embed_the_longest_text_in_time_does_not_load() -> None:
    limits = vector_limits(LOAD.limits, trained_tokens=512)
    with pytest.raises(EngineUnavailableError) as caught:
        paced(limits, rehearsal_s=LONGEST_STEP_S + 1)
    assert "16" in caught.value.actual
    assert caught.value.hint
