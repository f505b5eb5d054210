"""A request's time is divided at its turn, its first token and its end."""

import pytest

from appliance.metrics.meter import Meter

S = 1_000_000_000


def value(meter: Meter, name: str, **labels: str) -> float | None:
    return meter.registry.get_sample_value(f"sallyport:{name}", labels)


def total(meter: Meter, name: str) -> tuple[float | None, float | None]:
    """How often something was observed, and the sum of it."""
    return (
        value(meter, f"{name}_count", model_name="m"),
        value(meter, f"{name}_sum", model_name="m"),
    )


def test_the_parts_of_a_request_are_its_whole() -> None:
    meter = Meter()
    request = meter.begin("m", started_ns=10 * S, accepted_ns=11 * S)
    request.runs(13 * S)
    for moment in (20, 22, 25):
        request.token(moment * S, queued_s=3.0)
    request.ended("stop", prompt_tokens=7, completion_tokens=3, now_ns=26 * S)
    assert total(meter, "time_to_first_token_seconds") == (1, 10)
    assert total(meter, "inter_token_latency_seconds") == (2, 5)
    assert total(meter, "request_queue_time_seconds") == (1, 2 + 3)
    assert total(meter, "request_prefill_time_seconds") == (1, 7 - 3)
    assert total(meter, "request_decode_time_seconds") == (1, 6)
    assert total(meter, "e2e_request_latency_seconds") == (1, 16)
    assert total(meter, "request_prompt_tokens") == (1, 7)
    assert total(meter, "request_generation_tokens") == (1, 3)
    assert value(meter, "prompt_tokens_total", model_name="m") == 7
    assert value(meter, "generation_tokens_total", model_name="m") == 3


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_a_request_that_never_said_anything_has_an_end_and_no_first_token(
    reason: str,
) -> None:
    meter = Meter()
    request = meter.begin("m", started_ns=0, accepted_ns=0)
    request.ended(reason, prompt_tokens=7, completion_tokens=0, now_ns=S)
    assert total(meter, "time_to_first_token_seconds")[0] is None
    assert total(meter, "request_decode_time_seconds")[0] is None
    ended = value(
        meter, "request_success_total", model_name="m", finished_reason=reason
    )
    assert ended == 1


def test_refusals_are_counted_by_their_code() -> None:
    meter = Meter()
    for code in ("server-overloaded", "server-overloaded", "policy-denied"):
        meter.refused(code)
    name = "admission_rejections_total"
    assert value(meter, name, reason="server-overloaded") == 2
    assert value(meter, name, reason="policy-denied") == 1


def test_two_servers_do_not_count_together() -> None:
    one, other = Meter(), Meter()
    one.refused("x")
    assert value(other, "admission_rejections_total", reason="x") is None
