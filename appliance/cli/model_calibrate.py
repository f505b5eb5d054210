"""What ``sallyport model calibrate`` prints: ratios to llama.cpp's own choice."""

from typing import Any

from appliance.calibrate_flow import Calibrated
from appliance.cli.output import table
from appliance.engine.planning.choices import USUAL, Choice, Measurement


def lines(name: str, found: Calibrated) -> tuple[str, ...]:
    """Return what was measured, for a person to read."""
    usual = _usual(found)
    rows = tuple(
        (
            _words(each.choice),
            *(f"{ratio:.2f}" for ratio in each.timing.ratios(usual.timing).values()),
            f"{each.timing.cost(usual.timing):.2f}",
            "taken" if each.choice == found.chosen else "",
        )
        for each in found.calibration.measured
    )
    timing = usual.timing
    heads = ("CHOICE", "PROMPT", "ONE ANSWER", f"{timing.rows} ANSWERS", "MEAN", "")
    return (
        f"{name} on {found.host}; {timing.filled_cells:,} cells filled",
        "time of each step against llama.cpp's own choice; less is faster",
        *table(heads, rows),
        *(f"{_words(choice)}: {why}" for choice, why in found.calibration.left_out),
        f"the next load takes: {_words(found.chosen)}",
    )


def value(name: str, found: Calibrated) -> dict[str, Any]:
    """Return what was measured, for machines."""
    usual = _usual(found)
    return {
        "model": name,
        "host": found.host,
        "rows": usual.timing.rows,
        "filled_cells": usual.timing.filled_cells,
        "measured": [
            {
                **_value(each.choice),
                "prompt_s": each.timing.prompt_s,
                "alone_s": each.timing.alone_s,
                "together_s": each.timing.together_s,
                "ratios": dict(each.timing.ratios(usual.timing)),
                "cost": each.timing.cost(usual.timing),
            }
            for each in found.calibration.measured
        ],
        "left_out": [
            {**_value(choice), "why": why} for choice, why in found.calibration.left_out
        ],
        "chosen": _value(found.chosen),
    }


def _usual(found: Calibrated) -> Measurement:
    """Return the choice that others are compared with: llama.cpp's own, if measured."""
    measured = found.calibration.measured
    return next((each for each in measured if each.choice == USUAL), measured[0])


def _value(choice: Choice) -> dict[str, str]:
    return {
        "cache_type": choice.cache_type,
        "flash_attention": choice.flash_attention,
    }


def _words(choice: Choice) -> str:
    return f"{choice.cache_type} cache, flash attention {choice.flash_attention}"
