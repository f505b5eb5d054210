"""What an engine may choose about its cache and its attention."""

from dataclasses import dataclass
from typing import Literal

CacheType = Literal["f16", "q8_0"]
"""How keys and values are kept: in half precision, or in about half of that room.

``q8_0`` rounds them, which changes answers a little.
"""

FlashAttention = Literal["auto", "on", "off"]
"""Whether attention is computed without its matrix in memory; auto: llama.cpp's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One way to keep a cache and to compute attention.

    The default is llama.cpp's own, which needs no measurement to be safe.
    """

    cache_type: CacheType = "f16"
    flash_attention: FlashAttention = "auto"
