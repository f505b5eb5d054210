"""What an engine may choose about its cache and its attention, and what was measured.

Pure. How fast attention is on a processor depends on both: on x86, flash attention
computes batches of 2 to 63 rows one row at a time, and a rounded cache costs time
to unpack and saves memory traffic. So it is measured on each host, for each model.
A rounded cache changes answers; it is never taken for its speed unless the operator
allows it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

CacheType = Literal["f16", "q8_0"]
"""How keys and values are kept: in half precision, or in about half of that room.

``q8_0`` rounds them, which changes answers a little.
"""

FlashAttention = Literal["auto", "on", "off"]
"""Whether attention is computed without its matrix in memory; auto: llama.cpp's own."""

LEAST_GAIN = 0.03
"""What another choice must be faster by than the usual one, to be taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One way to keep a cache and to compute attention.

    The default is llama.cpp's own, which needs no measurement to be safe.
    """

    cache_type: CacheType = "f16"
    flash_attention: FlashAttention = "auto"


USUAL = Choice(flash_attention="on")
"""What llama.cpp chooses itself wherever it can; others are compared with it."""

CANDIDATES = (
    USUAL,
    Choice(flash_attention="off"),
    Choice(cache_type="q8_0", flash_attention="on"),
)
"""What is measured. A rounded cache needs flash attention."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """How long the steps of an engine take. Unit: seconds.

    Attributes:
        prompt_s: A batch full of one prompt.
        alone_s: One token of one answer.
        together_s: One token of each of ``rows`` answers.
        rows: How many answers.
        filled_cells: How many cells the cache held meanwhile.
    """

    prompt_s: float
    alone_s: float
    together_s: float
    rows: int
    filled_cells: int

    def ratios(self, usual: "Timing") -> Mapping[str, float]:
        """Return how much longer each step takes than the ``usual`` one's."""
        return {
            "prompt": self.prompt_s / usual.prompt_s,
            "alone": self.alone_s / usual.alone_s,
            "together": self.together_s / usual.together_s,
        }

    def cost(self, usual: "Timing") -> float:
        """Return how much longer the steps take than the usual one's, on average."""
        ratios = self.ratios(usual).values()
        return float(prod(ratios) ** (1 / len(ratios)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """A choice and how fast it is."""

    choice: Choice
    timing: Timing


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """What the operator allows; "auto" leaves it to the measurement."""

    cache_type: Literal["f16", "q8_0", "auto"] = "f16"
    flash_attention: FlashAttention = "auto"

    def allows(self, choice: Choice) -> bool:
        """Return whether ``choice`` is one that may be taken."""
        return self.cache_type in ("auto", choice.cache_type) and (
            self.flash_attention in ("auto", choice.flash_attention)
        )


def choose(measured: Sequence[Measurement], allowed: Allowed) -> Choice:
    """Return the fastest choice that is allowed.

    The usual one stays unless another is faster by :data:`LEAST_GAIN`. What nobody
    measured is left to llama.cpp.
    """
    candidates = [each for each in measured if allowed.allows(each.choice)]
    if not candidates:
        return _unmeasured(allowed)
    usual = next((each for each in candidates if each.choice == USUAL), candidates[0])
    best = min(candidates, key=lambda each: each.timing.cost(usual.timing))
    if best.timing.cost(usual.timing) > 1 - LEAST_GAIN:
        best = usual
    return best.choice


def _unmeasured(allowed: Allowed) -> Choice:
    return Choice(
        cache_type="f16" if allowed.cache_type == "auto" else allowed.cache_type,
        flash_attention=allowed.flash_attention,
    )
