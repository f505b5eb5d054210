"""Which measured choice is taken; a rounded cache never for its speed alone."""

import json
from pathlib import Path

import pytest

from appliance.engine.planning.choices import (
    CANDIDATES,
    USUAL,
    Allowed,
    Choice,
    Measurement,
    Timing,
    choose,
)
from appliance.engine.planning.measured import (
    decode_measured,
    encode_measured,
    host_kind,
)
from bundleformat.errors import InternalFaultError

OFF = Choice(flash_attention="off")
ROUNDED = Choice(cache_type="q8_0", flash_attention="on")


def timing(prompt: float, alone: float, together: float) -> Timing:
    return Timing(
        prompt_s=prompt, alone_s=alone, together_s=together, rows=8, filled_cells=9
    )


def measured(**times: tuple[float, float, float]) -> tuple[Measurement, ...]:
    choices = {"usual": USUAL, "off": OFF, "rounded": ROUNDED}
    return tuple(
        Measurement(choice=choices[name], timing=timing(*each))
        for name, each in times.items()
    )


FAST_ROUNDED = measured(usual=(1, 1, 1), off=(2, 2, 2), rounded=(0.1, 0.1, 0.1))


def test_a_rounded_cache_is_not_taken_for_its_speed() -> None:
    assert choose(FAST_ROUNDED, Allowed()) == USUAL
    assert choose(FAST_ROUNDED, Allowed(flash_attention="on")) == USUAL


def test_a_rounded_cache_is_taken_if_the_operator_allows_it() -> None:
    assert choose(FAST_ROUNDED, Allowed(cache_type="auto")) == ROUNDED


def test_a_rounded_cache_that_the_operator_wants_is_taken_even_if_it_is_slow() -> None:
    slow = measured(usual=(1, 1, 1), rounded=(9, 9, 9))
    assert choose(slow, Allowed(cache_type="q8_0")) == ROUNDED


def test_nothing_measured_is_left_to_llama_cpp() -> None:
    assert choose((), Allowed()) == Choice()
    assert choose((), Allowed(cache_type="auto")) == Choice()
    assert choose((), Allowed(cache_type="q8_0")) == Choice(cache_type="q8_0")
    off = Allowed(flash_attention="off")
    assert choose(measured(usual=(1, 1, 1)), off) == OFF


@pytest.mark.parametrize(
    ("off", "taken"),
    [
        ((0.98, 0.98, 0.98), USUAL),
        ((0.96, 0.96, 0.96), OFF),
        ((1.0, 1.0, 0.5), OFF),
        ((0.5, 2.1, 1.0), USUAL),
        ((2.0, 24.0, 0.7), USUAL),
    ],
)
def test_another_choice_has_to_be_faster_by_more_than_noise(
    off: tuple[float, float, float], taken: Choice
) -> None:
    assert choose(measured(usual=(1, 1, 1), off=off), Allowed()) == taken
    assert choose(measured(off=off, usual=(1, 1, 1)), Allowed()) == taken


def test_flash_attention_that_is_set_is_not_measured_away() -> None:
    faster = measured(usual=(1, 1, 1), off=(0.5, 0.5, 0.5))
    assert choose(faster, Allowed(flash_attention="on")) == USUAL
    assert choose(faster, Allowed()) == OFF


def test_without_the_usual_one_the_first_is_what_others_are_compared_with() -> None:
    only = measured(off=(1, 1, 1), rounded=(0.9, 0.9, 0.9))
    assert choose(only, Allowed(cache_type="auto")) == ROUNDED


def test_ratios_are_told_against_the_usual_one() -> None:
    usual, other = timing(2, 4, 8), timing(1, 4, 16)
    assert other.ratios(usual) == {"prompt": 0.5, "alone": 1.0, "together": 2.0}
    assert other.cost(usual) == pytest.approx(1.0)


def test_measurements_are_kept_as_they_were() -> None:
    assert decode_measured(encode_measured(FAST_ROUNDED)) == FAST_ROUNDED
    assert {each.choice for each in FAST_ROUNDED} == set(CANDIDATES)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"[{}]", b"\xff"])
def test_what_has_no_meaning_here_counts_as_not_measured(data: bytes) -> None:
    assert decode_measured(data) == ()


def test_what_a_later_release_measured_counts_as_not_measured() -> None:
    later = json.loads(encode_measured(FAST_ROUNDED))
    later[0]["choice"]["cache_type"] = "q3_7"
    assert decode_measured(json.dumps(later).encode()) == ()


def test_a_host_is_known_by_its_processor(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\n")
    other.write_text("processor\t: 0\nmodel name\t: Slow CPU\n")
    assert host_kind(one).startswith("Fast CPU @ 3 GHz, ")
    assert host_kind(one) != host_kind(other)
    assert "llama-cpp-python 0." in host_kind()


def test_a_host_that_does_not_say_what_it_is_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(InternalFaultError):
        host_kind(tmp_path / "none")
