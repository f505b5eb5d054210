"""What is captured of a request: a caller lowers, and never raises."""

import hashlib

import pytest

from appliance.bodies.capture import LEVELS, Captures, effective_capture
from appliance.bodies.commitment import CONTEXT, SALT_BYTES, Commitment
from appliance.errors import CaptureRefusedError
from appliance.settings import Capture

SALT = bytes(range(SALT_BYTES))
ABOVE = [
    (own, asked) for place, own in enumerate(LEVELS) for asked in LEVELS[place + 1 :]
]


@pytest.mark.parametrize(("own", "asked"), ABOVE)
def test_a_caller_never_raises_what_is_captured(own: Capture, asked: str) -> None:
    for headers in ((asked,), ("metadata", asked), (asked.upper(),)):
        with pytest.raises(CaptureRefusedError) as refused:
            effective_capture(own, headers=headers)
        assert (refused.value.http_status, refused.value.code) == (
            400,
            "capture-refused",
        )


@pytest.mark.parametrize("value", ["", "none", "off", "metadata,digest", "full canary"])
def test_what_is_no_level_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(CaptureRefusedError) as refused:
        effective_capture("digest", headers=(value,))
    assert "canary" not in str(refused.value)


def test_the_least_of_several_headers_counts_and_the_teams_level_is_kept() -> None:
    assert effective_capture("digest") == Captures(level="digest")
    assert effective_capture("digest", headers=("digest",)) == Captures(level="digest")
    lowered = effective_capture("digest", headers=("digest", " Metadata "))
    assert lowered == Captures(level="metadata", lowered_from="digest")


@pytest.mark.parametrize("own", LEVELS)
@pytest.mark.parametrize("model", LEVELS)
def test_the_lower_of_team_and_model_holds_and_no_caller_goes_above_it(
    own: Capture, model: Capture
) -> None:
    most = min((own, model), key=LEVELS.index)
    found = effective_capture(own, model=model)
    assert found.level == most
    assert found.lowered_from == (None if most == own else own)
    assert found.model_allows == (None if most == own else model)
    for asked in LEVELS:
        if LEVELS.index(asked) > LEVELS.index(most):
            with pytest.raises(CaptureRefusedError):
                effective_capture(own, model=model, headers=(asked,))
        else:
            lowered = effective_capture(own, model=model, headers=(asked,))
            assert lowered.level == asked


def test_a_commitment_is_the_digest_of_context_salt_and_body() -> None:
    made = Commitment(SALT)
    for piece in (b"The answer ", b"", b"is 4."):
        made.add(piece)
    whole = hashlib.sha256(CONTEXT + SALT + b"The answer is 4.")
    assert made.hexdigest() == whole.hexdigest()
    assert made.size_bytes == 16


def test_a_salt_of_another_size_is_a_bug() -> None:
    with pytest.raises(ValueError, match="salt"):
        Commitment(SALT[:-1])
