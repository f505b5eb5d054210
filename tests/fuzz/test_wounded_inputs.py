"""Every reader of bytes from outside takes or refuses whatever is made of good ones."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import wounded
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

EXAMPLES = {"metadata": 25}
"""How many inputs a target gets that is slower than others."""


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_wounded_input_is_taken_or_refused(target: Target) -> None:
    @settings(
        max_examples=EXAMPLES.get(target.name, 100),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(data=wounded(target.seeds()))
    def read(data: bytes) -> None:
        target.try_both(data)

    read()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_noise_is_taken_or_refused(target: Target) -> None:
    @settings(max_examples=20, deadline=None)
    @given(data=st.binary(max_size=200))
    def read(data: bytes) -> None:
        target.try_both(data)

    read()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_target_takes_an_input_to_begin_with(target: Target) -> None:
    """Else everything would be refused at the door, and nothing behind it tried."""
    assert any(target.refusal(seed) is None for seed in target.seeds())
